"""Insights into a series: how much it changes, when it changed more than usual, and drift."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import ks_2samp

from finetune_tabpfn.forecasting._rows import History, Layout, read_target

HIGH = 1.5  # times the usual volatility
SHORTEST_WINDOW = 5  # periods
MIN_VALUES = 5  # of either part, to speak of drift


def regime_insights(
    df: pd.DataFrame,
    target: str,
    *,
    n_test: int | None = None,
    window: int | None = None,
    time_column: Any = None,
    id_column: Any = None,
    freq: Any = None,
) -> pd.DataFrame:
    """Say of each series how volatile it is, when it was unusually so, and whether its end differs.

    Parameters
    ----------
    df : DataFrame
    target : str
    n_test : int, optional
        Periods at the end to compare with those before; a fifth if not given.
    window : int, optional
        Periods of the rolling volatility; a twentieth of the series, at least 5, if not given.
    time_column, id_column, freq : str, optional
        As of `FinetunedTabPFNForecaster`.

    Returns
    -------
    DataFrame
        A row per series:

        - volatility: standard deviation of the changes from one period to the next; relative
          changes where all targets are positive (`relative`).
        - test_volatility: the same at the end.
        - high_volatility: share of periods whose rolling volatility is more than 1.5 times the
          median, and high_periods, a list of their (first, last) stamps.
        - drift: the mean of the end less the mean before, in standard deviations of the part
          before; drift_ks and drift_p: the Kolmogorov-Smirnov distance of the two parts and its
          p-value, as if the values were independent, which those of a series seldom are: it ranks,
          and does not prove.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from finetune_tabpfn.forecasting import regime_insights
    >>> days = pd.date_range("2024-01-01", periods=100)
    >>> calm_then_wild = np.r_[np.tile([10.0, 11.0], 40), np.tile([10.0, 15.0], 10)]
    >>> found = regime_insights(pd.DataFrame({"day": days, "y": calm_then_wild}), "y").iloc[0]
    >>> bool(found["test_volatility"] > 3 * found["volatility"] / 2), len(found["high_periods"])
    (True, 1)
    """
    layout = Layout.of(df, time_column, id_column)
    history = History.of(df, read_target(df, target).to_numpy(), layout, freq)
    stamps = history.grid.stamps(np.arange(len(history.values)))
    rows = [_insights(series, stamps, n_test, window) for series in history.values.T]
    names = history.series if layout.id_column is not None else pd.Index([target])
    return pd.DataFrame(rows, index=names.rename(layout.id_column))


def _insights(
    values: npt.NDArray[np.float64],
    stamps: pd.DatetimeIndex,
    n_test: int | None,
    window: int | None,
) -> dict[str, Any]:
    """Return the insights into one series."""
    known = np.flatnonzero(np.isfinite(values))
    series = pd.Series(values, index=stamps).iloc[known[0] : known[-1] + 1] if len(known) else None
    if series is None:
        return {}
    relative = bool(series.min() > 0)
    changes = (series.map(np.log) if relative else series).diff()
    n_test = n_test or max(1, len(series) // 5)
    before, after = series.iloc[:-n_test].dropna(), series.iloc[-n_test:].dropna()
    wide = window or max(SHORTEST_WINDOW, len(series) // 20)
    rolling = changes.rolling(wide, min_periods=wide // 2 + 1).std()
    high = (rolling > HIGH * rolling.median()).to_numpy()
    spread = float(before.std())
    speaks = min(len(before), len(after)) >= MIN_VALUES
    distance = ks_2samp(before, after) if speaks else None
    return {
        "relative": relative,
        "volatility": float(changes.std()),
        "test_volatility": float(changes.iloc[-n_test:].std()),
        "high_volatility": float(high.mean()),
        "high_periods": _periods(high, series.index),
        "drift": float(after.mean() - before.mean()) / spread if spread > 0 else np.nan,
        "drift_ks": float(distance.statistic) if distance is not None else np.nan,
        "drift_p": float(distance.pvalue) if distance is not None else np.nan,
    }


def _periods(high: npt.NDArray[np.bool_], stamps: pd.Index) -> list[tuple[Any, Any]]:
    """Return first and last stamp of every run of true values."""
    edges = np.diff(np.r_[0, high.astype(np.int64), 0])
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1
    return [*zip(stamps[starts], stamps[ends], strict=True)]
