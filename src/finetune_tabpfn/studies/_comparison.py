"""What one model scores above another on the same rows, and how sure that is."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import DegenerateDataWarning, bootstrap

from finetune_tabpfn.studies._metrics import Codes, Floats

Scores = dict[str, Floats]  # by name, each of shape (n_resamples,)
SMALLEST = float(np.finfo(np.float32).eps)  # a probability of zero would cost infinitely much
CELLS_AT_ONCE = 1_000_000  # resamples times rows: bounds memory

# from a score to an error that is zero at best, by the names that scikit-learn gives its scorers
ERRORS: Mapping[str, Callable[[Floats], Floats]] = {
    "neg_log_loss": lambda score: -score,
    "neg_brier_score": lambda score: -score,
    "roc_auc": lambda score: 1 - score,
    "accuracy": lambda score: 1 - score,
    "neg_root_mean_squared_error": lambda score: -score,
    "neg_mean_absolute_error": lambda score: -score,
    "r2": lambda score: 1 - score,
}
CLASS_METRICS = ("neg_log_loss", "neg_brier_score", "roc_auc", "accuracy")


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
    n_rows = len(truth)
    kind = ClassScores if baseline.ndim == 2 else QuantityScores
    of_baseline, of_candidate = kind(truth, baseline), kind(truth, candidate)

    def deltas(rows: Codes, axis: int = -1) -> Floats:
        """Return each metric's delta, and the combined one, shape (n_metrics + 1, n_resamples)."""
        counts = counts_of(rows, n_rows)
        before, after = of_baseline(counts), of_candidate(counts)
        return np.stack([*(after[name] - before[name] for name in before), combined(before, after)])

    resampled = _resample(deltas, n_rows, n_resamples, random_state)
    once = np.ones((1, n_rows), dtype=np.int64)
    before, after = of_baseline(once), of_candidate(once)
    whole = float(combined(before, after)[0])
    return Comparison(
        metrics={
            name: Delta(
                float(before[name][0]),
                float(after[name][0]),
                float(after[name][0] - before[name][0]),
                _interval(values),
            )
            for name, values in zip(before, resampled, strict=False)
        },
        combined=whole,
        interval=_interval(resampled[-1]),
        confidence=float(np.mean(np.sign(resampled[-1]) == np.sign(whole))),
    )


def _resample(
    statistic: Callable[[Codes], Floats], n_rows: int, n_resamples: int, random_state: int
) -> Floats:
    """Return a statistic of resampled numbers of rows, which pair all that is known of a row."""
    if n_rows == 1:  # which scipy does not resample
        return statistic(np.zeros((1, 1), dtype=np.int64))
    with warnings.catch_warnings():
        # of a metric that cannot be had on some resamples: they do not count here
        warnings.simplefilter("ignore", DegenerateDataWarning)
        return bootstrap(
            (np.arange(n_rows),),
            statistic,
            n_resamples=n_resamples,
            batch=max(1, CELLS_AT_ONCE // n_rows),
            vectorized=True,
            method="percentile",
            random_state=np.random.default_rng(random_state),
        ).bootstrap_distribution


def counts_of(rows: Codes, n_rows: int) -> Codes:
    """Return how often each resample of row numbers holds each row, (n_resamples, n_rows)."""
    rows = np.atleast_2d(rows)
    places = rows + n_rows * np.arange(len(rows))[:, None]
    return np.bincount(places.ravel(), minlength=n_rows * len(rows)).reshape(len(rows), n_rows)


def combined(baseline: Scores, candidate: Scores) -> Floats:
    """Return the mean share of the error that the candidate takes away, for each resample."""
    shares = []
    for name, error in ERRORS.items():
        if name in baseline:
            before, after = error(baseline[name]), error(candidate[name])
            largest = np.maximum(before, after)
            positive = np.where(largest > 0, largest, 1.0)
            share = np.where(largest > 0, (before - after) / positive, 0.0)
            shares.append(np.where(np.isnan(largest), np.nan, share))
    return np.nanmean(shares, axis=0)  # the accuracy and the squared error always count


# A resample is known by how often it holds each row, and so every score is one product of
# matrices, or follows from ranks that are the same in all resamples. scikit-learn's metrics would
# be asked a thousand times: seconds, for what takes a tenth of one.


class ClassScores:
    """Scores probabilities on resamples of the rows.

    Parameters
    ----------
    codes : ndarray of int of shape (n_rows,)
    proba : ndarray of shape (n_rows, n_classes)
    """

    def __init__(self, codes: Codes, proba: Floats) -> None:
        of_truth = proba[np.arange(len(codes)), codes]
        squares = (proba**2).sum(axis=1) - 2 * of_truth + 1
        if proba.shape[1] == 2:
            squares = squares / 2  # scikit-learn's Brier score of two classes is of one of them
        self.rows = {
            "neg_log_loss": np.log(np.maximum(of_truth, SMALLEST)),
            "neg_brier_score": -squares,
            "accuracy": (proba.argmax(axis=1) == codes).astype(float),
        }
        classes = [1] if proba.shape[1] == 2 else range(proba.shape[1])
        self.areas = [_Area(codes == k, proba[:, k]) for k in classes]

    def __call__(self, counts: Codes) -> Scores:
        """Return the scores of resamples, given how often each holds each row.

        The area is the mean of one class against the rest, over the classes that some of the rows
        have and others have not; NaN without any.
        """
        means = {name: counts @ values / len(values) for name, values in self.rows.items()}
        areas = np.stack([of_class(counts) for of_class in self.areas])
        there = ~np.isnan(areas)
        total, number = np.where(there, areas, 0).sum(axis=0), there.sum(axis=0)
        area = np.where(number, total / np.maximum(number, 1), np.nan)
        return {name: area if name == "roc_auc" else means[name] for name in CLASS_METRICS}


class _Area:
    """The area under the curve, by Mann and Whitney's U, on resamples of the rows."""

    def __init__(self, truth: npt.NDArray[np.bool_], probability: Floats) -> None:
        order = np.argsort(probability)
        self.yes, self.no = order[truth[order]], order[~truth[order]]
        self.below = np.searchsorted(probability[self.no], probability[self.yes], side="left")
        self.up_to = np.searchsorted(probability[self.no], probability[self.yes], side="right")

    def __call__(self, counts: Codes) -> Floats:
        """Return it for each resample; NaN where a side has no rows."""
        yes, no = counts[:, self.yes], counts[:, self.no]
        sums = np.pad(no.cumsum(axis=1), ((0, 0), (1, 0)))
        wins = (yes * (sums[:, self.below] + sums[:, self.up_to])).sum(axis=1) / 2
        pairs = yes.sum(axis=1) * sums[:, -1]
        return np.where(pairs, wins / np.maximum(pairs, 1), np.nan)


class QuantityScores:
    """Scores predicted quantities on resamples of the rows.

    Parameters
    ----------
    y, predicted : ndarray of shape (n_rows,)
    """

    def __init__(self, y: Floats, predicted: Floats) -> None:
        self.errors, self.y = np.abs(y - predicted), y - y.mean()

    def __call__(self, counts: Codes) -> Scores:
        """Return the scores of resamples; R² is NaN where all their rows are alike."""
        share = counts / len(self.y)
        squared = share @ self.errors**2
        spread = share @ self.y**2
        variance = spread - (share @ self.y) ** 2
        varies = variance > 1e-12 * spread  # rounding leaves no exact zero
        return {
            "neg_root_mean_squared_error": -np.sqrt(squared),
            "neg_mean_absolute_error": -(share @ self.errors),
            "r2": np.where(varies, 1 - squared / np.where(varies, variance, 1), np.nan),
        }


def _interval(values: Floats) -> tuple[float, float]:
    if np.isnan(values).all():
        return (np.nan, np.nan)
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)
