"""The score of predictions on the hold-out: any scikit-learn scorer, greater is better."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn import metrics
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import (
    accuracy_score,
    get_scorer,
    get_scorer_names,
    log_loss,
    make_scorer,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)

from finetune_tabpfn._tasks import Classification, Task
from finetune_tabpfn.data._sampling import Indices, take_rows
from finetune_tabpfn.training._loop import NoScoreError
from finetune_tabpfn.utils._text import nearest

Scoring = str | Callable[[Any, Any, Any], float] | None
Predictions = npt.NDArray[Any]
RESAMPLES = 30


class HoldOutScore:
    """Scores the predictions made for one hold-out.

    Parameters
    ----------
    task : Task
    scoring : str, callable or None
        A name or a scorer ``scorer(estimator, X, y)`` as scikit-learn takes them; None is the
        task's default.
    X : DataFrame or ndarray of shape (n_held_out, n_features)
    y : ndarray of shape (n_held_out,)
    weight : ndarray of shape (n_held_out,), optional
        Handed to the scorer as ``sample_weight``.

    Raises
    ------
    ValueError
        For a name that scikit-learn does not know.

    Notes
    -----
    A hold-out may lack a class (one that has a single row). The log-loss is told all classes;
    every other scorer sees the probabilities of the classes that the hold-out holds, scaled to
    add up to one.
    """

    def __init__(
        self,
        task: Task,
        scoring: Scoring,
        X: Any,
        y: npt.NDArray[Any],
        weight: npt.NDArray[np.float64] | None = None,
    ) -> None:
        self.task, self.X, self.y = task, X, y
        self.weight = {} if weight is None else {"sample_weight": weight}
        self.scoring = scoring if scoring is not None else task.default_scoring
        self.name = name_of(task, scoring)
        self.scorer = self._scorer()

    def __call__(self, predictions: Predictions) -> float:
        """Return the score.

        Parameters
        ----------
        predictions : ndarray
            Probabilities of shape (n_held_out, n_classes), or predicted means of shape
            (n_held_out,).

        Raises
        ------
        FloatingPointError
            When predictions or score are not finite.
        NoScoreError
            When the predictions are finite and the score is no number (NaN).
        ValueError
            When the scorer cannot score this hold-out.
        """
        if not np.isfinite(predictions).all():
            raise FloatingPointError("the predictions on the hold-out are not finite")
        try:
            score = float(self.scorer(self._estimator(predictions), self.X, self.y, **self.weight))
        except (ValueError, TypeError, AttributeError) as error:
            hint = ""
            if getattr(self.scoring, "__name__", None) in metrics.__all__:
                hint = "; sklearn.metrics.make_scorer makes a scorer of a metric"
            raise ValueError(
                f"scoring={self.scoring!r} cannot score this hold-out of {len(self.y)} rows: "
                f"{error}{hint}"
            ) from error
        if np.isnan(score):
            raise NoScoreError(
                f"scoring={self.scoring!r} returned {score} for finite predictions on this "
                f"hold-out of {len(self.y)} rows"
            )
        if not np.isfinite(score):
            raise FloatingPointError(f"the score ({self.scoring}) on the hold-out is {score}")
        return score

    @property
    def sample_weight(self) -> npt.NDArray[np.float64] | None:
        """Weights of the rows, None where all count alike."""
        return self.weight.get("sample_weight")

    def metrics(self, predictions: Predictions) -> dict[str, float]:
        """Return what else is worth recording, whatever decides.

        Returns
        -------
        dict of str to float
            Classification: log_loss, accuracy and roc_auc (one against the rest; NaN where the
            hold-out lacks a class). Regression: rmse, mae and r2 (NaN for a single row).
        """
        if isinstance(self.task, Classification):
            return self._class_metrics(predictions)
        return {
            "rmse": float(root_mean_squared_error(self.y, predictions, **self.weight)),
            "mae": float(mean_absolute_error(self.y, predictions, **self.weight)),
            "r2": float(r2_score(self.y, predictions, **self.weight))
            if len(self.y) > 1
            else math.nan,
        }

    def _class_metrics(self, proba: Predictions) -> dict[str, float]:
        classes = self.task.classes  # type: ignore[attr-defined]
        named = classes[proba.argmax(axis=1)]
        complete = np.isin(classes, self.y).all()
        codes = np.searchsorted(classes, self.y)
        return {
            "log_loss": float(log_loss(self.y, proba, labels=classes, **self.weight)),
            "accuracy": float(accuracy_score(self.y, named, **self.weight)),
            "roc_auc": roc_auc(codes, proba, **self.weight) if complete else math.nan,
        }

    def gain_error(
        self, predictions: Predictions, reference: Predictions, n_resamples: int = RESAMPLES
    ) -> float:
        """Return the standard error of what `predictions` score above `reference`.

        Estimated from resamples of the hold-out's rows, drawn alike for both (paired bootstrap),
        so that it serves any scorer. Resamples that cannot be scored, because they lack a class,
        say, do not count.

        Parameters
        ----------
        predictions, reference : ndarray
            As for the score.
        n_resamples : int
        """
        rng = np.random.default_rng(0)
        gains = []
        for _ in range(n_resamples):
            rows = rng.integers(len(self.y), size=len(self.y))
            try:
                part = self._of_rows(rows)
                gains.append(part(predictions[rows]) - part(reference[rows]))
            except (ValueError, ArithmeticError):
                continue
        return float(np.std(gains)) if len(gains) > 1 else math.inf

    def as_calibrated(self, predictions: Predictions, reference: Predictions) -> bool:
        """Tell whether probabilities have no higher log-loss than others, whatever is scored.

        A ranking, or which class is the most probable, can get better while the probabilities
        get worse. True for regression.
        """
        if not isinstance(self.task, Classification) or self.scoring == self.task.default_scoring:
            return True
        proper = HoldOutScore(self.task, None, self.X, self.y, self.sample_weight)
        return proper(predictions) >= proper(reference)

    def _of_rows(self, rows: Indices) -> HoldOutScore:
        weight = self.sample_weight
        return HoldOutScore(
            self.task,
            self.scoring,
            # scikit-learn's own scorers hand X to the estimator, which has its answers ready
            self.X if isinstance(self.scoring, str) else take_rows(self.X, rows),
            self.y[rows],
            None if weight is None else weight[rows],
        )

    def _scorer(self) -> Callable[..., float]:
        if self.scoring == "neg_log_loss" and isinstance(self.task, Classification):
            return make_scorer(
                log_loss,
                response_method="predict_proba",
                greater_is_better=False,
                labels=self.task.classes,
            )
        try:
            return get_scorer(self.scoring)
        except ValueError as error:
            names = get_scorer_names()
            near = nearest(self.scoring, names)
            meant = near or next((name for name in names if str(self.scoring) in name), None)
            hint = f"did you mean {meant!r}? " if meant else ""
            raise ValueError(
                f"scoring={self.scoring!r} is not a name that scikit-learn knows; {hint}"
                "sklearn.metrics.get_scorer_names() lists them, any callable scorer will do."
            ) from error

    def _estimator(self, predictions: Predictions) -> BaseEstimator:
        if not isinstance(self.task, Classification):
            return _Regressor(predictions)
        classes = self.task.classes
        present = np.isin(classes, self.y)
        if self.scoring == "neg_log_loss" or present.all():
            return _Classifier(classes, predictions)
        predictions = predictions[:, present]
        return _Classifier(classes[present], predictions / predictions.sum(axis=1, keepdims=True))


def join_scores(scores: Sequence[HoldOutScore]) -> HoldOutScore:
    """Return the score of the rows of several hold-outs of one table as those of one."""
    first = scores[0]
    task = first.task
    if isinstance(task, Classification):
        task = Classification(_all_classes(scores))
    tables = [score.X for score in scores]
    joined = pd.concat(tables) if isinstance(first.X, pd.DataFrame) else np.concatenate(tables)
    weights = [score.sample_weight for score in scores if score.sample_weight is not None]
    return HoldOutScore(
        task,
        first.scoring,
        joined,
        np.concatenate([score.y for score in scores]),
        np.concatenate(weights) if weights else None,
    )


def join_predictions(
    scores: Sequence[HoldOutScore], predictions: Sequence[Predictions]
) -> Predictions:
    """Return predictions made for several hold-outs as those for the rows of all.

    A class that a fold's training rows lack has the probability zero in its hold-out.
    """
    if not isinstance(scores[0].task, Classification):
        return np.concatenate(predictions)
    classes = _all_classes(scores)
    parts = []
    for score, proba in zip(scores, predictions, strict=True):
        part = np.zeros((len(proba), len(classes)), dtype=proba.dtype)
        part[:, np.searchsorted(classes, score.task.classes)] = proba  # type: ignore[attr-defined]
        parts.append(part)
    return np.concatenate(parts)


def _all_classes(scores: Sequence[HoldOutScore]) -> npt.NDArray[Any]:
    """Return the classes that any fold's training rows hold."""
    classes = [score.task.classes for score in scores]  # type: ignore[attr-defined]
    return np.unique(np.concatenate(classes))


def roc_auc(
    codes: Indices, proba: Predictions, sample_weight: npt.NDArray[np.float64] | None = None
) -> float:
    """Return the area under the curve of one class against the rest, the mean over the classes.

    Classes that no row has, or all rows have, do not count; NaN without any other.

    Parameters
    ----------
    codes : ndarray of int of shape (n_rows,)
        The true class as its place among the columns of `proba`.
    proba : ndarray of shape (n_rows, n_classes)
    sample_weight : ndarray of shape (n_rows,), optional
    """
    one_hot = codes[:, None] == np.arange(proba.shape[1])
    there = one_hot.any(axis=0) & ~one_hot.all(axis=0)
    if proba.shape[1] == 2:
        there[0] = False  # of two classes one is enough: the other's area is the same
    if not there.any():
        return math.nan
    return float(roc_auc_score(one_hot[:, there], proba[:, there], sample_weight=sample_weight))


def name_of(task: Task, scoring: Scoring) -> str:
    """Return a readable name of what scores a task."""
    scorer: Any = task.default_scoring if scoring is None else scoring
    if isinstance(scorer, str):
        return scorer
    function = getattr(scorer, "_score_func", scorer)
    return str(getattr(function, "__name__", repr(scorer)))


class _Classifier(ClassifierMixin, BaseEstimator):
    """Predictions a scorer from probabilities that have been computed already."""

    def __init__(self, classes: npt.NDArray[Any], proba: Predictions) -> None:
        self.classes, self.proba = classes, proba
        self.classes_ = classes

    def fit(self, X: Any, y: Any) -> _Classifier:
        return self

    def predict_proba(self, X: Any) -> Predictions:
        return self.proba

    def predict(self, X: Any) -> Predictions:
        return self.classes_[self.proba.argmax(axis=1)]


class _Regressor(RegressorMixin, BaseEstimator):
    """Predictions a scorer from values that have been computed already."""

    def __init__(self, mean: Predictions) -> None:
        self.mean = mean
        self.is_fitted_ = True

    def fit(self, X: Any, y: Any) -> _Regressor:
        return self

    def predict(self, X: Any) -> Predictions:
        return self.mean
