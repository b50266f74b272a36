"""Metrics of predictions, and how well probabilities and quantiles are calibrated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    matthews_corrcoef,
    mean_absolute_error,
    median_absolute_error,
    r2_score,
    root_mean_squared_error,
)

from finetune_tabpfn._scoring import roc_auc
from finetune_tabpfn.utils._text import unknown_name

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
N_BINS = 10
# by task the metric that decides where nobody says another: its loss of a row is what is trained
PRIMARY = {"classification": "log_loss", "regression": "rmse", "forecasting": "mase"}
LOSSES = (
    "log_loss", "brier", "calibration_error", "rmse", "mae", "median_absolute_error", "crps",
    "mase", "smape", "wql",
)  # fmt: skip
SCORES = (
    "accuracy", "top_2_accuracy", "top_3_accuracy", "balanced_accuracy", "f1_macro", "mcc",
    "roc_auc", "r2", "directional_accuracy",
)  # fmt: skip


def sign_of(metric: str) -> int:
    """Return 1 for a metric of which more is better, -1 for a loss.

    Raises
    ------
    ValueError
        For one that is neither: of `coverage_80`, say, .8 is best.
    """
    if metric not in (*LOSSES, *SCORES):
        raise ValueError(unknown_name("metric is", metric, [*LOSSES, *SCORES]))
    return -1 if metric in LOSSES else 1


def class_metrics(codes: Codes, proba: Floats) -> dict[str, float]:
    """Return the metrics of class probabilities.

    Parameters
    ----------
    codes : ndarray of shape (n_rows,)
        The true class as its place among the columns of `proba`; -1 for a label that the model
        does not know, which counts as an error and has no part in the metrics of probabilities.
    proba : ndarray of shape (n_rows, n_classes)

    Returns
    -------
    dict of str to float
        accuracy, with three and more classes top_2_accuracy and top_3_accuracy (where that is
        fewer than all), balanced_accuracy, f1_macro, mcc, roc_auc (one class against the rest,
        the mean over the classes that are there; NaN with one of them), log_loss, brier (summed
        over the classes) and calibration_error.
    """
    n_classes = proba.shape[1]
    named = proba.argmax(axis=1)
    known = codes >= 0
    found: dict[str, float] = {"accuracy": float(accuracy_score(codes, named))}
    rank = rank_of_truth(codes, proba)
    for k in range(2, min(3, n_classes - 1) + 1):
        found[f"top_{k}_accuracy"] = float(np.mean(rank < k))
    recall_of = np.unique(codes)
    found["balanced_accuracy"] = (
        float(np.mean([np.mean(named[codes == c] == c) for c in recall_of]))
        if not known.all()
        else float(balanced_accuracy_score(codes, named))
    )
    found["f1_macro"] = float(f1_score(codes, named, average="macro", labels=recall_of))
    found["mcc"] = float(matthews_corrcoef(codes, named))
    if not known.any():
        lacking = ("roc_auc", "log_loss", "brier", "calibration_error")
        return {**found, **dict.fromkeys(lacking, math.nan)}
    codes, proba = codes[known], proba[known]
    one_hot = np.eye(n_classes)[codes]
    found["roc_auc"] = roc_auc(codes, proba)
    found["log_loss"] = float(log_loss(codes, proba, labels=range(n_classes)))
    found["brier"] = float(((proba - one_hot) ** 2).sum(axis=1).mean())
    found["calibration_error"] = reliability(*confidences(codes, proba)).error
    return found


def quantity_metrics(y: Floats, predicted: Floats, deciles: Floats | None) -> dict[str, float]:
    """Return the metrics of predicted quantities.

    Parameters
    ----------
    y, predicted : ndarray of shape (n_rows,)
    deciles : ndarray of shape (n_rows, 9), optional
        Predicted quantiles .1 to .9.

    Returns
    -------
    dict of str to float
        rmse, mae, median_absolute_error, r2 (NaN for a single row); with deciles also crps
        (the mean over the deciles) and coverage_80, the share of rows between the outer two.
    """
    found = {
        "rmse": float(root_mean_squared_error(y, predicted)),
        "mae": float(mean_absolute_error(y, predicted)),
        "median_absolute_error": float(median_absolute_error(y, predicted)),
        "r2": float(r2_score(y, predicted)) if len(y) > 1 else math.nan,
    }
    if deciles is not None:
        above = y[:, None] - deciles
        levels = np.arange(1, 10) / 10
        found["crps"] = float(2 * np.maximum(levels * above, (levels - 1) * above).mean())
        found["coverage_80"] = float(np.mean((y >= deciles[:, 0]) & (y <= deciles[:, -1])))
    return found


def rank_of_truth(codes: Codes, proba: Floats) -> Codes:
    """Return at which place the true class stands among the predictions; 0 is the first."""
    order = np.argsort(-proba, axis=1, kind="stable")
    places = np.argsort(order, axis=1)
    rank = places[np.arange(len(codes)), np.maximum(codes, 0)]
    return np.where(codes >= 0, rank, proba.shape[1])


@dataclass(frozen=True)
class Reliability:
    """Said and seen frequencies, in bins of equal width.

    Attributes
    ----------
    said, seen : ndarray of shape (n_bins,)
        Mean probability and share of hits; NaN in a bin without rows.
    count : ndarray of int of shape (n_bins,)
    """

    said: Floats
    seen: Floats
    count: Codes

    @property
    def error(self) -> float:
        """The expected calibration error: the mean of |said - seen| over the rows."""
        return float(np.nansum(np.abs(self.said - self.seen) * self.count) / self.count.sum())


def reliability(probability: Floats, hit: npt.NDArray[np.bool_]) -> Reliability:
    """Compare probabilities with how often what they are of came true."""
    bins = np.minimum((probability * N_BINS).astype(int), N_BINS - 1)
    count = np.bincount(bins, minlength=N_BINS)
    with np.errstate(invalid="ignore"):
        said = np.bincount(bins, probability, N_BINS) / count
        seen = np.bincount(bins, hit.astype(float), N_BINS) / count
    return Reliability(said, seen, count)


def confidences(codes: Codes, proba: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return what to compare: of two classes the second's probability, else the first choice's."""
    if proba.shape[1] == 2:
        return proba[:, 1], codes == 1
    return proba.max(axis=1), proba.argmax(axis=1) == codes


def confusion(codes: Codes, named: Codes, n_classes: int) -> Codes:
    """Return rows by true and predicted class, shape (n_classes, n_classes)."""
    known = codes >= 0
    pairs = codes[known] * n_classes + named[known]
    return np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)


def ranked(proba: Floats, labels: list[Any], top: int) -> list[list[dict[str, Any]]]:
    """Return the most probable labels of each row with their probabilities, best first."""
    order = np.argsort(-proba, axis=1, kind="stable")[:, :top]
    return [
        [{"label": labels[k], "probability": round(float(row[k]), 6)} for k in places]
        for row, places in zip(proba, order, strict=True)
    ]
