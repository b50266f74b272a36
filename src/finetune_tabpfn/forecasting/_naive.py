"""The seasonal naive forecast: what was one season before. What every forecast has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from finetune_tabpfn.forecasting._features import looked_up
from finetune_tabpfn.forecasting._forecaster import QUANTILES
from finetune_tabpfn.forecasting._rows import History, Layout, Places, read_target
from finetune_tabpfn.forecasting._seasons import find_seasons
from finetune_tabpfn.utils._constraints import is_whole
from finetune_tabpfn.utils._documentation import LinksDocumentation


class SeasonalNaive(LinksDocumentation, BaseEstimator):
    """Forecasts what was one season before, with the quantiles of the errors that this made.

    Parameters
    ----------
    season : int, default=None
        Periods; None: the strongest that is found, else 1, the last target. A series that is
        shorter than that is forecast by its last target.
    time_column, id_column, freq : str, optional
        As of `FinetunedTabPFNForecaster`.

    Examples
    --------
    >>> import pandas as pd
    >>> from finetune_tabpfn.forecasting import SeasonalNaive
    >>> table = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=6), "y": [1, 2, 3] * 2})
    >>> SeasonalNaive(season=3).fit(table, "y", 2).predict()["forecast"].tolist()
    [1.0, 2.0]
    """

    def __init__(
        self,
        season: int | None = None,
        *,
        time_column: Any = None,
        id_column: Any = None,
        freq: Any = None,
    ) -> None:
        self.season = season
        self.time_column = time_column
        self.id_column = id_column
        self.freq = freq

    def fit(self, df: pd.DataFrame, target: str, horizon: int | None = None) -> Any:
        """Note the series.

        Parameters
        ----------
        df : DataFrame
        target : str
        horizon : int, optional
            Periods to forecast; 1 if not given.

        Returns
        -------
        self
        """
        if self.season is not None and not is_whole(self.season, 1):
            raise ValueError(f"season={self.season!r} must be a whole number from 1 on, or None.")
        layout = Layout.of(df, self.time_column, self.id_column)
        cells = read_target(df, target)
        there = cells.notna().to_numpy()
        history = History.of(df[there], cells[there].to_numpy(), layout, self.freq)
        if self.season is not None and self.season >= len(history.values):
            raise ValueError(
                f"season={self.season} needs more than the {len(history.values)} periods there "
                "are; give a shorter one, or None."
            )
        filled = pd.DataFrame(history.values).ffill().to_numpy(dtype=np.float64)
        self.history_, self.horizon_ = replace(history, values=filled), int(horizon or 1)
        self.last_ = history.last
        found = find_seasons(history.values, history.grid.frequency)
        self.season_ = self.season or (found or [1])[0]
        return self

    def predict(
        self,
        horizon: int | None = None,
        *,
        future: pd.DataFrame | None = None,
        quantiles: Sequence[float] = QUANTILES,
    ) -> pd.DataFrame:
        """Forecast; `future` is not looked at.

        Parameters
        ----------
        horizon : int, optional
            Periods; those of `fit` if not given.
        future : DataFrame, optional
            Not looked at.
        quantiles : sequence of float, optional

        Returns
        -------
        DataFrame
            A row per series and stamp: the stamp, forecast, and a column for each quantile.
        """
        asked, history = int(horizon or self.horizon_), self.history_
        step = np.tile(np.arange(1, asked + 1), len(history.series))
        series = np.repeat(np.arange(len(history.series)), asked)
        places = Places(self.last_[series] + step, series)
        season = np.where(self._n_known() > self.season_, self.season_, 1)[series]
        lag = season * -(-step // season)
        found = history.rows(places)
        forecast = looked_up(history.values, places, lag)
        found["forecast"] = forecast
        for level in quantiles:
            beyond = np.array(
                [
                    _quantile(self._errors(one), abs(2 * level - 1))
                    for one in range(len(history.series))
                ]
            )[series]
            beyond = np.sign(level - 0.5) * beyond * np.sqrt(lag / season)
            found[f"{level:g}"] = forecast + beyond
        return found

    def _n_known(self) -> Any:
        """Return from how many periods each series has been going on."""
        return np.isfinite(self.history_.values).sum(axis=0)

    def _errors(self, number: int) -> Any:
        """Return the errors of the forecast on the past of a series."""
        values = self.history_.values[:, number]
        season = self.season_ if self._n_known()[number] > self.season_ else 1
        errors = np.abs(values[season:] - values[:-season])
        return errors[np.isfinite(errors)]


def _quantile(errors: Any, level: float) -> float:
    """Return a quantile of errors, 0 where there are none."""
    return float(np.quantile(errors, level)) if len(errors) else 0.0
