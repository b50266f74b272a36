"""Gaussian copula: every ordered column is a normal variable, seen through its ranks."""

from __future__ import annotations

import numpy as np
from scipy import stats

from finetune_tabpfn.synthetic._mechanisms import Array

MAX_CORRELATION = 0.98
GRID = np.linspace(0, 1, 512)[1:-1]


def normal_scores(codes: Array) -> tuple[Array, float]:
    """Return what a column's values say about the normal variable behind them.

    Parameters
    ----------
    codes : ndarray of shape (n_rows,)
        Numbers whose order counts; NaN is missing.

    Returns
    -------
    scores : ndarray of shape (n_rows,)
        Expectation of the normal variable given the value, scaled to variance 1. NaN where the
        code is missing, 0 where nothing varies.
    fidelity : float
        Correlation of the scores with the normal variable: 1 without ties, 0.8 for a fair coin.
    """
    scores = np.full(len(codes), np.nan)
    known = ~np.isnan(codes)
    if not known.any():
        return scores, 0.0
    _, inverse, counts = np.unique(codes[known], return_inverse=True, return_counts=True)
    shares = counts / counts.sum()
    edges = stats.norm.ppf(np.concatenate([[0.0], np.cumsum(shares)[:-1], [1.0]]))
    means = -np.diff(stats.norm.pdf(edges)) / shares
    fidelity = float(np.sqrt(shares @ means**2))
    scores[known] = means[inverse] / fidelity if len(counts) > 1 else 0.0
    return scores, fidelity


def untied_correlation(
    observed: float, left: tuple[Array, float], right: tuple[Array, float]
) -> float:
    """Return the correlation of two normal variables whose scores are correlated by `observed`.

    Ties hide a part of it. The curve between the two is taken as a sum of a line and an arcsine,
    with the slope at 0 that both fidelities give and the end where the variables agree; that is
    exact without ties, for one column of two values, and for two that are halved.

    Parameters
    ----------
    observed : float
    left, right : (quantiles, fidelity)
        `score_quantiles` of each column, and what `normal_scores` says.
    """
    (first, first_fidelity), (second, second_fidelity) = left, right
    slope = first_fidelity * second_fidelity
    end = float(np.mean(first * (second if observed > 0 else -second[::-1])))
    arcsine = max(0.0, (end - slope) / (1 - 2 / np.pi))
    curve = (slope - arcsine * 2 / np.pi) * GRID + arcsine * 2 / np.pi * np.arcsin(GRID)
    latent = np.interp(abs(observed), curve, GRID)
    return float(np.sign(observed) * min(latent, MAX_CORRELATION))


def score_quantiles(scores: Array) -> Array:
    """Return the quantiles of a column's scores at `GRID`."""
    known = scores[~np.isnan(scores)]
    return np.quantile(known, GRID) if len(known) else np.zeros_like(GRID)


def nearest_correlation(matrix: Array) -> Array:
    """Return a valid correlation matrix: negative eigenvalues are set to zero."""
    eigenvalues, vectors = np.linalg.eigh(matrix)
    if eigenvalues[0] >= 0:
        return matrix
    matrix = (vectors * np.maximum(eigenvalues, 0)) @ vectors.T
    scale = np.sqrt(np.diag(matrix))
    return matrix / np.outer(scale, scale)


def draw(correlation: Array, n_rows: int, rng: np.random.Generator) -> Array:
    """Return uniform variables, a column each, that a Gaussian copula links.

    Parameters
    ----------
    correlation : ndarray of shape (n_columns, n_columns)
        Of the normal variables; made valid if it is not.
    n_rows : int
    rng : numpy.random.Generator
    """
    eigenvalues, vectors = np.linalg.eigh(nearest_correlation(correlation))
    factors = vectors * np.sqrt(np.maximum(eigenvalues, 0))
    return stats.norm.cdf(rng.normal(size=(n_rows, len(correlation))) @ factors.T)
