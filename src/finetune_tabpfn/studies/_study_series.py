"""The time series of a study: which periods train, validate and test, and what forecasts score."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from finetune_tabpfn.data._io import read_table
from finetune_tabpfn.data._sampling import Indices, TimeOrder
from finetune_tabpfn.data._time_split import TimeSplit
from finetune_tabpfn.forecasting._backtest import forecast_later
from finetune_tabpfn.forecasting._hold_out import with_later
from finetune_tabpfn.forecasting._names import SETTINGS_OF_FORECASTS, new_forecaster, own_names
from finetune_tabpfn.forecasting._rows import History, Layout, read_target
from finetune_tabpfn.forecasting._seasons import find_seasons

SHARE = 0.2  # of the periods that validate where nothing else is said
TRAIN_SHARE, TRAIN_WINDOWS = 3, 10  # the last third of the training periods is forecast, at most
WHEN = ("time_column", "id_column", "freq")
NOT_VARIED = (*WHEN, "prediction_length")  # experiments that do not forecast the same are no match
Scores = dict[str, dict[str, float]]


@dataclass(frozen=True)
class SeriesTables:
    """Series that experiments are fitted to, and forecast.

    Attributes
    ----------
    label, target : str
    train : DataFrame
        Rows with a target; with `folds`, those to validate on too.
    validation, test : DataFrame or None
        Each after all rows before it.
    folds : list of (train, validation)
        Row numbers of `train`, for each fold.
    history : History
        Of all of them.
    season : int
        Of the scale of MASE, found in the training part.
    key : str
        Hash of all rows and of their division.
    """

    label: str
    target: str
    train: pd.DataFrame
    validation: pd.DataFrame | None
    folds: list[tuple[Indices, Indices]]
    test: pd.DataFrame | None
    history: History
    season: int
    key: str
    task: str = "forecasting"

    @property
    def n_folds(self) -> int:
        """How often an experiment is fitted."""
        return max(1, len(self.folds))

    @property
    def known(self) -> pd.DataFrame:
        """All rows before the test."""
        parts = [self.train, *([] if self.validation is None else [self.validation])]
        return pd.concat(parts, ignore_index=self.history.layout.time_column is not None)

    def fold(self, number: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the rows to train on and to validate on of a fold."""
        if self.validation is not None:
            return self.train, self.validation
        train, held_out = self.folds[number]
        return self.train.iloc[train], self.train.iloc[held_out]

    def described(self) -> dict[str, Any]:
        """Return what the record of an experiment says of it."""
        train, validation = self.fold(0)
        return {
            "label": self.label,
            "fingerprint": self.key,
            "rows": {
                "train": len(train),
                "validation": len(validation),
                "test": 0 if self.test is None else len(self.test),
            },
            "columns": self.train.shape[1] - 1,
            "folds": self.n_folds,
            "series": len(self.history.series),
            "frequency": self.history.grid.frequency.freqstr,
        }

    names = (*SETTINGS_OF_FORECASTS,)

    def own_names(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return settings by the names that they have here."""
        return own_names(settings)

    def new_estimator(self, settings: Mapping[str, Any]) -> Any:
        """Return a forecaster with settings, not fitted."""
        if settings.get("prediction_length") is None:
            raise ValueError(
                "prediction_length=None: give it among parameters, the periods to forecast."
            )
        return new_forecaster(settings)

    def fit(self, estimator: Any, number: int) -> Any:
        """Fit a forecaster to a fold."""
        train, validation = self.fold(number)
        return estimator.fit(train, self.target, df_val=validation)

    def scores(self, estimator: Any, number: int) -> Scores:
        """Return the metrics of a fitted forecaster, of each part.

        Every part is forecast one horizon after the other, each from all rows before it, with the
        weights as they are. The training part is the end of it, whose targets the weights were
        tuned on.
        """
        train, validation = self.fold(number)
        n_train, n_known = self._periods(train), self._periods(train, validation)
        n_last = min(n_known - n_train, max(n_train // TRAIN_SHARE, 1))
        n_last = min(n_last, TRAIN_WINDOWS * estimator.horizon_)
        both = pd.concat([train, validation])
        scored = {
            "train": self._forecast(estimator, train, n_last),
            "validation": self._forecast(estimator, both, n_known - n_train),
        }
        if self.test is not None:
            known = self.known
            whole = pd.concat([known, self.test])
            n_test = self._periods(whole) - self._periods(known)
            scored["test"] = self._forecast(estimator, whole, n_test)
        return scored

    def _forecast(self, estimator: Any, rows: pd.DataFrame, n_periods: int) -> dict[str, float]:
        if self.history.layout.time_column is not None:
            rows = rows.reset_index(drop=True)
        found = forecast_later(estimator, rows, self.target, n_periods, season=self.season)
        return found.metrics

    def _periods(self, *parts: pd.DataFrame) -> int:
        """Return how many periods lie between the first row of all and the last of some."""
        return 1 + max(int(self.history.places(rows).position.max()) for rows in parts)


def series_tables(
    train: Any,
    validation: Any,
    test: Any,
    *,
    target: str,
    name: str,
    parameters: Mapping[str, Any],
    missing_values: Sequence[Any] = (),
) -> SeriesTables:
    """Read and check the series of a study.

    Parameters
    ----------
    train, test : DataFrame, str or pathlib.Path
        With a DatetimeIndex or a column of dates, and the target.
    validation : DataFrame, str, pathlib.Path, splitter or None
        Rows that follow; a splitter that divides by time; None holds out the last fifth of the
        periods, in whole horizons.
    target, name : str
    parameters : mapping
        Of the experiments; `time_column`, `id_column` and `freq` say what is when.
    missing_values : sequence of str or number

    Raises
    ------
    ValueError
        One sentence that names what cannot be used.
    """
    rows, parameters = _read(train, "train", missing_values), own_names(parameters)
    where = {key: parameters.get(key) for key in WHEN}
    layout = Layout.of(rows, where["time_column"], where["id_column"])
    rows = rows[read_target(rows, target).notna().to_numpy()]
    others: dict[str, pd.DataFrame | None] = {"validation": None, "test": None}
    whole, before = rows, "train"
    for part, given in (("validation", validation), ("test", test)):
        if given is not None and (part == "test" or isinstance(given, (pd.DataFrame, str, Path))):
            later = _read(given, part, missing_values)
            joined, _ = with_later(whole, later, layout, target, (before, part))
            others[part] = joined.iloc[len(whole) :]
            whole, before = joined, part
    history = History.of(whole, read_target(whole, target).to_numpy(), layout, where["freq"])
    folds: list[tuple[Indices, Indices]] = []
    if others["validation"] is None:
        positions = history.places(rows).position.astype(np.float64)
        folds = _folds(rows, positions, validation, parameters.get("prediction_length"))
    first = rows if not folds else rows.iloc[folds[0][0]]
    until = int(history.places(first).position.max()) + 1
    seasons = find_seasons(history.values[:until], history.grid.frequency)
    return SeriesTables(
        label=Path(train).stem if isinstance(train, (str, Path)) else name,
        target=target,
        train=rows,
        validation=others["validation"],
        folds=folds,
        test=others["test"],
        history=history,
        season=(seasons or [1])[0],
        key=_key([rows, others["validation"], others["test"]], folds, target),
    )


def _read(given: Any, part: str, missing_values: Sequence[Any]) -> pd.DataFrame:
    if isinstance(given, (str, Path)):
        return read_table(given, missing_values=missing_values)
    if not isinstance(given, pd.DataFrame):
        raise ValueError(
            f"{part}={short(given)} must be a DataFrame with a DatetimeIndex or a column of dates, "
            "or the path of a table."
        )
    return given


def _folds(
    rows: pd.DataFrame, positions: Any, splitter: Any, horizon: Any
) -> list[tuple[Indices, Indices]]:
    """Return the row numbers of every fold, each validated on rows after those that train."""
    n_moments = len(np.unique(positions))
    if splitter is None:
        size = max(1, round(SHARE * n_moments))
        if isinstance(horizon, int) and horizon > 0:
            size = max(1, round(size / horizon)) * horizon
        splitter = TimeSplit(test_size=size)
    if isinstance(splitter, TimeSplit) and splitter.column is None:
        order = TimeOrder(positions, float(splitter.order(rows).gap))
        return [*splitter.split_moments(order, None, SHARE)]
    if not hasattr(splitter, "split"):
        raise ValueError(
            f"validation={short(splitter)} must be a table of later rows, its path, a splitter by "
            "time, or None, which holds out the last fifth of the periods."
        )
    try:
        found = [(np.asarray(one), np.asarray(rest)) for one, rest in splitter.split(rows)]
    except (ValueError, TypeError) as error:
        raise ValueError(f"validation={splitter!r} cannot split the rows: {error}") from error
    for one, rest in found:
        if not len(one) or not len(rest):
            raise ValueError(f"validation={splitter!r} leaves one side of a split empty.")
        if positions[one].max() >= positions[rest].min():
            raise ValueError(
                f"validation={splitter!r} trains on rows that lie after rows to validate on; "
                "finetune_tabpfn.forecasting.TimeSplit divides by time."
            )
    return found


def _key(
    parts: Sequence[pd.DataFrame | None], folds: list[tuple[Indices, Indices]], target: str
) -> str:
    digest = hashlib.sha256(f"forecasting {target}".encode())
    for rows in parts:
        if rows is None:
            digest.update(b"none")
            continue
        digest.update(repr([(str(name), str(rows[name].dtype)) for name in rows]).encode())
        digest.update(pd.util.hash_pandas_object(rows, index=True).to_numpy().tobytes())
    for pair in folds:
        for numbers in pair:
            digest.update(np.asarray(numbers, dtype=np.int64).tobytes() + b"|")
    return digest.hexdigest()[:32]


def short(value: Any) -> str:
    """Return a value in few letters, for messages."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
