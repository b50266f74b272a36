"""Time series as tables: a row per stamp, with what is known of it one horizon before."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from finetune_tabpfn.forecasting._calendar import calendar_features, cycles_of, waves
from finetune_tabpfn.forecasting._grid import Positions
from finetune_tabpfn.forecasting._rows import (
    Floats,
    History,
    Layout,
    Places,
    check_covariates,
    refuse_unknown,
)
from finetune_tabpfn.forecasting._seasons import find_seasons, natural_seasons
from finetune_tabpfn.utils._constraints import check_parameters, is_whole
from finetune_tabpfn.utils._documentation import LinksDocumentation

AUTO = StrOptions({"auto"})
TIME_INDEX = "time_index"  # of the features: the place on the grid
RECENT = 3  # latest targets
MOST_SEASONS_BACK, LONGEST_LAG = 2, 0.7  # the latter of the places
SHORTEST, LONGEST = 3, 30  # of the short window


class TimeSeriesFeatures(LinksDocumentation, TransformerMixin, BaseEstimator):
    """Features of the rows of time series: calendar, seasons, lags and rolling statistics.

    A row is a stamp of a series. Its features are what is known of it some periods before, its
    step: its place in time and in the calendar, covariates, and of the target only what lies at
    least a step back. The step is `horizon` for every row, unless `transform` is told: then rows
    one to `horizon` periods ahead are each described by all that is known for them.

    Parameters
    ----------
    horizon : int, default=1
        Periods that are to be forecast at most.
    time_column : str, default=None
        Column of the stamps. None: the DatetimeIndex, else the one column of dates.
    id_column : str, default=None
        Column that names the series of a row. None: all rows are one series.
    covariates : sequence of str, default=None
        Columns that are known ahead for every stamp, such as holidays; they pass through. Other
        columns are left out.
    past_covariates : sequence of str, default=None
        Columns of numbers that are known up to the last target alone, such as the weather; of each
        the features are what it was a step before, a season before that, and its rolling mean.
    freq : str or DateOffset, default=None
        Of the stamps, as pandas names it. None infers it, also where stamps are missing. With a
        name, stamps that lie between two of its places count for the period.
    seasons : "auto" or sequence of int, default="auto"
        Periods after which the series repeat themselves. "auto" finds at most two by
        autocorrelation, among those of the calendar and the peaks of the Fourier spectrum.
    lags : sequence of int, default=None
        Further periods to look back, none less than `horizon`. The three latest targets that are
        known, and the two latest that are whole seasons before, are features anyway.
    windows : "auto" or sequence of int, default="auto"
        Lengths of the rolling means and standard deviations, which end a step before the row.
        "auto": the horizon, within 3 to 30, and the seasons.

    Attributes
    ----------
    history_ : History
        The targets of `fit` by stamp and series.
    seasons_, windows_ : list of int
        What was found, or given.
    seasons_back_ : dict of int to int
        How many seasons back the targets are looked at, by season.
    cycles_ : list of str
        Of the calendar, those that the series go through at least once.
    level_features_, spread_features_ : list of str
        Features in the unit of the target: those of its level (targets and rolling means), and
        rolling standard deviations.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from finetune_tabpfn.forecasting import TimeSeriesFeatures
    >>> days = pd.DataFrame(index=pd.date_range("2024-01-01", periods=70, freq="D"))
    >>> features = TimeSeriesFeatures(horizon=7).fit(days, np.tile(np.arange(7.0), 10))
    >>> features.seasons_
    [7]
    >>> coming = pd.DataFrame(index=pd.date_range("2024-03-11", periods=2))
    >>> features.transform(coming)["season_7_ago_1"].tolist()
    [0.0, 1.0]
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "horizon": [Interval(Integral, 1, None, closed="left")],
        "time_column": [str, Integral, None],
        "id_column": [str, Integral, None],
        "covariates": ["array-like", None],
        "past_covariates": ["array-like", None],
        "freq": [str, pd.DateOffset, None],
        "seasons": [AUTO, "array-like"],
        "lags": ["array-like", None],
        "windows": [AUTO, "array-like"],
    }

    def __init__(
        self,
        horizon: int = 1,
        *,
        time_column: Any = None,
        id_column: Any = None,
        covariates: Sequence[Any] | None = None,
        past_covariates: Sequence[Any] | None = None,
        freq: Any = None,
        seasons: Literal["auto"] | Sequence[int] = "auto",
        lags: Sequence[int] | None = None,
        windows: Literal["auto"] | Sequence[int] = "auto",
    ) -> None:
        self.horizon = horizon
        self.time_column = time_column
        self.id_column = id_column
        self.covariates = covariates
        self.past_covariates = past_covariates
        self.freq = freq
        self.seasons = seasons
        self.lags = lags
        self.windows = windows

    def fit(self, X: pd.DataFrame, y: Any) -> TimeSeriesFeatures:
        """Note the history, and find frequency and seasons in it.

        Parameters
        ----------
        X : DataFrame
            In any order.
        y : array-like of shape (n_rows,)
            The target; NaN where it is missing.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For no date column, stamps that repeat within a series, a frequency that cannot be
            inferred, or a lag that looks ahead.
        """
        permitted = self._parameter_constraints
        check_parameters(permitted, self.get_params(deep=False), type(self).__name__)
        layout = Layout.of(X, self.time_column, self.id_column)
        check_covariates(self.covariates, self.past_covariates, X, layout, "X")
        target = np.asarray(y, dtype=np.float64)
        if target.shape != (len(X),):
            raise ValueError(f"X has {len(X)} rows but y has the shape {target.shape}.")
        return self.fit_history(
            History.of(X, target, layout, self.freq, self.past_covariates or ())
        )

    def fit_history(self, history: History, like: TimeSeriesFeatures | None = None) -> Any:
        """Do what `fit` does, with targets on a grid.

        Parameters
        ----------
        history : History
        like : TimeSeriesFeatures, optional
            Whose features are to be had, whatever is found in this history.

        Returns
        -------
        self
        """
        self.history_ = history
        if like is not None:
            for name in ("seasons_", "seasons_back_", "windows_", "cycles_"):
                setattr(self, name, getattr(like, name))
        else:
            self._choose(history)
        self.level_features_ = [*self._targets(1), *(f"mean_{window}" for window in self.windows_)]
        self.spread_features_ = [f"std_{window}" for window in self.windows_]
        given = (*(self.covariates or ()), *(self.past_covariates or ()))
        self.n_features_in_ = len([*history.layout.names, *given])
        return self

    def _choose(self, history: History) -> None:
        """Find seasons, windows and cycles in a history, or take those that are given."""
        n_places, seasons = len(history.values), self.seasons
        if isinstance(seasons, str):
            seasons = find_seasons(history.values, history.grid.frequency)
        self.seasons_ = _whole_numbers("seasons", seasons, 2)
        self.seasons_back_ = {
            season: min(MOST_SEASONS_BACK, int(LONGEST_LAG * n_places) // season)
            for season in self.seasons_
        }
        _whole_numbers("lags", self.lags or (), int(self.horizon), "the horizon")
        windows = self._usual_windows() if isinstance(self.windows, str) else self.windows
        self.windows_ = _whole_numbers("windows", windows, 2)
        self.cycles_ = cycles_of(history.grid, n_places)

    def transform(self, X: pd.DataFrame, steps: Any = None) -> pd.DataFrame:
        """Return the features of rows, in their order and with their index.

        Parameters
        ----------
        X : DataFrame
            Rows of `fit`, or later ones up to `horizon` periods after the last target.
        steps : array-like of int of shape (n_rows,), optional
            From 1 to `horizon`: how many periods before the row its features end. They become a
            feature themselves.

        Returns
        -------
        DataFrame
            NaN where the history does not reach so far back.

        Raises
        ------
        ValueError
            For rows beyond the horizon, series that `fit` did not have, or a covariate that is
            not there.
        """
        check_is_fitted(self)
        refuse_unknown(self.covariates or (), X, "X")
        history = self.history_
        places = history.places(X)
        ahead = self._checked_steps(steps, len(X))
        beyond = places.position - history.last[places.series]
        if len(beyond) and beyond.max() > self.horizon:
            row = int(beyond.argmax())
            raise ValueError(
                f"horizon={self.horizon}: the row of {history.layout.stamps(X)[row]} lies "
                f"{beyond[row]} periods after the last target of its series; fit with a longer "
                "horizon, or give the targets in between."
            )
        described = self._of_places(places, ahead)
        if steps is not None:
            described["step"] = ahead.astype(np.float64)
        features = pd.DataFrame(described, index=X.index)
        for name in self.covariates or ():
            if name in features:
                raise ValueError(f"The covariate {name!r} has the name of a feature; rename it.")
            features[name] = X[name]
        return features

    def _checked_steps(self, steps: Any, n_rows: int) -> Positions:
        """Return the step of every row."""
        if steps is None:
            return np.full(n_rows, int(self.horizon))
        ahead = np.asarray(steps)
        if ahead.shape != (n_rows,) or ahead.dtype.kind not in "iu":
            raise ValueError(f"steps must be {n_rows} whole numbers, one for each row of X.")
        if len(ahead) and not (ahead.min() >= 1 and ahead.max() <= self.horizon):
            raise ValueError(f"steps must lie between 1 and horizon={self.horizon}.")
        return ahead.astype(np.int64)

    def _of_places(self, places: Places, steps: Positions) -> dict[str, Any]:
        """Return all features but covariates."""
        history = self.history_
        features: dict[str, Any] = {TIME_INDEX: places.position.astype(np.float64)}
        if len(history.series) > 1:
            codes = places.series
            features["series"] = pd.Categorical.from_codes(codes, history.series.astype(str))
        features |= calendar_features(history.grid, places.position, self.cycles_)
        for season in self.seasons_:
            if season not in natural_seasons(history.grid.frequency):
                features |= waves(f"season_{season}", places.position % season / season)
        for name, lag in self._targets(steps).items():
            features[name] = looked_up(history.values, places, lag)
        lines = pd.DataFrame(history.values)
        for window in self.windows_:
            rolling = self.rolling(lines, window)
            for name, statistic in (("mean", rolling.mean()), ("std", rolling.std())):
                features[f"{name}_{window}"] = looked_up(statistic.to_numpy(), places, steps)
        for name in self.past_covariates or ():
            features |= self._of_past(name, places, steps)
        return features

    def _of_past(self, name: Any, places: Places, steps: Positions) -> dict[str, Any]:
        """Return what is known of a covariate that nobody knows ahead."""
        panel = self.history_.past[name]
        found = {f"{name}_latest_1": looked_up(panel, places, steps)}
        for season in self.seasons_[:1]:
            lag = seasonal_lag(season, steps)
            found[f"{name}_season_{season}_ago_1"] = looked_up(panel, places, lag)
        for window in self.windows_[:1]:
            means = self.rolling(pd.DataFrame(panel), window).mean().to_numpy()
            found[f"{name}_mean_{window}"] = looked_up(means, places, steps)
        return found

    def _targets(self, steps: Any) -> dict[str, Any]:
        """Return how far back the targets are that are features: a number, or one per row."""
        lags = {f"latest_{number + 1}": steps + number for number in range(RECENT)}
        for season, depth in self.seasons_back_.items():
            for number in range(depth):
                lag = seasonal_lag(season, steps) + number * season
                lags[f"season_{season}_ago_{number + 1}"] = lag
        return lags | {f"lag_{lag}": lag for lag in self.lags or ()}

    @staticmethod
    def rolling(lines: pd.DataFrame, window: int) -> Any:
        """Return rolling windows of series; half a window has to be known.

        Parameters
        ----------
        lines : DataFrame
            A column per series, a row per place on the grid.
        window : int
            Periods.

        Returns
        -------
        pandas.core.window.Rolling
        """
        return lines.rolling(window, min_periods=max(2, window // 2))

    def _usual_windows(self) -> list[int]:
        """Return a short window, and the seasons."""
        short = min(max(int(self.horizon), SHORTEST), LONGEST)
        windows = sorted({short, *self.seasons_})
        return [window for window in windows if window <= 0.5 * len(self.history_.values)]


def looked_up(values: Floats, places: Places, lag: int | Positions) -> Floats:
    """Return what stands `lag` places before each row, NaN where there is nothing."""
    position = places.position - lag
    there = (position >= 0) & (position < len(values))
    found = np.full(len(position), np.nan)
    found[there] = values[position[there], places.series[there]]
    return found


def seasonal_lag(season: int, steps: Any) -> Any:
    """Return the fewest whole seasons that reach back over steps, in periods."""
    return season * -(-steps // season)


def _whole_numbers(name: str, given: Sequence[Any], least: int, why: str = "") -> list[int]:
    """Return sorted periods; raise for what is none or too short."""
    for each in given:
        if not is_whole(each, least):
            reason = f", {why}" if why else ""
            raise ValueError(
                f"{name}={list(given)!r} must be whole numbers from {least} on{reason}; {each!r} "
                "is not."
            )
    return sorted({int(each) for each in given})
