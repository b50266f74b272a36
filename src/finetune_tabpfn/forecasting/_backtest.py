"""Backtests: forecasts from several moments of the past, each from what was known then."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from sklearn.base import clone

from finetune_tabpfn.forecasting._forecaster import QUANTILES
from finetune_tabpfn.forecasting._metrics import forecast_metrics, seasonal_scale
from finetune_tabpfn.forecasting._rows import Floats, History, Layout, Places, read_target
from finetune_tabpfn.forecasting._seasons import find_seasons


class Forecaster(Protocol):
    """What can be backtested; `time_column`, `id_column` and `freq` say what is when."""

    def fit(self, df: pd.DataFrame, target: str, horizon: int | None = None) -> Any:
        """Learn from series."""
        ...

    def predict(
        self,
        horizon: int | None = None,
        *,
        future: pd.DataFrame | None = None,
        quantiles: Sequence[float] = QUANTILES,
    ) -> pd.DataFrame:
        """Forecast what comes after."""
        ...


@dataclass(frozen=True)
class Backtest:
    """What a backtest came to.

    Attributes
    ----------
    forecasts : DataFrame
        A row per forecast that has an actual value: window, step (from 1), the series and the
        stamp, actual, forecast, a column per quantile, last (the last target that was known) and
        scale (of MASE).
    levels : list of float
        Of the quantiles.
    season : int
        Of the scale.
    """

    forecasts: pd.DataFrame
    levels: list[float]
    season: int

    @property
    def metrics(self) -> dict[str, float]:
        """`forecast_metrics` of all rows."""
        return self._of(self.forecasts)

    def metrics_by(self, column: str) -> pd.DataFrame:
        """Return the metrics by "window", "step" or series.

        Parameters
        ----------
        column : str
            "window", "step", or the column that names the series.

        Returns
        -------
        DataFrame
            A row per value of the column, a column per metric.
        """
        rows = {key: self._of(part) for key, part in self.forecasts.groupby(column, sort=True)}
        return pd.DataFrame(rows).T.rename_axis(column)

    def _of(self, rows: pd.DataFrame) -> dict[str, float]:
        values = {name: rows[name].to_numpy(dtype=np.float64) for name in _NUMBERS}
        quantiles = {level: rows[f"{level:g}"].to_numpy(dtype=np.float64) for level in self.levels}
        return forecast_metrics(
            values["actual"],
            values["forecast"],
            quantiles,
            scale=values["scale"],
            last=values["last"],
        )


_NUMBERS = ("actual", "forecast", "scale", "last")


def backtest(
    forecaster: Forecaster,
    df: pd.DataFrame,
    target: str,
    horizon: int,
    *,
    n_windows: int = 3,
    step: int | None = None,
    max_train_size: int | None = None,
    refit: bool = True,
    quantiles: Sequence[float] = QUANTILES,
    season: int | None = None,
) -> Backtest:
    """Forecast the last windows of series, each from the rows before it alone.

    Parameters
    ----------
    forecaster : FinetunedTabPFNForecaster or alike
        Not fitted; a clone of it is fitted for each window.
    df : DataFrame
    target : str
    horizon : int
        Periods of a window.
    n_windows : int, default=3
    step : int, default=None
        Periods from one window to the next. None: a horizon.
    max_train_size : int, default=None
        Periods to learn from: a window that slides. None: all that are known, a window that
        expands.
    refit : bool, default=True
        Whether to train for every window. False trains for the first alone; later windows give
        the forecaster a longer history (`update`) and leave its weights.
    quantiles : sequence of float
    season : int, optional
        Of the scale of MASE, in periods; the strongest that is found in the first training part,
        else 1.

    Returns
    -------
    Backtest

    Raises
    ------
    ValueError
        For windows that leave nothing to learn from, and whatever the forecaster cannot use.
    """
    history = _history(df, target, forecaster)
    places = history.places(df)
    starts = _starts(int(history.last.max()) + 1, horizon, n_windows, step or horizon)
    season = season or (find_seasons(history.values[: starts[0]], history.grid.frequency) or [1])[0]
    found: list[pd.DataFrame] = []
    fitted: Any = None
    for window, start in enumerate(starts):
        first = 0 if max_train_size is None else max(start - max_train_size, 0)
        known = df[(places.position < start) & (places.position >= first)]
        if fitted is None or refit:
            fitted = clone(forecaster).fit(known, target, horizon)
        else:
            fitted.update(known)
        future = _future(df, target, places, start, horizon)
        forecasts = fitted.predict(horizon, future=future, quantiles=quantiles)
        scale = seasonal_scale(history.values[:start], season)
        rows = _compared(forecasts, history, start, scale, history.values[first:start])
        found.append(rows.assign(window=window))
    levels = sorted(float(level) for level in quantiles)
    return Backtest(pd.concat(found, ignore_index=True), levels, season)


def forecast_later(
    fitted: Any,
    df: pd.DataFrame,
    target: str,
    n_periods: int,
    *,
    season: int,
    quantiles: Sequence[float] = QUANTILES,
) -> Backtest:
    """Forecast the last periods of series one horizon after the other, without training again.

    Parameters
    ----------
    fitted : FinetunedTabPFNForecaster
        Is left as it is: a copy of it is given the rows before each horizon.
    df : DataFrame
    target : str
    n_periods : int
        Periods at the end to forecast; the last horizon may be cut short.
    season : int
        Of the scale of MASE.
    quantiles : sequence of float
    """
    model = copy.deepcopy(fitted)
    history = _history(df, target, model)
    places, n_places = history.places(df), int(history.last.max()) + 1
    found = []
    for window, start in enumerate(range(n_places - n_periods, n_places, model.horizon_)):
        horizon = min(model.horizon_, n_places - start)
        model.update(df[places.position < start])
        future = _future(df, target, places, start, horizon)
        forecasts = model.predict(horizon, future=future, quantiles=quantiles)
        past = history.values[:start]
        rows = _compared(forecasts, history, start, seasonal_scale(past, season), past)
        found.append(rows.assign(window=window))
    levels = sorted(float(level) for level in quantiles)
    return Backtest(pd.concat(found, ignore_index=True), levels, season)


def _future(
    df: pd.DataFrame, target: str, places: Places, start: int, horizon: int
) -> pd.DataFrame:
    """Return the rows of a window without their target, of the series that have not ended.

    A series whose last targets are missing is forecast from before the window.
    """
    position = places.position
    inside = (position >= start) & (position < start + horizon)
    goes_on = np.isin(places.series, places.series[inside])
    later = (position >= start - horizon) & (position < start + horizon)
    return df[later & goes_on].drop(columns=target)


def first_window(
    forecaster: Forecaster,
    df: pd.DataFrame,
    target: str,
    horizon: int,
    n_windows: int,
    max_train_size: int | None,
) -> pd.DataFrame:
    """Return the rows that the first window of a backtest learns from.

    Raises
    ------
    ValueError
        For windows that leave nothing to learn from.
    """
    df = df[read_target(df, target).notna().to_numpy()]
    history = _history(df, target, forecaster)
    start = _starts(int(history.last.max()) + 1, horizon, n_windows, horizon)[0]
    position = history.places(df).position
    first = 0 if max_train_size is None else start - max_train_size
    return df[(position < start) & (position >= first)]


def _history(df: pd.DataFrame, target: str, forecaster: Any) -> History:
    """Return the targets of series as a forecaster reads them."""
    parameters = ("time_column", "id_column", "freq")
    time_column, id_column, freq = (getattr(forecaster, name, None) for name in parameters)
    layout = Layout.of(df, time_column, id_column)
    return History.of(df, read_target(df, target).to_numpy(), layout, freq)


def _starts(n_places: int, horizon: int, n_windows: int, step: int) -> list[int]:
    """Return the places at which windows start, the last window ending with the last place."""
    if n_windows < 1 or horizon < 1 or step < 1:
        raise ValueError(
            f"n_windows={n_windows}, horizon={horizon} and step={step} must be 1 or more."
        )
    starts = [n_places - horizon - step * back for back in range(n_windows - 1, -1, -1)]
    if starts[0] < 2 * horizon:
        raise ValueError(
            f"n_windows={n_windows} of {horizon} periods, {step} apart, leave {max(starts[0], 0)} "
            f"of {n_places} periods to learn the first from; at least {2 * horizon} are needed, so "
            "ask for fewer windows or a shorter horizon."
        )
    return starts


def _compared(
    forecasts: pd.DataFrame, history: History, start: int, scale: Floats, past: Floats
) -> pd.DataFrame:
    """Put actual values beside forecasts, where there are any."""
    places: Places = history.places(forecasts)
    inside = places.position < len(history.values)
    rows = forecasts[inside].reset_index(
        names="stamp" if history.layout.time_column is None else ""
    )
    rows = rows.drop(columns="", errors="ignore")
    position, series = places.position[inside], places.series[inside]
    last = pd.DataFrame(past).ffill().iloc[-1].to_numpy(dtype=np.float64)
    rows = rows.assign(
        step=position - start + 1,
        actual=history.values[position, series],
        last=last[series],
        scale=scale[series],
    )
    return rows[np.isfinite(rows["actual"])]
