"""What makes a target out of columns, classes out of scores, and gaps in a column."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

N_PAIRS = 4
N_TREES = 3
TREE_DEPTH = 3
# of the log-odds of being missing, per standard deviation of what decides it
MISSING_SLOPE = 2.0


def random_signal(inputs: Array, rng: np.random.Generator) -> Array:
    """Return a random function of the columns with mean 0 and variance 1.

    The sum of a linear part, sines of each column, products of pairs of columns and small
    oblivious trees (the same question to all nodes of a level), each scaled to its share of the
    variance.

    Parameters
    ----------
    inputs : ndarray of shape (n_rows, n_columns)
        Standardised columns.
    rng : numpy.random.Generator
        The same seed and number of columns give the same function, whatever the rows are.

    Returns
    -------
    ndarray of shape (n_rows,)
        Zeros where there is nothing that varies.
    """
    total = np.zeros(len(inputs))
    for part, share in PARTS if inputs.shape[1] else ():
        total += np.sqrt(share) * standardised(part(inputs, rng))
    return standardised(total)


def standardised(values: Array) -> Array:
    """Return values with mean 0 and variance 1 along the rows; constants become zeros."""
    centred = values - values.mean(axis=0)
    scale = centred.std(axis=0)
    return centred / np.where(scale > 1e-12, scale, 1.0)


def class_counts(shares: Sequence[float] | Array, n_rows: int) -> Codes:
    """Return how many rows each class gets.

    Largest remainders; every class gets two rows at least where there are two rows per class.
    """
    wanted = np.asarray(shares, dtype=np.float64) / np.sum(shares) * n_rows
    least = min(2, n_rows // len(wanted))
    counts = np.maximum(np.floor(wanted).astype(np.int64), least)
    while counts.sum() < n_rows:
        counts[np.argmax(wanted - counts)] += 1
    while counts.sum() > n_rows:
        counts[np.argmin(np.where(counts > least, wanted - counts, np.inf))] -= 1
    return counts


def cut_into_classes(score: Array, counts: Codes) -> Codes:
    """Give the rows in the order of their score to the classes, from the first to the last."""
    codes = np.empty(len(score), dtype=np.int64)
    codes[np.argsort(score, kind="stable")] = np.repeat(np.arange(len(counts)), counts)
    return codes


def assign_classes(score: Callable[[int], Array], counts: Codes) -> Codes:
    """Let the classes from the last to the second take the rows that score highest for them.

    Nested dichotomies: each class chooses among the rows that are left, the first keeps the rest.

    Parameters
    ----------
    score : callable
        From a class code to an ndarray of shape (n_rows,).
    counts : ndarray of int64 of shape (n_classes,)
        Rows of each class.

    Returns
    -------
    ndarray of int64 of shape (n_rows,)
        Class codes.
    """
    codes = np.zeros(counts.sum(), dtype=np.int64)
    for code in range(len(counts) - 1, 0, -1):
        free = np.where(codes == 0, score(code), -np.inf)
        codes[np.argsort(free, kind="stable")[len(codes) - counts[code] :]] = code
    return codes


def gaps(
    share: float, n_rows: int, rng: np.random.Generator, cause: Array | None = None
) -> npt.NDArray[np.bool_]:
    """Return which rows of a column are missing: `share` of them, rounded to rows.

    Parameters
    ----------
    share : float
    n_rows : int
    rng : numpy.random.Generator
    cause : ndarray of shape (n_rows,), default=None
        Rows with a high value here are missing more often. None: completely at random.
    """
    # the largest of log-weight plus Gumbel noise are a draw without replacement by weight
    keys = rng.gumbel(size=n_rows)
    if cause is not None:
        keys += MISSING_SLOPE * standardised(cause)
    missing = np.zeros(n_rows, dtype=bool)
    missing[np.argsort(keys)[n_rows - round(share * n_rows) :]] = True
    return missing


def _linear(inputs: Array, rng: np.random.Generator) -> Array:
    """Return a weighted sum of all columns; no weight is near zero."""
    size = inputs.shape[1]
    return inputs @ (rng.choice([-1.0, 1.0], size) * rng.uniform(0.5, 1.5, size))


def _smooth(inputs: Array, rng: np.random.Generator) -> Array:
    """Return a weighted sum of sines of the columns."""
    size = inputs.shape[1]
    phases = rng.uniform(0, 2 * np.pi, size)
    return np.sin(rng.uniform(1.0, 2.0, size) * inputs + phases) @ rng.uniform(0.5, 1.5, size)


def _interactions(inputs: Array, rng: np.random.Generator) -> Array:
    """Return a sum of products of two columns; the square where there is one column."""
    left = rng.permutation(inputs.shape[1])
    right = np.roll(left, 1)
    n_pairs = min(max(1, len(left) // 2), N_PAIRS)
    return (inputs[:, left[:n_pairs]] * inputs[:, right[:n_pairs]]).sum(axis=1)


def _trees(inputs: Array, rng: np.random.Generator) -> Array:
    """Return a sum of oblivious trees with random leaves."""
    total = np.zeros(len(inputs))
    for _ in range(N_TREES):
        columns = rng.integers(inputs.shape[1], size=TREE_DEPTH)
        above = inputs[:, columns] > rng.normal(scale=0.5, size=TREE_DEPTH)
        leaves = rng.normal(size=2**TREE_DEPTH)
        total += leaves[above @ 2 ** np.arange(TREE_DEPTH)]
    return total


# with their shares of the signal's variance
PARTS = ((_linear, 0.4), (_smooth, 0.2), (_interactions, 0.2), (_trees, 0.2))
