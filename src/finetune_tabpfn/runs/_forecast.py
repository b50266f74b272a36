"""A run that forecasts: backtest, fit, forecast, and a folder with a report of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd

from finetune_tabpfn.data._io import read_table
from finetune_tabpfn.forecasting._backtest import Backtest, backtest
from finetune_tabpfn.forecasting._figures import FIGURE_SIZE, plot_forecast
from finetune_tabpfn.forecasting._forecaster import (
    NOT_OF_FORECASTS,
    OWN_PARAMETERS,
    FinetunedTabPFNForecaster,
)
from finetune_tabpfn.forecasting._insights import regime_insights
from finetune_tabpfn.forecasting._naive import SeasonalNaive
from finetune_tabpfn.forecasting._names import new_forecaster
from finetune_tabpfn.loggers._base import peak_memory
from finetune_tabpfn.loggers._level import messages
from finetune_tabpfn.models._export import describe
from finetune_tabpfn.runs._config import RunConfig
from finetune_tabpfn.runs._folders import METRICS, link_best, new_folder
from finetune_tabpfn.utils._files import save_whole
from finetune_tabpfn.utils._optional import require
from finetune_tabpfn.utils._text import to_json

NOT_IN_DATA = ("test_path", "validation_path", "group", "weight")
REPORT = "report.md"


def execute_forecast(config: RunConfig, *, progress: bool = False) -> dict[str, Any]:
    """Backtest, fit and forecast what a configuration describes.

    Parameters
    ----------
    config : RunConfig
        With ``data.task: forecasting``.
    progress : bool
        Whether to show a progress bar on standard error.

    Returns
    -------
    dict
        What is in metrics.json, and under "folder" and "best" where this run and the best one
        of its experiment are.

    Notes
    -----
    The folder holds config.yaml, metrics.json, report.md, backtest.csv (every forecast of the
    backtest beside what came), forecast.csv, forecast.png and estimator.joblib.
    """
    began = time.monotonic()
    table, horizon = read_series(config), config.forecasting.prediction_length  # type: ignore[attr-defined]
    forecaster = make_forecaster(config, verbose=progress)
    forecaster._validate_params()  # what is wrong is said before there is a folder
    tests = backtests(config, forecaster, table, horizon)
    folder = new_folder(Path(config.output.folder) / str(config.output.experiment))
    save_whole(folder / "config.yaml", lambda part: part.write_text(config.to_yaml(), "utf-8"))
    with messages(config.logging.level):
        forecaster.set_params(log_dir=folder if forecaster.loggers else None)
        forecaster.fit(table, config.data.target, horizon)
    forecast = forecaster.predict(future=table)
    metrics = _metrics(config, forecaster, tests, table, folder.name)
    _save(config, forecaster, tests, forecast, table, folder)
    files = sorted(file.name for file in folder.iterdir())
    metrics |= {"files": files, "seconds": time.monotonic() - began}
    save_whole(folder / METRICS, lambda part: part.write_text(to_json(metrics) + "\n"))
    return {**metrics, "folder": folder, "best": link_best(folder, config.output.best_by)}


def read_series(config: RunConfig) -> pd.DataFrame:
    """Read the table; raise for keys that a forecast has no use for.

    Raises
    ------
    ValueError
        When a key is set that is not for forecasts, or one is missing that is.
    """
    for name in NOT_IN_DATA:
        if getattr(config.data, name) is not None:
            raise ValueError(
                f"data.{name} is not for data.task=forecasting, which tests on the last "
                "horizons of the table (forecasting.n_windows); leave it out."
            )
    if config.forecasting.prediction_length is None:  # type: ignore[attr-defined]
        raise ValueError("forecasting.prediction_length: say how many periods are to be forecast.")
    table = read_table(config.data.path, missing_values=config.data.missing_values)
    if config.data.target not in table.columns:
        raise ValueError(
            f"data.target={config.data.target!r} is not a column of {config.data.path}."
        )
    return table.drop(columns=[name for name in config.data.drop if name in table.columns])


def make_forecaster(config: RunConfig, **others: Any) -> FinetunedTabPFNForecaster:
    """Return the forecaster of a configuration, not fitted."""
    shared = {
        name: value
        for name, value in config.parameters.items()
        if name not in (*NOT_OF_FORECASTS, "class_weight", "balanced_contexts")
    }
    own = {name: getattr(config.forecasting, name) for name in OWN_PARAMETERS}
    return new_forecaster({**shared, **own, **others})


def backtests(
    config: RunConfig, forecaster: FinetunedTabPFNForecaster, table: pd.DataFrame, horizon: int
) -> dict[str, Backtest]:
    """Return the backtests of the fine-tuned and of the base model, and of the naive forecast."""
    settings: Any = config.forecasting
    if not settings.n_windows:
        return {}
    table = table[table[config.data.target].notna()]
    where = {name: getattr(settings, name) for name in ("time_column", "id_column", "freq")}
    base = new_forecaster({**forecaster.get_params(deep=False), "max_steps": 0})
    models: dict[str, Any] = {
        "deployed": forecaster,
        "base": base,
        "seasonal naive": SeasonalNaive(**where),
    }
    shared = {"n_windows": settings.n_windows, "max_train_size": settings.max_train_size}
    return {
        name: backtest(
            model,
            table,
            config.data.target,
            horizon,
            refit=settings.refit or name == "seasonal naive",
            **shared,
        )
        for name, model in models.items()
    }


def _metrics(
    config: RunConfig,
    forecaster: FinetunedTabPFNForecaster,
    tests: dict[str, Backtest],
    table: pd.DataFrame,
    run: str,
) -> dict[str, Any]:
    """Return what a run came to, as JSON-like data."""
    regressor = forecaster.regressor_
    made = describe(regressor)
    del made["parameters"]  # config.yaml has them
    scores = {"base": made.pop("base_score"), "deployed": made.pop("best_score")}
    scored = bool(np.isfinite(scores["deployed"]))
    return {
        "experiment": config.output.experiment,
        "run": run,
        "task": "forecasting",
        "target": config.data.target,
        "horizon": forecaster.horizon_,
        "rows": {"train": len(table)},
        "columns": regressor.n_features_in_,
        "hold_out": {name: {"score": score} for name, score in scores.items()} if scored else None,
        "test": {
            name: {"score": -test.metrics["mase"], **test.metrics} for name, test in tests.items()
        }
        or None,
        "season": next((test.season for test in tests.values()), None),
        "transform": {"log": forecaster.transform_.log, "level": forecaster.transform_.level},
        **made,
        "deployed_weights": regressor.deployed_weights_,
        "n_steps": regressor.n_steps_,
        "learning_rate": regressor.learning_rate_,
        "peak_memory_mb": peak_memory(),
    }


def _save(
    config: RunConfig,
    forecaster: FinetunedTabPFNForecaster,
    tests: dict[str, Backtest],
    forecast: pd.DataFrame,
    table: pd.DataFrame,
    folder: Path,
) -> None:
    """Write forecasts, figure, report and model."""
    by_index = forecaster.features_.history_.layout.time_column is None
    save_whole(folder / "forecast.csv", lambda part: forecast.to_csv(part, index=by_index))
    if tests:
        rows = pd.concat([test.forecasts.assign(model=name) for name, test in tests.items()])
        save_whole(folder / "backtest.csv", lambda part: rows.to_csv(part, index=False))
    save_whole(folder / "estimator.joblib", lambda part: joblib.dump(forecaster, part))
    figure = plot_first(forecaster, forecast)
    save_whole(folder / "forecast.png", lambda part: figure.savefig(part, format="png"))
    text = report(config, forecaster, tests, table)
    save_whole(folder / REPORT, lambda part: part.write_text(text, "utf-8"))


def plot_first(forecaster: FinetunedTabPFNForecaster, forecast: pd.DataFrame) -> Any:
    """Draw the forecast of the first series."""
    history = forecaster.features_.history_
    layout = history.layout
    own = forecast
    if layout.id_column is not None:
        own = forecast[forecast[layout.id_column] == history.series[0]]
    if layout.time_column is not None:
        own = own.set_index(layout.time_column)
    values = history.values[:, 0]
    known = np.flatnonzero(np.isfinite(values))
    past = pd.Series(forecaster.transform_.undo(values[known]), history.grid.stamps(known))
    name = "" if layout.id_column is None else f", {history.series[0]}"
    figures = require("matplotlib", "A plot of a forecast", "matplotlib.figure")
    figure = figures.Figure(figsize=FIGURE_SIZE, layout="constrained")  # pyplot would keep it open
    return plot_forecast(past, own, ax=figure.subplots(), title=f"{forecaster.target_}{name}")


def report(
    config: RunConfig,
    forecaster: FinetunedTabPFNForecaster,
    tests: dict[str, Backtest],
    table: pd.DataFrame,
) -> str:
    """Return the evaluation report, in Markdown."""
    settings: Any = config.forecasting
    transform = forecaster.transform_
    told = "its logarithm" if transform.log else "the target"
    level = "its mean" if transform.level is None else f"the rolling {transform.level}"
    lines = [
        f"# Forecasts of {config.data.target}",
        "",
        f"{len(table)} rows of {config.data.path}; {forecaster.horizon_} periods ahead, frequency "
        f"{forecaster.features_.history_.grid.frequency.freqstr}; seasons "
        f"{forecaster.features_.seasons_ or 'none'}; learned is {told}, as its distance from "
        f"{level}. Base model {forecaster.regressor_.base_model_.name}; deployed: "
        f"{forecaster.regressor_.deployed_weights_}.",
        "",
    ]
    if tests:
        season = next(iter(tests.values())).season
        metrics = pd.DataFrame({name: test.metrics for name, test in tests.items()}).T
        steps = tests["deployed"].metrics_by("step")[["mase", "wql"]]
        lines += [
            "## Backtest",
            "",
            f"{settings.n_windows} windows, each forecast from the rows before it; "
            f"{'trained for each' if settings.refit else 'trained before the first'}. MASE in "
            f"errors of the seasonal naive forecast ({season} periods).",
            "",
            _as_text(metrics),
            "",
            "By step:",
            "",
            _as_text(steps),
            "",
        ]
    where = {name: getattr(settings, name) for name in ("time_column", "id_column", "freq")}
    known = table[table[config.data.target].notna()]
    insights = regime_insights(
        known, config.data.target, n_test=max(settings.n_windows, 1) * forecaster.horizon_, **where
    )
    insights["high_periods"] = insights["high_periods"].map(len)
    return "\n".join([*lines, "## Regimes", "", _as_text(insights), ""])


def _as_text(table: pd.DataFrame) -> str:
    """Return a table as a block of text."""
    return "```\n" + table.to_string(float_format="{:.4g}".format) + "\n```"
