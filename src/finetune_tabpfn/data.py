"""Which rows go where: the hold-out, and the context and query rows of every split.

Pure functions of their arguments and a seed. They deal in row numbers only; `strata` are small
integers per row (class codes, or bins of a regression target) that a draw keeps in proportion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]


def target_bins(y: npt.NDArray[np.float64], n_bins: int = 10) -> Rows:
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


def hold_out(strata: Rows, fraction: float, rng: np.random.Generator) -> tuple[Rows, Rows]:
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

    context: Rows
    query: Rows
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
    """

    n_rows: int
    context_size: int
    query_size: int
    seed: int
    classes: Rows | None = None

    def draw(self, step: int, n: int) -> Split:
        """Return the n-th split of a step."""
        rng = np.random.default_rng((self.seed, step, n))
        order = rng.permutation(self.n_rows)
        if self.classes is not None:
            order = one_of_each_first(order, self.classes, limit=self.context_size // 2)
        end = self.context_size + self.query_size
        return Split(
            context=order[: self.context_size],
            query=order[self.context_size : end],
            seed=int(rng.integers(2**31)),
        )


def one_of_each_first(order: Rows, classes: Rows, limit: int) -> Rows:
    """Move the first row of each class to the front of `order`, for at most `limit` classes."""
    _, first = np.unique(classes[order], return_index=True)
    first = np.sort(first)[: max(limit, 0)]
    return np.concatenate([order[first], np.delete(order, first)])


def rows_of(table: Any, rows: Rows) -> Any:
    """Return the given rows of a DataFrame or an array."""
    return table.iloc[rows] if hasattr(table, "iloc") else table[rows]
