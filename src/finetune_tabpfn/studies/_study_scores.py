"""What a fitted estimator scores on the rows of a study, those that it was tuned on among them."""

from __future__ import annotations

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import StratifiedKFold

from finetune_tabpfn._tasks import task_of
from finetune_tabpfn.data._sampling import Indices
from finetune_tabpfn.models._export import checkpoint_name, save_model
from finetune_tabpfn.studies._metrics import class_metrics, quantity_metrics
from finetune_tabpfn.studies._models import Predictions, codes_of, fit_base

TRAIN_ROWS = 1000  # that are scored at most
TRAIN_PARTS = 3


def metrics_on(estimator: Any, X: pd.DataFrame, y: npt.NDArray[Any]) -> dict[str, float]:
    """Return the metrics of a fitted estimator on labelled rows."""
    return _metrics(Predictions.of(estimator, X), y, estimator)


def train_metrics(estimator: Any, X: pd.DataFrame, y: npt.NDArray[Any]) -> dict[str, float]:
    """Return the metrics of the tuned weights on the rows that they were tuned on.

    TabPFN reads a row that is in its context off it, which says nothing of the weights. So each
    third of the rows is predicted by the tuned network from the other two: what it has learned by
    heart shows, and what it looks up does not.

    Parameters
    ----------
    estimator : FinetunedTabPFNClassifier or FinetunedTabPFNRegressor
        Fitted.
    X : DataFrame of shape (n_rows, n_features)
    y : ndarray of shape (n_rows,)

    Returns
    -------
    dict of str to float
        Empty where some third leaves the others without one of the classes.
    """
    chosen = np.sort(np.random.default_rng(0).permutation(len(y))[:TRAIN_ROWS])
    X, y = X.iloc[chosen], y[chosen]
    parts = _thirds(y, estimator)
    if not parts:
        return {}
    parameters = estimator.get_params(deep=False)
    said = []
    with TemporaryDirectory() as folder:
        weights = save_model(estimator, Path(folder) / checkpoint_name(estimator))
        for context, query in parts:
            model = fit_base(
                type(estimator), weights, X.iloc[context], pd.Series(y[context]), **parameters
            )
            said.append(Predictions.of(model, X.iloc[query]))
    truth = y[np.concatenate([query for _, query in parts])]
    return _metrics(Predictions.joined(said), truth, estimator)


def _thirds(y: npt.NDArray[Any], estimator: Any) -> list[tuple[Indices, Indices]]:
    """Return row numbers of context and query rows; none where that cannot be."""
    if len(y) < 2 * TRAIN_PARTS:
        return []
    is_classifier = hasattr(estimator, "classes_")
    strata = task_of("classification" if is_classifier else "regression", y).strata(y)
    splitter = StratifiedKFold(TRAIN_PARTS, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of strata with fewer rows than parts
        try:
            parts = list(splitter.split(y, strata))
        except ValueError:  # all strata have fewer
            return []
    if is_classifier and any(
        len(np.unique(y[context])) < len(estimator.classes_) for context, _ in parts
    ):
        return []
    return parts


def _metrics(predictions: Predictions, y: npt.NDArray[Any], estimator: Any) -> dict[str, float]:
    if hasattr(estimator, "classes_"):
        return class_metrics(codes_of(pd.Series(y), estimator.classes_), predictions.values)
    return quantity_metrics(y, predictions.values, predictions.deciles)
