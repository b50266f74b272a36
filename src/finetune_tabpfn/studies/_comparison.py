"""What one model scores above another on the same rows, and how sure that is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from finetune_tabpfn.studies._metrics import Codes, Floats

Scores = dict[str, float]
SMALLEST = float(np.finfo(np.float32).eps)  # a probability of zero would cost infinitely much

# from a score to an error that is zero at best, by the names that scikit-learn gives its scorers
ERRORS: Mapping[str, Callable[[float], float]] = {
    "neg_log_loss": lambda score: -score,
    "neg_brier_score": lambda score: -score,
    "roc_auc": lambda score: 1 - score,
    "accuracy": lambda score: 1 - score,
    "neg_root_mean_squared_error": lambda score: -score,
    "neg_mean_absolute_error": lambda score: -score,
    "r2": lambda score: 1 - score,
}


@dataclass(frozen=True)
class Delta:
    """A candidate's score above a baseline's; greater is better.

    Attributes
    ----------
    baseline, candidate : float
    delta : float
    interval : tuple of float
        95 %, of the resamples.
    """

    baseline: float
    candidate: float
    delta: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """Two models on the same rows.

    Attributes
    ----------
    metrics : dict of str to Delta
    combined : float
        The mean over the metrics of the share of the error that the candidate takes away:
        ``(baseline - candidate) / max(baseline, candidate)``, from -1 to 1.
    interval : tuple of float
        Its 95 % interval.
    confidence : float
        Share of the resamples on whose rows it has the sign that it has on all: 1 is certain,
        0.5 is a coin.
    """

    metrics: dict[str, Delta]
    combined: float
    interval: tuple[float, float]
    confidence: float


def compare(
    truth: npt.NDArray[Any],
    baseline: Floats,
    candidate: Floats,
    *,
    n_resamples: int = 1000,
    random_state: int = 0,
) -> Comparison:
    """Compare predictions for the same rows, by a paired bootstrap over the rows.

    Parameters
    ----------
    truth : ndarray of shape (n_rows,)
        Class codes, or quantities.
    baseline, candidate : ndarray
        Probabilities of shape (n_rows, n_classes), or predictions of shape (n_rows,).
    n_resamples : int
        Draws of n_rows rows with replacement, the same for both.
    random_state : int
    """
    score = class_scores if baseline.ndim == 2 else quantity_scores
    everywhere = score(truth, baseline), score(truth, candidate)
    rng = np.random.default_rng(random_state)
    draws: list[tuple[Scores, Scores]] = []
    for _ in range(n_resamples):
        rows = rng.integers(len(truth), size=len(truth))
        draws.append((score(truth[rows], baseline[rows]), score(truth[rows], candidate[rows])))
    combined = combined_delta(*everywhere)
    resampled = np.array([combined_delta(*draw) for draw in draws])
    return Comparison(
        metrics={
            name: Delta(
                everywhere[0][name],
                everywhere[1][name],
                everywhere[1][name] - everywhere[0][name],
                _interval(np.array([after[name] - before[name] for before, after in draws])),
            )
            for name in everywhere[0]
        },
        combined=combined,
        interval=_interval(resampled),
        confidence=float(np.mean(np.sign(resampled) == np.sign(combined))),
    )


def combined_delta(baseline: Scores, candidate: Scores) -> float:
    """Return the mean share of the error that the candidate takes away."""
    shares = []
    for name, error in ERRORS.items():
        if name not in baseline or np.isnan(baseline[name]) or np.isnan(candidate[name]):
            continue
        before, after = error(baseline[name]), error(candidate[name])
        largest = max(before, after)
        shares.append((before - after) / largest if largest > 0 else 0.0)
    return float(np.mean(shares)) if shares else 0.0


def class_scores(codes: Codes, proba: Floats) -> Scores:
    """Return the scores of probabilities: fast, because a bootstrap asks a thousand times.

    Parameters
    ----------
    codes : ndarray of int of shape (n_rows,)
    proba : ndarray of shape (n_rows, n_classes)
    """
    rows = np.arange(len(codes))
    of_truth = proba[rows, codes]
    squares = (proba**2).sum(axis=1) - 2 * of_truth + 1
    if proba.shape[1] == 2:
        squares = squares / 2  # scikit-learn's Brier score of two classes is of one of them
    return {
        "neg_log_loss": float(np.log(np.maximum(of_truth, SMALLEST)).mean()),
        "neg_brier_score": -float(squares.mean()),
        "roc_auc": _roc_auc(codes, proba),
        "accuracy": float(np.mean(proba.argmax(axis=1) == codes)),
    }


def quantity_scores(y: Floats, predicted: Floats) -> Scores:
    """Return the scores of predicted quantities, both of shape (n_rows,)."""
    squared = float(np.mean((y - predicted) ** 2))
    variance = float(np.var(y))
    return {
        "neg_root_mean_squared_error": -(squared**0.5),
        "neg_mean_absolute_error": -float(np.mean(np.abs(y - predicted))),
        "r2": 1 - squared / variance if variance > 0 else np.nan,
    }


def _roc_auc(codes: Codes, proba: Floats) -> float:
    """Return the mean over classes of the area of one against the rest (Mann and Whitney's U).

    Classes that no row has, or all rows have, do not count; NaN without any other.
    """
    n_classes = proba.shape[1]
    counts = np.bincount(codes, minlength=n_classes)
    there = np.flatnonzero((counts > 0) & (counts < len(codes)))
    if n_classes == 2:
        there = there[-1:]
    if not len(there):
        return np.nan
    ranks = rankdata(proba[:, there], axis=0)
    truth = codes[:, None] == there
    inside = counts[there]
    above = (ranks * truth).sum(axis=0) - inside * (inside + 1) / 2
    return float(np.mean(above / (inside * (len(codes) - inside))))


def _interval(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    if np.isnan(values).all():
        return (np.nan, np.nan)
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)
