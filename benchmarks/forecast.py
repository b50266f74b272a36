"""Rolling backtests of forecasts, against naive, boosted and statistical ones.

    pip install "finetune-tabpfn[benchmarks]"
    python benchmarks/forecast.py [--data FOLDER] [--only NAME[:HORIZON:WINDOWS] ...] [--out FOLDER]

Six series are made here, of kinds that differ (`MADE`); each CSV of `--data` that is named is
another: the stamps in its first column, the target in its last one. Every model forecasts the same
windows, each from the rows before it alone. The fine-tuned model is trained once, on what lies
before the first window; later windows give it a longer history and leave its weights.
HistGradientBoosting has the same rows, features and transform, and is fitted for every window.

AutoETS and AutoARIMA are statsforecast's. They choose their form once, before the first window,
and see the same latest stamps as the others (`--context-length`). Their season is the longest of
the calendar that has at most 24 periods; ARIMA is not made for seasons of hundreds of periods, so
AutoARIMA gets those as regressors, two pairs of sine and cosine (Hyndman and Athanasopoulos,
Forecasting: Principles and Practice, 3rd ed., section 10.5).

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
from collections.abc import Callable, Sequence
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

QUANTILES = (0.1, 0.5, 0.9)
LONGEST_SEASON = 24  # of the statistical models
PAIRS = 2  # of sine and cosine, for a longer season


# --- series ---------------------------------------------------------------------------------------


def trend_and_season(rng: np.random.Generator) -> pd.DataFrame:
    """Give a monthly series that rises in a line, with a season and noise."""
    month = np.arange(180)
    season = 12 * np.sin(2 * np.pi * month / 12) + 5 * np.cos(4 * np.pi * month / 12)
    return _series("MS", 50 + 0.4 * month + season + 4 * rng.normal(size=180))


def multiplicative(rng: np.random.Generator) -> pd.DataFrame:
    """Give daily sales: growth times the time of year times the day of the week times noise."""
    day = np.arange(900)
    week = np.array([1.0, 0.9, 0.95, 1.0, 1.3, 1.7, 1.4])[day % 7]
    year = np.exp(0.25 * np.sin(2 * np.pi * day / 365))
    noise = np.exp(0.1 * rng.normal(size=900))
    return _series("D", 100 * np.exp(0.0008 * day) * week * year * noise)


def intermittent(rng: np.random.Generator) -> pd.DataFrame:
    """Give a daily demand that is zero on most days, less often at the end of the week."""
    day = np.arange(700)
    rate = np.array([0.2, 0.2, 0.3, 0.4, 0.6, 0.8, 0.3])[day % 7]
    return _series("D", rng.poisson(3, 700) * (rng.random(700) < rate))


def level_shifts(rng: np.random.Generator) -> pd.DataFrame:
    """Give a daily series whose level jumps now and then, with a week and noise that lasts."""
    jumps = np.where(rng.random(700) < 0.01, rng.normal(0, 15, 700), 0).cumsum()
    week = 3 * np.sin(2 * np.pi * np.arange(700) / 7)
    return _series("D", 100 + jumps + week + _lasting(rng, 700, 0.6, 2.0))


def hourly(rng: np.random.Generator) -> pd.DataFrame:
    """Give an hourly load: the time of day, other at weekends, and noise that lasts."""
    hour = np.arange(24 * 60)
    of_day = np.sin(2 * np.pi * (hour % 24 - 8) / 24) + 0.5 * np.sin(4 * np.pi * hour / 24)
    weekend = hour // 24 % 7 >= 5
    load = 60 + np.where(weekend, 8, 20) * of_day - 10 * weekend
    return _series("h", load + _lasting(rng, len(hour), 0.8, 1.5))


def several(rng: np.random.Generator) -> pd.DataFrame:
    """Give eight monthly series by id, of other lengths and units, whose seasons are alike."""
    parts = []
    for number in range(8):
        length = int(rng.integers(60, 145))
        month = np.arange(144)[-length:]
        swing = rng.uniform(0.1, 0.4) * np.sin(2 * np.pi * (month + rng.integers(0, 2)) / 12)
        growth = rng.normal(0.004, 0.004) * month
        y = 10 ** rng.uniform(1, 4) * np.exp(growth + swing + 0.06 * rng.normal(size=length))
        stamps = pd.date_range("2010-01-01", periods=144, freq="MS")[-length:]
        parts.append(pd.DataFrame({"series": f"s{number}", "stamp": stamps, "target": y}))
    return pd.concat(parts, ignore_index=True)


def _series(freq: str, values: Any) -> pd.DataFrame:
    stamps = pd.date_range("2018-01-01", periods=len(values), freq=freq)
    return pd.DataFrame({"stamp": stamps, "target": np.asarray(values, dtype=float)})


def _lasting(rng: np.random.Generator, n: int, share: float, spread: float) -> Any:
    """Return noise that keeps a share of itself from one stamp to the next."""
    noise = spread * rng.normal(size=n)
    for place in range(1, n):
        noise[place] += share * noise[place - 1]
    return noise


MADE: dict[str, Callable[[np.random.Generator], pd.DataFrame]] = {
    "trend_and_season": trend_and_season,
    "multiplicative": multiplicative,
    "intermittent": intermittent,
    "level_shifts": level_shifts,
    "hourly": hourly,
    "several": several,
}
SIZES = {  # horizon and windows
    "airline_passengers": (12, 5),
    "daily_min_temperatures": (14, 26),
    "trend_and_season": (12, 5),
    "multiplicative": (14, 10),
    "intermittent": (14, 10),
    "level_shifts": (14, 10),
    "hourly": (24, 5),
    "several": (12, 2),
}


def read(name: str, folder: Path | None, seed: int) -> pd.DataFrame:
    """Return a series by its name: one that is made here, or a file."""
    if name in MADE:
        return MADE[name](np.random.default_rng((seed, list(MADE).index(name))))
    if folder is None:
        raise SystemExit(f"{name} is a file; --data says in which folder.")
    table = pd.read_csv(folder / f"{name}.csv").iloc[:, [0, -1]]
    table.columns = pd.Index(["stamp", "target"])
    return table.assign(stamp=pd.to_datetime(table["stamp"]))


# --- models ---------------------------------------------------------------------------------------


class Boosted(FinetunedTabPFNForecaster):
    """Gradient boosting on the rows, features and transform of the forecaster."""

    def _learn(self, X: pd.DataFrame, learned: Any, n_held_out: int) -> Any:
        return [
            HistGradientBoostingRegressor(
                loss="quantile",
                quantile=level,
                categorical_features="from_dtype",
                random_state=0,
            ).fit(X, learned)
            for level in QUANTILES
        ]

    def _learned_quantiles(self, X: pd.DataFrame, levels: Sequence[float]) -> list[Any]:
        found = np.sort([model.predict(X) for model in self.regressor_], axis=0)
        return [found[QUANTILES.index(level)] for level in levels]


class Statistical(BaseEstimator):
    """AutoETS or AutoARIMA of statsforecast, each series by itself.

    Parameters
    ----------
    name : str
    id_column : str, optional
    context_length : int
        Stamps of each series to learn from, the latest.
    """

    def __init__(
        self, name: str = "AutoETS", id_column: str | None = None, context_length: int = 800
    ) -> None:
        self.name = name
        self.id_column = id_column
        self.context_length = context_length

    def fit(self, df: pd.DataFrame, target: str, horizon: int | None = None) -> Any:
        """Choose and fit the models."""
        from statsforecast import models

        self.target_, self.horizon_ = target, horizon
        self._read(df)
        seasons = natural_seasons(self.naive_.history_.grid.frequency)
        season = max([each for each in seasons if each <= LONGEST_SEASON], default=1)
        self.longer_ = [
            each for each in seasons if each > LONGEST_SEASON and self.name == "AutoARIMA"
        ]
        kind = getattr(models, self.name)
        self.models_ = [
            kind(season_length=season).fit(values, X=self._waves(first, len(values)))
            for first, values in self.series_
        ]
        return self

    def update(self, df: pd.DataFrame) -> Any:
        """Take a longer history, and leave the models."""
        self._read(df)
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
        n_ahead = len(rows) // len(self.series_)
        found = [
            model.forward(
                values,
                h=n_ahead,
                X=self._waves(first, len(values)),
                X_future=self._waves(first + len(values), n_ahead),
                level=[80],
            )
            for model, (first, values) in zip(self.models_, self.series_, strict=True)
        ]
        names = {"forecast": "mean", "0.1": "lo-80", "0.5": "mean", "0.9": "hi-80"}
        return rows.assign(
            **{name: np.concatenate([each[key] for each in found]) for name, key in names.items()}
        )

    def _read(self, df: pd.DataFrame) -> None:
        """Note each series as the place of its first value and its values, gaps filled."""
        self.naive_ = SeasonalNaive(id_column=self.id_column).fit(df, self.target_, self.horizon_)
        self.series_ = []
        for column in self.naive_.history_.values.T:
            known = np.flatnonzero(np.isfinite(column))
            first = max(known[0], known[-1] + 1 - self.context_length)
            self.series_.append((int(first), column[first : known[-1] + 1]))

    def _waves(self, first: int, n_places: int) -> Any:
        """Return sine and cosine of the longer seasons, None without any."""
        place = np.arange(first, first + n_places)
        turns = [2 * np.pi * k * place / s for s in self.longer_ for k in range(1, PAIRS + 1)]
        waves = [wave for turn in turns for wave in (np.sin(turn), np.cos(turn))]
        return np.stack(waves, axis=1) if waves else None


def models_of(arguments: argparse.Namespace, id_column: str | None) -> dict[str, tuple[Any, bool]]:
    """Return the models by name, and whether each window fits them anew."""
    shared = {
        "base_model": arguments.base_model,
        "context_length": arguments.context_length,
        "random_state": arguments.seed,
        "id_column": id_column,
    }
    tuned = {**shared, "max_steps": arguments.max_steps}
    found: dict[str, tuple[Any, bool]] = {
        "fine-tuned": (FinetunedTabPFNForecaster(**tuned), False),
        "zero-shot": (FinetunedTabPFNForecaster(**{**shared, "max_steps": 0}), False),
        "HistGradientBoosting": (Boosted(**shared), True),
        "seasonal naive": (SeasonalNaive(id_column=id_column), True),
    }
    for name in ("AutoETS", "AutoARIMA"):
        found[name] = (Statistical(name, id_column, arguments.context_length), False)
    return {name: model for name, model in found.items() if name not in arguments.without}


def main() -> None:
    """Print a table per series."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of CSV files")
    parser.add_argument("--only", nargs="*", help="series; all if not given")
    parser.add_argument("--without", nargs="*", default=[], help="models to leave out")
    parser.add_argument("--base-model", default="mini")
    parser.add_argument("--context-length", type=int, default=800)
    parser.add_argument("--max-steps", type=int, default=80)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder for the table and the plots")
    arguments = parser.parse_args()
    print(f"{platform.machine()}, base model {arguments.base_model}, seed {arguments.seed}")
    rows: list[dict[str, Any]] = []
    for given in arguments.only or (SIZES if arguments.data else MADE):
        name, _, sizes = given.partition(":")
        horizon, n_windows = map(int, sizes.split(":")) if sizes else SIZES.get(name, (12, 5))
        table = read(name, arguments.data, arguments.seed)
        id_column = "series" if "series" in table else None
        for label, (model, refit) in models_of(arguments, id_column).items():
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
    """Draw the last window, of the first series."""
    folder.mkdir(parents=True, exist_ok=True)
    last = found.forecasts[found.forecasts["window"] == found.forecasts["window"].max()]
    if "series" in table:
        table = table[table["series"] == table["series"].iloc[0]]
        last = last[last["series"] == table["series"].iloc[0]]
    last = last.set_index("stamp")
    past = table.set_index("stamp")["target"]
    past = past[past.index < last.index[0]]
    figure = plot_forecast(past, last, last["actual"], title=name)
    figure.savefig(folder / f"forecast-{name}.png", dpi=110)


if __name__ == "__main__":
    main()
