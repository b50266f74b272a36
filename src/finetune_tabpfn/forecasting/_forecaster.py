"""The forecaster: a fine-tuned regressor on the features of time series."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from finetune_tabpfn._estimators import FinetunedTabPFNRegressor
from finetune_tabpfn._parameters import PARAMETERS, Parameters, extending
from finetune_tabpfn.data._time_split import TimeSplit
from finetune_tabpfn.forecasting._features import TIME_INDEX, TimeSeriesFeatures
from finetune_tabpfn.forecasting._future import coming_rows
from finetune_tabpfn.forecasting._hold_out import last_horizons, later_rows, with_later
from finetune_tabpfn.forecasting._rows import (
    Floats,
    History,
    Layout,
    check_covariates,
    read_target,
    warn_of_empty,
)
from finetune_tabpfn.forecasting._target import Rows, choose_transform
from finetune_tabpfn.utils._constraints import is_number, is_whole

NOT_OF_FORECASTS = ("validation", "n_folds", "categorical_features")
GOLDEN = (5**0.5 - 1) / 2  # its multiples spread the steps evenly over the stamps
QUANTILES = (0.1, 0.5, 0.9)


class FinetunedTabPFNForecaster(Parameters):
    """Forecasts of time series by a TabPFN regressor that is fine-tuned to them.

    A row is a stamp of a series, described by `TimeSeriesFeatures`. The last horizons are held out;
    the query rows of every split of the training lie after its context rows. What is learned is
    the distance from the level of the series, where it has a trend, and its logarithm, where it
    swings more the higher it stands: TabPFN does not predict beyond the targets that it is shown.

    Parameters
    ----------
    prediction_length : int, default=None
        Periods to forecast, if `fit` is given no `horizon`.
    time_column : str, default=None
        Column of the stamps. None: the DatetimeIndex, else the one column of dates.
    id_column : str, default=None
        Column that names the series of a row. None: all rows are one series.
    covariates : sequence of str, default=None
        Columns that are known ahead; `predict` is given them as `future`. Other columns are left
        out.
    past_covariates : sequence of str, default=None
        Columns of numbers that are known up to the last target alone, such as the weather: what
        they were then, and before, are features.
    freq : str or DateOffset, default=None
        Of the stamps, as pandas names it; None infers it.
    seasons : "auto" or sequence of int, default="auto"
        Periods after which the series repeat themselves; "auto" finds at most two.
    lags : sequence of int, default=None
        Periods to look back beside the latest targets and those whole seasons before.
    windows : "auto" or sequence of int, default="auto"
        Periods of rolling means and standard deviations; "auto": the horizon and the seasons.
    transform : {"auto", "log", "none"}, default="auto"
        Whether the logarithm of the target is learned. "auto": of a positive one whose swings grow
        with its level.
    detrend : bool or "auto", default="auto"
        Whether distances from a rolling mean are learned, one horizon before. "auto": where they
        spread less than the series does.
    context_length : int, default=None
        Stamps of each series to learn and predict from, the latest. None: all.
    n_validation_windows : int, default=None
        Horizons at the end to hold out and validate on. None: about a fifth of the stamps, at
        least one.
    {shared}

    Attributes
    ----------
    regressor_ : FinetunedTabPFNRegressor
        With the history of the training, its scores and the deployed predictor.
    features_ : TimeSeriesFeatures
    transform_ : TargetTransform
        What was chosen: `log`, `level`.
    horizon_ : int
    target_ : str

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from finetune_tabpfn import FinetunedTabPFNForecaster
    >>> months = pd.date_range("2018-01-01", periods=72, freq="MS")
    >>> sales = 10 + np.arange(72) / 10 + np.sin(np.arange(72) * np.pi / 6)
    >>> table = pd.DataFrame({"month": months, "sales": sales})
    >>> model = FinetunedTabPFNForecaster(base_model="mini", max_steps=5, random_state=0)
    >>> model.fit(table, "sales", horizon=12).predict(3).columns.tolist()
    ['month', 'forecast', '0.1', '0.5', '0.9']
    """

    _parameter_constraints = {  # noqa: RUF012 - scikit-learn's name and form
        "prediction_length": [Interval(Integral, 1, None, closed="left"), None],
        **{
            name: constraint
            for name, constraint in TimeSeriesFeatures._parameter_constraints.items()
            if name != "horizon"
        },
        "transform": [StrOptions({"auto", "log", "none"})],
        "detrend": ["boolean", StrOptions({"auto"})],
        "context_length": [Interval(Integral, 1, None, closed="left"), None],
        "n_validation_windows": [Interval(Integral, 1, None, closed="left"), None],
        **Parameters._parameter_constraints,
    }

    @extending(Parameters, without=NOT_OF_FORECASTS)
    def __init__(
        self,
        *,
        prediction_length: int | None = None,
        time_column: Any = None,
        id_column: Any = None,
        covariates: Sequence[Any] | None = None,
        past_covariates: Sequence[Any] | None = None,
        freq: Any = None,
        seasons: Literal["auto"] | Sequence[int] = "auto",
        lags: Sequence[int] | None = None,
        windows: Literal["auto"] | Sequence[int] = "auto",
        transform: Literal["auto", "log", "none"] = "auto",
        detrend: bool | Literal["auto"] = "auto",
        context_length: int | None = None,
        n_validation_windows: int | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        self.prediction_length = prediction_length
        self.time_column = time_column
        self.id_column = id_column
        self.covariates = covariates
        self.past_covariates = past_covariates
        self.freq = freq
        self.seasons = seasons
        self.lags = lags
        self.windows = windows
        self.transform = transform
        self.detrend = detrend
        self.context_length = context_length
        self.n_validation_windows = n_validation_windows

    def fit(
        self,
        df: pd.DataFrame,
        target: str,
        horizon: int | None = None,
        *,
        df_val: pd.DataFrame | None = None,
    ) -> Any:
        """Fine-tune to series.

        Parameters
        ----------
        df : DataFrame
            A row per stamp and series, in any order; stamps may be missing, and targets NaN.
        target : str
            Name of the column to forecast.
        horizon : int, optional
            Periods to forecast at most; `prediction_length` if not given.
        df_val : DataFrame, optional
            Rows that follow those of `df`, to validate on instead of its last horizons. They are
            forecast from, as those of `df` are.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For what cannot be used, in one sentence: no dates, stamps that repeat within a series,
            a frequency that cannot be inferred, a horizon longer than the data allows.
        """
        self._validate_params()
        self.regressor_ = self._learn(*self._rows_to_learn(df, target, horizon, df_val))
        return self

    def _rows_to_learn(
        self,
        df: pd.DataFrame,
        target: str,
        horizon: int | None,
        df_val: pd.DataFrame | None = None,
    ) -> tuple[pd.DataFrame, Floats, int]:
        """Return features, what is learned, and how many moments at the end are held out."""
        self.horizon_, self.target_ = self._horizon(horizon), target
        asked, length = self.n_validation_windows, self.context_length
        if df_val is None:
            history, known = self._read(df)
            n_held_out = last_horizons(history, self.horizon_, asked, length)
        else:
            layout = Layout.of(df, self.time_column, self.id_column)
            whole, first = with_later(df, df_val, layout, target)
            history, known = self._read(whole)
            end = int(history.places(first).position.max()) + 1
            n_held_out = later_rows(history, end, self.horizon_, asked, length)
        before = history.until(len(history.values) - n_held_out)
        self.features_ = self._features()
        self.transform_ = choose_transform(self.features_, before, self.transform, self.detrend)
        self._remember(history, known)
        rows, learned = self._context(len(before.values))
        held_out = rows.places.position >= len(before.values)
        return rows.X, learned, len(np.unique(rows.places.position[held_out]))

    def update(self, df: pd.DataFrame) -> Any:
        """Take another history to forecast from, with the weights of `fit`.

        Parameters
        ----------
        df : DataFrame
            Of the same columns: the whole history, not only what is new.

        Returns
        -------
        self
        """
        check_is_fitted(self, "regressor_")
        history, known = self._read(df)
        # what was chosen, for the series that there are now
        same: Any = {
            "transform": "log" if self.transform_.log else "none",
            "detrend": self.transform_.level is not None,
        }
        level = self.transform_.level
        found = choose_transform(self._features(), history, **same, like=self.features_)
        self.transform_ = replace(found, level=level)
        self._remember(history, known)
        rows, learned = self._context(len(history.values))
        if rows.X.shape[1] != self.regressor_.n_features_in_:
            raise ValueError(
                f"df has {len(history.series)} series; one where fit had several, or the other way "
                "round, needs another fit."
            )
        columns = self.regressor_.columns_.read(rows.X)
        self.regressor_.predictor_.fit(columns, learned)
        return self

    def predict(
        self,
        horizon: int | None = None,
        *,
        future: pd.DataFrame | None = None,
        quantiles: Sequence[float] = QUANTILES,
    ) -> pd.DataFrame:
        """Forecast the periods after the last target of each series.

        Parameters
        ----------
        horizon : int, optional
            Up to the one of `fit`, which it is if not given.
        future : DataFrame, optional
            With `covariates`: their values at the stamps to forecast. A series that it has no rows
            of is not forecast.
        quantiles : sequence of float, default=(0.1, 0.5, 0.9)
            Between 0 and 1.

        Returns
        -------
        DataFrame
            The series (with an `id_column`), the stamp, "forecast" (the median) and a column per
            quantile.
        """
        check_is_fitted(self, "regressor_")
        asked = self.horizon_ if horizon is None else horizon
        if not is_whole(asked, 1) or asked > self.horizon_:
            raise ValueError(
                f"horizon={asked!r} must be a whole number from 1 to the horizon of fit "
                f"({self.horizon_}); fit with a longer one to forecast further."
            )
        levels = [float(level) for level in quantiles]
        if not all(is_number(level) and 0 < level < 1 for level in quantiles):
            raise ValueError(f"quantiles={list(quantiles)!r} must be numbers between 0 and 1.")
        coming = coming_rows(
            self.features_.history_, int(asked), self.covariates or (), future, self._known
        )
        steps = np.tile(np.arange(1, int(asked) + 1), len(coming) // int(asked))
        rows = self._rows(coming, steps, filled=True)
        learned = self._learned_quantiles(rows.X, [*levels, 0.5])
        *bounds, median = (
            self.transform_.back(np.asarray(each, dtype=np.float64), rows.anchors, rows.places)
            for each in learned
        )
        found = coming[self.features_.history_.layout.names]
        columns = {f"{level:g}": bound for level, bound in zip(levels, bounds, strict=True)}
        return found.assign(forecast=median, **columns)

    def _features(self) -> TimeSeriesFeatures:
        """Return the features, not fitted."""
        own = [name for name in TimeSeriesFeatures().get_params() if name != "horizon"]
        return TimeSeriesFeatures(self.horizon_, **{name: getattr(self, name) for name in own})

    def _learn(self, X: pd.DataFrame, learned: Floats, n_held_out: int) -> Any:
        """Return the regressor that is fine-tuned to rows; the last moments are held out."""
        return self._regressor(n_held_out).fit(X, learned)

    def _regressor(self, n_held_out: int) -> FinetunedTabPFNRegressor:
        """Return the regressor that learns from rows, not fitted."""
        names = Parameters().get_params(deep=False)
        shared = {name: getattr(self, name) for name in names if name not in NOT_OF_FORECASTS}
        by_time = TimeSplit(TIME_INDEX, test_size=n_held_out)
        return FinetunedTabPFNRegressor(**shared, validation=by_time)

    def _learned_quantiles(self, X: pd.DataFrame, levels: Sequence[float]) -> list[Any]:
        """Return quantiles of what is learned."""
        return self.regressor_.predict(X, output_type="quantiles", quantiles=list(levels))

    def _horizon(self, horizon: int | None) -> int:
        asked = self.prediction_length if horizon is None else horizon
        if asked is None:
            raise ValueError("horizon=None: say how many periods are to be forecast.")
        if not is_whole(asked, 1):
            raise ValueError(f"horizon={asked!r} must be a whole number from 1 on.")
        return int(asked)

    def _read(self, df: pd.DataFrame) -> tuple[History, pd.DataFrame]:
        """Return the targets on their grid, and the rows that have one."""
        layout = Layout.of(df, self.time_column, self.id_column)
        cells = read_target(df, self.target_)
        past = self.past_covariates or ()
        check_covariates(self.covariates, past, df, layout, "df")
        if self.target_ in (*(self.covariates or ()), *past):
            raise ValueError(
                f"target={self.target_!r} is named as a covariate; what it was before is told "
                "anyway, so leave it out."
            )
        known = df.assign(**{self.target_: cells})[cells.notna().to_numpy()]
        if layout.id_column is not None:
            warn_of_empty(layout.ids(df), layout.ids(known))
        return History.of(known, known[self.target_].to_numpy(), layout, self.freq, past), known

    def _remember(self, history: History, known: pd.DataFrame) -> None:
        """Note what is forecast from: the features, and the rows that are context."""
        told = replace(history, values=self.transform_.put(history.values))
        self.features_ = self._features().fit_history(told, like=self.features_)
        self._known = known
        self._target = known[self.target_].to_numpy()

    def _context(self, end: int) -> tuple[Rows, Floats]:
        """Return the rows to learn from, by time, and what is to be learned of them.

        They look one to `horizon` steps ahead in turn; those held out, from the place `end` on, as
        they will be forecast: from the place before each horizon.
        """
        history, horizon = self.features_.history_, self.horizon_
        places = history.places(self._known)
        since = places.position - end
        in_turn = (places.position * GOLDEN % 1 * horizon).astype(np.int64)
        steps = np.where(since < 0, in_turn, since % horizon) + 1
        rows = self._rows(self._known, steps)
        keep = np.isfinite(rows.anchors)
        if self.context_length is not None:
            keep &= places.position > history.last[places.series] - self.context_length
        kept = np.flatnonzero(keep)
        kept = kept[np.lexsort((places.series[kept], places.position[kept]))]
        rows, target = rows.take(kept), self._target[kept]
        return rows, self.transform_.to_learn(target, rows.anchors, rows.places)

    def _rows(self, table: pd.DataFrame, steps: Any, filled: bool = False) -> Rows:
        """Describe rows; those without a level have NaN, or the mean of the series."""
        features = self.features_.transform(table, steps)
        places = self.features_.history_.places(table)
        anchors = self.transform_.anchors(features, places)
        if filled:
            center = self.transform_.center[places.series]
            anchors = np.where(np.isfinite(anchors), anchors, center)
        units = (self.features_.level_features_, self.features_.spread_features_)
        return Rows(self.transform_.relative(features, *units, anchors, places), anchors, places)


def _shared_parameters() -> str:
    """Return the descriptions of the parameters that the forecaster shares with the regressor."""
    blocks = re.split(r"\n(?=\w)", inspect.cleandoc(PARAMETERS))
    kept = [block for block in blocks if block.split(" : ")[0] not in NOT_OF_FORECASTS]
    return "\n".join(kept)


# Python 3.13 takes the indentation off what it compiles; older ones do not
_own = inspect.cleandoc(str(FinetunedTabPFNForecaster.__doc__))
FinetunedTabPFNForecaster.__doc__ = _own.replace("{shared}", _shared_parameters())
# its own parameters, beside those of the regressor
OWN_PARAMETERS = [
    name
    for name in FinetunedTabPFNForecaster().get_params(deep=False)
    if name not in Parameters().get_params(deep=False)
]
