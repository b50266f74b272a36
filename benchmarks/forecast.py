"""Rolling backtests of forecasts, against naive, boosted and statistical ones.

    pip install statsforecast
    python benchmarks/forecast.py --data FOLDER [--only NAME[:HORIZON:WINDOWS] ...] [--out FOLDER]

Each CSV of `--data` that is named is one series: the stamps in its first column, the target in its
last one. Every model forecasts the same windows, each from the rows before it alone. The fine-tuned
model is trained once, on what lies before the first window; later windows give it a longer history
and leave its weights. HistGradientBoosting has the same rows, features and transform. AutoETS and
AutoARIMA are statsforecast's, with a season of the calendar of at most 24 periods: beyond, they do
not go, or not in reasonable time.

MASE (below 1: better than the seasonal naive forecast was in the training part), weighted quantile
loss (.1, .5, .9) and the coverage of the interval between .1 and .9. `--out` gets a table and, for
each series, a plot of the last window.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TABPFN_DISABLE_TELEMETRY", "1")

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingRegressor

from finetune_tabpfn import FinetunedTabPFNForecaster
from finetune_tabpfn.forecasting import Backtest, SeasonalNaive, backtest, plot_forecast
from finetune_tabpfn.forecasting._seasons import natural_seasons

SERIES = {  # horizon and windows
    "airline_passengers": (12, 5),
    "daily_min_temperatures": (14, 26),
}
QUANTILES = (0.1, 0.5, 0.9)
LONGEST_SEASON = 24  # of the statistical models


class Boosted(FinetunedTabPFNForecaster):
    """Gradient boosting on the rows, features and transform of the forecaster."""

    def _learn(self, X: pd.DataFrame, learned: Any, n_held_out: int) -> Any:
        return [
            HistGradientBoostingRegressor(loss="quantile", quantile=level, random_state=0).fit(
                X, learned
            )
            for level in QUANTILES
        ]

    def _learned_quantiles(self, X: pd.DataFrame, levels: Sequence[float]) -> list[Any]:
        found = np.sort([model.predict(X) for model in self.regressor_], axis=0)
        return [found[QUANTILES.index(level)] for level in levels]


class Statistical(BaseEstimator):
    """AutoETS or AutoARIMA of statsforecast, on one series."""

    def __init__(self, name: str = "AutoETS") -> None:
        self.name = name

    def fit(self, df: pd.DataFrame, target: str, horizon: int | None = None) -> Any:
        """Choose and fit the model."""
        from statsforecast import models

        naive = SeasonalNaive().fit(df, target, horizon)
        values = pd.Series(naive.history_.values[:, 0]).interpolate().to_numpy()
        seasons = natural_seasons(naive.history_.grid.frequency)
        season = max([each for each in seasons if each <= LONGEST_SEASON], default=1)
        self.naive_ = naive
        self.model_ = getattr(models, self.name)(season_length=season).fit(values)
        return self

    def predict(
        self,
        horizon: int | None = None,
        *,
        future: pd.DataFrame | None = None,
        quantiles: Sequence[float] = QUANTILES,
    ) -> pd.DataFrame:
        """Forecast with the interval of 80 %."""
        rows = self.naive_.predict(horizon, quantiles=quantiles)
        found = self.model_.predict(h=len(rows), level=[80])
        return rows.assign(
            **{
                "forecast": found["mean"],
                "0.1": found["lo-80"],
                "0.5": found["mean"],
                "0.9": found["hi-80"],
            }
        )


def models_of(arguments: argparse.Namespace) -> dict[str, tuple[Any, bool]]:
    """Return the models by name, and whether each window fits them anew."""
    shared = {
        "base_model": arguments.base_model,
        "context_length": arguments.context_length,
        "random_state": arguments.seed,
    }
    tuned = {**shared, "max_steps": arguments.max_steps}
    found: dict[str, tuple[Any, bool]] = {
        "fine-tuned": (FinetunedTabPFNForecaster(**tuned), False),
        "zero-shot": (FinetunedTabPFNForecaster(**{**shared, "max_steps": 0}), False),
        "HistGradientBoosting": (Boosted(**shared), True),
        "seasonal naive": (SeasonalNaive(), True),
    }
    found |= {name: (Statistical(name), True) for name in ("AutoETS", "AutoARIMA")}
    return {name: model for name, model in found.items() if name not in arguments.without}


def main() -> None:
    """Print a table per series."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of CSV files")
    parser.add_argument("--only", nargs="*", default=list(SERIES))
    parser.add_argument("--without", nargs="*", default=[], help="models to leave out")
    parser.add_argument("--base-model", default="mini")
    parser.add_argument("--context-length", type=int, default=800)
    parser.add_argument("--max-steps", type=int, default=80)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder for the table and the plots")
    arguments = parser.parse_args()
    print(f"{platform.machine()}, base model {arguments.base_model}, seed {arguments.seed}")
    rows = []
    for name in arguments.only:
        name, _, sizes = name.partition(":")
        horizon, n_windows = map(int, sizes.split(":")) if sizes else SERIES.get(name, (12, 5))
        table = pd.read_csv(arguments.data / f"{name}.csv").iloc[:, [0, -1]]
        table.columns = ["stamp", "target"]
        table["stamp"] = pd.to_datetime(table["stamp"])
        for label, (model, refit) in models_of(arguments).items():
            began = time.monotonic()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = backtest(
                    model,
                    table,
                    "target",
                    horizon,
                    n_windows=n_windows,
                    refit=refit,
                    quantiles=QUANTILES,
                )
            seconds = time.monotonic() - began
            rows.append({"series": name, "model": label, **found.metrics, "seconds": seconds})
            print(pd.DataFrame(rows[-1:]).to_string(index=False, header=len(rows) == 1), flush=True)
            if arguments.out and label == "fine-tuned":
                save_plot(table, found, name, arguments.out)
    if arguments.out:
        pd.DataFrame(rows).to_csv(arguments.out / "forecast.csv", index=False)


def save_plot(table: pd.DataFrame, found: Backtest, name: str, folder: Path) -> None:
    """Draw the last window."""
    folder.mkdir(parents=True, exist_ok=True)
    last = found.forecasts[found.forecasts["window"] == found.forecasts["window"].max()]
    last = last.set_index("stamp")
    past = table.set_index("stamp")["target"]
    past = past[past.index < last.index[0]]
    figure = plot_forecast(past, last, last["actual"], title=name)
    figure.savefig(folder / f"forecast-{name}.png", dpi=110)


if __name__ == "__main__":
    main()
