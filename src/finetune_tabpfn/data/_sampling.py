"""Which rows go where: the hold-out, and the context and query rows of every split.

Pure functions of their arguments and a seed. They deal in row numbers only; `strata` are small
integers per row (class codes, or bins of a regression target) that a draw keeps in proportion.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold

Indices = npt.NDArray[np.int64]


def target_bins(y: npt.NDArray[np.float64], n_bins: int = 10) -> Indices:
    """Return the quantile bin of each value of a regression target.

    Parameters
    ----------
    y : ndarray of shape (n_rows,)
    n_bins : int
        At most this many bins of nearly equal size; ties share a bin.

    Returns
    -------
    ndarray of int64 of shape (n_rows,)
    """
    borders = np.quantile(y, np.linspace(0, 1, n_bins + 1)[1:-1])
    return np.searchsorted(np.unique(borders), y, side="right").astype(np.int64)


def hold_out(strata: Indices, fraction: float, rng: np.random.Generator) -> tuple[Indices, Indices]:
    """Divide the rows into training rows and hold-out rows.

    Every stratum of two and more rows has rows on both sides, whatever `fraction` says; a
    stratum of a single row trains. So no class is unknown to the training rows, and a class of
    two to four rows is scored as well.

    Parameters
    ----------
    strata : ndarray of int64 of shape (n_rows,)
    fraction : float
        Share of the rows to hold out, between 0 and 1.
    rng : numpy.random.Generator

    Returns
    -------
    train, held_out : ndarray of int64
        Row numbers in ascending order. `held_out` is empty when every stratum has one row.
    """
    held_out = np.zeros(len(strata), dtype=bool)
    for stratum, size in zip(*np.unique(strata, return_counts=True), strict=True):
        share = int(np.floor(fraction * size + rng.random()))  # unbiased rounding
        n_held_out = min(max(share, 1), size - 1)
        members = np.flatnonzero(strata == stratum)
        held_out[rng.permutation(members)[:n_held_out]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def hold_out_groups(
    strata: Indices, groups: Indices, fraction: float, rng: np.random.Generator
) -> tuple[Indices, Indices]:
    """Divide the rows so that no group is on both sides, the strata near their proportions.

    Parameters
    ----------
    strata, groups : ndarray of int64 of shape (n_rows,)
    fraction : float
        Share of the rows to hold out; met as nearly as whole groups allow.
    rng : numpy.random.Generator

    Returns
    -------
    train, held_out : ndarray of int64
        Row numbers in ascending order. `held_out` is empty when there is one group.
    """
    n_groups = len(np.unique(groups))
    if n_groups < 2:
        return np.arange(len(strata)), np.arange(0)
    groups = shuffled_groups(groups, seed=int(rng.integers(2**31)))
    folds = StratifiedGroupKFold(n_splits=min(n_groups, max(2, round(1 / fraction))))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of strata that are smaller than the number of folds
        try:
            train, held_out = next(folds.split(strata, strata, groups))
        except ValueError:  # every stratum is smaller than that: nothing to stratify by
            train, held_out = next(folds.split(strata, np.zeros_like(strata), groups))
    return train, held_out


def shuffled_groups(groups: npt.NDArray[Any], seed: int) -> Indices:
    """Return numbers for groups, by which ``StratifiedGroupKFold()`` divides as if it shuffled.

    With ``shuffle=True`` older versions of scikit-learn, such as 1.6, take the counts of the strata
    from one group and the rows from another, so that nothing is stratified. This is what newer
    ones do.
    """
    names, numbers = np.unique(groups, return_inverse=True)
    order = np.arange(len(names))
    np.random.RandomState(seed).shuffle(order)
    return np.argsort(order)[numbers]


@dataclass(frozen=True)
class TimeOrder:
    """When rows are from, and how far what is predicted lies from what it is predicted from.

    Attributes
    ----------
    moments : ndarray of float64 of shape (n_rows,)
        In any unit.
    gap : float
        In the same unit: rows so close before the ones to predict are left out.
    """

    moments: npt.NDArray[np.float64]
    gap: float = 0.0

    def take(self, rows: Indices) -> TimeOrder:
        """Return the order of some of the rows."""
        return TimeOrder(self.moments[rows], self.gap)

    def before(self, moment: float) -> npt.NDArray[np.bool_]:
        """Tell which rows may be known when a moment is predicted."""
        return self.moments < moment - self.gap

    @cached_property
    def starts(self) -> npt.NDArray[np.float64]:
        """Moments at which a split may be cut, as far as they leave rows on both sides.

        A quarter of the rows lies before, and a tenth behind, where gap and ties allow.
        """
        ordered = np.sort(self.moments)
        starts = np.unique(ordered)
        n_before = np.searchsorted(ordered, starts - self.gap)
        n_behind = len(ordered) - np.searchsorted(ordered, starts)
        good = (n_before >= len(ordered) / 4) & (n_behind >= len(ordered) / 10)
        return starts[good] if good.any() else starts[n_before > 0]


@dataclass(frozen=True)
class Split:
    """One draw of context rows and query rows.

    Attributes
    ----------
    context : ndarray of int64 of shape (n_context,)
    query : ndarray of int64 of shape (n_query,)
        Disjoint from `context`.
    seed : int
        Seeds the permutation of features and labels that goes with the split.
    """

    context: Indices
    query: Indices
    seed: int


@dataclass(frozen=True)
class SplitSampler:
    """Draws splits. The n-th split of a step is a function of the seed, the step and n alone.

    So a resumed run draws what the uninterrupted one would have drawn, without a position to
    remember.

    Parameters
    ----------
    n_rows : int
        Training rows.
    context_size, query_size : int
        Rows of a split; together at most `n_rows`.
    seed : int
    classes : ndarray of int64 of shape (n_rows,), optional
        Class codes. One row of each class is then put into the context, as far as half of
        the context allows: a class without context rows cannot be predicted.
    balanced : bool
        Fill the context with all classes alike, as far as half of a class's rows allow.
    groups : ndarray of int64 of shape (n_rows,), optional
        Group codes. No group is then both in context and query, and either may be smaller than
        asked for.
    time : TimeOrder, optional
        Query rows then come after all context rows, by the gap at least: the ones that follow a
        moment drawn at random. Either may be smaller than asked for.
    """

    n_rows: int
    context_size: int
    query_size: int
    seed: int
    classes: Indices | None = None
    balanced: bool = False
    groups: Indices | None = None
    time: TimeOrder | None = None

    def draw(self, step: int, n: int) -> Split:
        """Return the n-th split of a step."""
        rng = np.random.default_rng((self.seed, step, n))
        order = rng.permutation(self.n_rows)
        query = None
        if self.time is not None and len(self.time.starts):
            order, query = in_time(order, self.time, self.groups, self.query_size, rng)
        elif self.groups is not None:
            order, query = apart(order, self.groups, self.query_size, rng)
        if self.classes is not None:
            order = one_of_each_first(order, self.classes, limit=self.context_size // 2)
            if self.balanced:
                order = all_classes_alike(order, self.classes)
        if query is None:
            query = order[self.context_size : self.context_size + self.query_size]
        context = order[: self.context_size]
        return Split(context, query, seed=int(rng.integers(2**31)))


def in_time(
    order: Indices,
    time: TimeOrder,
    groups: Indices | None,
    query_size: int,
    rng: np.random.Generator,
) -> tuple[Indices, Indices]:
    """Take the rows that follow a moment for the query rows; returns the rows before it, and them.

    Of a group with rows on both sides, the earlier ones are left out, unless none would be left.
    """
    start = rng.choice(time.starts)
    known = order[time.before(start)[order]]
    later = order[time.moments[order] >= start]
    query = later[np.argsort(time.moments[later], kind="stable")][:query_size]
    if groups is not None:
        others = known[~np.isin(groups[known], groups[query])]
        known = others if len(others) else known
    return known, query


def apart(
    order: Indices, groups: Indices, query_size: int, rng: np.random.Generator
) -> tuple[Indices, Indices]:
    """Take whole groups for the query rows; returns the rows of the other groups, and the query.

    As many groups as the query rows need, but never all of them.
    """
    n_groups = int(groups.max()) + 1
    place = rng.permutation(n_groups)[groups]
    needed = int(np.searchsorted(np.bincount(place, minlength=n_groups).cumsum(), query_size)) + 1
    asked = place[order] < min(needed, n_groups - 1)
    return order[~asked], order[asked][:query_size]


def all_classes_alike(order: Indices, classes: Indices) -> Indices:
    """Reorder rows so that classes take turns, until half of a class's rows have been used."""
    codes = classes[order]
    by_class = np.argsort(codes, kind="stable")
    _, first, sizes = np.unique(codes[by_class], return_index=True, return_counts=True)
    turn = np.empty(len(order), dtype=np.int64)
    turn[by_class] = np.arange(len(order)) - np.repeat(first, sizes)
    half = np.empty_like(turn)
    half[by_class] = np.repeat((sizes + 1) // 2, sizes)
    return order[np.argsort(np.where(turn < half, turn, turn + len(order)), kind="stable")]


def one_of_each_first(order: Indices, classes: Indices, limit: int) -> Indices:
    """Move the first row of each class to the front of `order`, for at most `limit` classes."""
    _, first = np.unique(classes[order], return_index=True)
    first = np.sort(first)[: max(limit, 0)]
    return np.concatenate([order[first], np.delete(order, first)])


def batches(n_rows: int, size: int) -> Iterator[slice]:
    """Yield consecutive slices of at most `size` rows."""
    if size < 1:
        raise ValueError(f"batch_size={size!r} must be 1 or more.")
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))


def take_rows(table: Any, rows: Indices | slice) -> Any:
    """Return the given rows of a DataFrame or an array."""
    return table.iloc[rows] if hasattr(table, "iloc") else table[rows]
