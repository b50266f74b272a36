"""Hold-outs by time: what comes last, with a gap before it. A splitter of scikit-learn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from finetune_tabpfn.data._kinds import Columns
from finetune_tabpfn.data._sampling import Indices, TimeOrder
from finetune_tabpfn.utils._constraints import is_whole

BY_TIME = "time"  # `validation` of rows that are in the order of time
DEFAULT_SHARE = 0.2


@dataclass(frozen=True)
class TimeSplit:
    """Splits rows by time: training rows lie before test rows, by a gap.

    As `validation` of the estimators it also orders the splits of the training: the query rows of
    each come after its context rows. As `cv` of scikit-learn it is a backtest.

    Parameters
    ----------
    column : str or int, default=None
        That says when a row is from: dates or numbers. None: the rows are in the order of time.
    test_size : float or int, default=None
        Share, or number, of the distinct moments that a test takes. None: a fifth; as `validation`
        what the estimators usually hold out.
    gap : int, str or Timedelta, default=0
        What is left out before a test: so many distinct moments, or a span of time such as "7D"
        where the column holds dates. As long as a target looks ahead, say.
    n_splits : int, default=1
        Tests, one after the other; the last one ends with the last row.
    max_train_size : int, default=None
        Distinct moments to train on at most: a window that slides. None: one that expands.

    Notes
    -----
    Rows of a group are never on both sides: where `groups` are given, the training rows of a group
    that the test has, too, are left out.

    Examples
    --------
    >>> import numpy as np
    >>> from finetune_tabpfn.forecasting import TimeSplit
    >>> for train, test in TimeSplit(test_size=2, gap=1, n_splits=2).split(np.zeros((8, 1))):
    ...     print(train, test)
    [0 1 2] [4 5]
    [0 1 2 3 4] [6 7]
    """

    column: Any = None
    test_size: float | int | None = None
    gap: int | str | pd.Timedelta = 0
    n_splits: int = 1
    max_train_size: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("n_splits", 1), ("max_train_size", 1)):
            value = getattr(self, name)
            if value is not None and not is_whole(value, least):
                raise ValueError(f"{name}={value!r} must be a whole number from {least} on.")
        size = self.test_size
        whole = is_whole(size, 1)
        share = isinstance(size, Real) and not isinstance(size, Integral) and 0 < size < 1
        if size is not None and not (whole or share):
            raise ValueError(
                f"test_size={size!r} must be a share between 0 and 1 or a number of moments."
            )
        if isinstance(self.gap, bool):
            raise ValueError(
                f"gap={self.gap!r} must be a number of moments or a timespan such as '1D'."
            )
        if self._span < pd.Timedelta(0) if self._is_span else self.gap < 0:  # type: ignore[operator]
            raise ValueError(f"gap={self.gap!r} must not be negative.")

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return how many splits there are.

        Parameters
        ----------
        X, y, groups : object, optional
            Not looked at.

        Returns
        -------
        int
        """
        return int(self.n_splits)

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[Indices, Indices]]:
        """Yield row numbers to train on and to test on, the earliest test first.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)
        y : array-like of shape (n_rows,), optional
            Not looked at.
        groups : array-like of shape (n_rows,), optional
            Rows of a group are never on both sides.

        Yields
        ------
        train : ndarray of int
        test : ndarray of int
        """
        codes = None if groups is None else pd.factorize(np.asarray(groups).ravel())[0]
        yield from self.split_moments(self.order(X), codes)

    def order(self, X: Any) -> TimeOrder:
        """Return when rows are from.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)

        Returns
        -------
        TimeOrder

        Raises
        ------
        ValueError
            For a column that is not there, holds neither dates nor numbers, or has gaps; a `gap`
            in another unit than the column's.
        """
        if self.column is None:
            if self._is_span:
                raise ValueError(
                    f"gap={self.gap!r} is a span of time; name the column of dates, or give a "
                    "number of rows."
                )
            return TimeOrder(np.arange(len(X), dtype=np.float64), float(self.gap))  # type: ignore[arg-type]
        cells = self._cells(X)
        if self._is_span:
            if cells.dtype.kind != "M" and not isinstance(cells.dtype, pd.DatetimeTZDtype):
                raise ValueError(
                    f"gap={self.gap!r} is a span of time, and column={self.column!r} holds "
                    "numbers; give a number of distinct moments."
                )
            since = pd.DatetimeIndex(cells) - pd.DatetimeIndex(cells).min()
            return TimeOrder(np.asarray(since.total_seconds()), self._span.total_seconds())
        _, moments = np.unique(cells.to_numpy(), return_inverse=True)
        return TimeOrder(moments.ravel().astype(np.float64), float(self.gap))  # type: ignore[arg-type]

    def split_moments(
        self, time: TimeOrder, groups: Indices | None, usual_share: float = DEFAULT_SHARE
    ) -> Iterator[tuple[Indices, Indices]]:
        """Yield row numbers to train on and to test on.

        Parameters
        ----------
        time : TimeOrder
            Of the rows, from `order`.
        groups : ndarray of int of shape (n_rows,), optional
        usual_share : float
            Of the moments to test on, where `test_size` says nothing.

        Yields
        ------
        train : ndarray of int
        test : ndarray of int

        Raises
        ------
        ValueError
            When no rows are left to train on.
        """
        moments = np.unique(time.moments)
        size = self._test_moments(len(moments), usual_share)
        for number in range(self.n_splits, 0, -1):
            first = len(moments) - number * size
            train = self._known(time, moments[max(first, 0)])
            if first < 1 or not train.any():
                raise ValueError(
                    f"{self.n_splits} test(s) of {size} moments and gap={self.gap!r} leave none of "
                    f"the {len(moments)} distinct moments to train on; ask for fewer, or less."
                )
            test = np.isin(time.moments, moments[first : first + size])
            if groups is not None:
                train &= ~np.isin(groups, groups[test])
            if not train.any():
                raise ValueError(
                    "groups: every group has rows among the last ones, which are held out, so that "
                    "none is left to train on; leave groups out to divide by time alone."
                )
            yield np.flatnonzero(train), np.flatnonzero(test)

    def _known(self, time: TimeOrder, start: float) -> npt.NDArray[np.bool_]:
        """Tell which rows may train for a test that starts at a moment."""
        known = time.before(start)
        if known.any() and self.max_train_size is not None:
            first = np.unique(time.moments[known])[-self.max_train_size :][0]
            known &= time.moments >= first
        return known

    def _test_moments(self, n_moments: int, usual_share: float) -> int:
        """Return the distinct moments of a test."""
        size = usual_share if self.test_size is None else self.test_size
        if isinstance(size, Integral):
            return int(size)
        return min(max(1, round(float(size) * n_moments)), max(1, n_moments - 1))

    @property
    def _is_span(self) -> bool:
        return not isinstance(self.gap, Real)

    @property
    def _span(self) -> pd.Timedelta:
        try:
            return pd.Timedelta(self.gap)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"gap={self.gap!r} must be a number of moments or a span of time such as '7D'."
            ) from error

    def _cells(self, X: Any) -> pd.Series:
        """Return the column of moments: dates or numbers, none missing."""
        is_frame = isinstance(X, pd.DataFrame)
        if self.column not in (X.columns if is_frame else range(np.shape(X)[1])):
            raise ValueError(f"TimeSplit: column={self.column!r} is not a column of X.")
        frame = X[[self.column]] if is_frame else pd.DataFrame(np.asarray(X)[:, [self.column]])
        columns = Columns.of(frame)
        cells: pd.Series = columns.read(frame).iloc[:, 0]  # type: ignore[union-attr]
        if columns.columns[0].kind not in ("dates", "numbers"):
            raise ValueError(
                f"TimeSplit: column={self.column!r} holds {columns.columns[0].kind}; it must hold "
                "dates or numbers."
            )
        if cells.isna().any():
            raise ValueError(
                f"TimeSplit: column={self.column!r} is missing in {int(cells.isna().sum())} rows; "
                "drop them, or fill them in."
            )
        return cells


def time_split_of(validation: Any) -> TimeSplit | None:
    """Return how `validation` divides by time, None where it does not."""
    if isinstance(validation, TimeSplit):
        return validation
    return TimeSplit() if isinstance(validation, str) and validation == BY_TIME else None
