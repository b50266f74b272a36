"""Models to evaluate, from files or fitted here, and what they answer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from finetune_tabpfn._estimators import ESTIMATORS, FinetunedTabPFNRegressor
from finetune_tabpfn.data._io import infer_task, read_table, split_target
from finetune_tabpfn.data._kinds import Columns
from finetune_tabpfn.models._export import load_fitted
from finetune_tabpfn.studies._cleaning import label_texts
from finetune_tabpfn.utils._endings import FITTED, NETWORKS

DECILES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


@dataclass(frozen=True)
class Predictions:
    """What a model says of some rows.

    Attributes
    ----------
    values : ndarray
        Probabilities of shape (n_rows, n_classes), or predictions of shape (n_rows,).
    deciles : ndarray of shape (n_rows, 9), optional
        Of a regressor that predicts distributions.
    """

    values: npt.NDArray[np.float64]
    deciles: npt.NDArray[np.float64] | None = None

    @classmethod
    def of(cls, model: Any, X: pd.DataFrame) -> Predictions:
        """Ask a model."""
        if hasattr(model, "predict_proba"):
            proba = np.asarray(model.predict_proba(X), dtype=np.float64)
            return cls(proba / proba.sum(axis=1, keepdims=True))  # they were float32
        if not _predicts_distributions(model):
            return cls(np.asarray(model.predict(X), dtype=np.float64))
        main = model.predict(X, output_type="main", quantiles=DECILES)
        deciles = np.stack([np.asarray(q, dtype=np.float64) for q in main["quantiles"]], axis=1)
        return cls(np.asarray(main["mean"], dtype=np.float64), deciles)

    @classmethod
    def joined(cls, parts: list[Predictions]) -> Predictions:
        """Return the answers to consecutive batches as one."""
        deciles = [part.deciles for part in parts if part.deciles is not None]
        return cls(
            np.concatenate([part.values for part in parts]),
            np.concatenate(deciles) if deciles else None,
        )


def load_model(
    model: str | Path,
    context: pd.DataFrame | None,
    target: str,
    task: str = "auto",
    **parameters: Any,
) -> Any:
    """Return a fitted model.

    Parameters
    ----------
    model : str or pathlib.Path
        A fitted estimator (".joblib", ".tabpfn_fit"); with `context` a base model: the path of a
        checkpoint, or a name such as "mini".
    context : DataFrame, optional
        Labelled rows to fit the base model on, without any training of its weights.
    target : str
        Name of their label column.
    task : {"auto", "classification", "regression"}
        "auto" takes what the labels suggest.
    **parameters
        Of the estimator that is fitted.

    Raises
    ------
    ValueError
        For a fitted estimator with rows to fit on, or a checkpoint without.
    """
    if context is None:
        if not Path(model).exists() or Path(model).suffix in NETWORKS:
            if Path(model).suffix in FITTED:
                raise ValueError(f"{model} is not a file.")
            raise ValueError(
                f"{model} is not a fitted estimator ({', '.join(FITTED)}); a checkpoint needs "
                "--context-data, the rows that it predicts from."
            )
        return load_fitted(model)
    if Path(model).suffix in FITTED:
        raise ValueError(f"{model} is fitted already and takes no --context-data.")
    context = context[context[target].notna()] if target in context else context
    X, y = split_target(context.reset_index(drop=True), target)
    kind = infer_task(y) if task == "auto" else task
    return fit_base(ESTIMATORS[kind], model, X, y, **parameters)


# parameters of the estimators that matter to a base model as it is
OF_PREDICTION = (
    "n_estimators", "fit_mode", "class_weight", "categorical_features", "precision", "device",
    "random_state",
)  # fmt: skip


def fit_base(
    estimator: Callable[..., Any],
    base: str | Path,
    X: pd.DataFrame,
    y: pd.Series,
    **parameters: Any,
) -> Any:
    """Fit a base model to rows without training its weights; settings of the training are dropped.

    No hold-out is scored: nothing is chosen here, and every pass over the context takes as long as
    predicting does.
    """
    own = inspect.signature(estimator).parameters
    kept = {name: parameters[name] for name in OF_PREDICTION if name in {*parameters} & {*own}}
    return estimator(**kept, base_model=base, validation=None, max_steps=0).fit(X, y)


def read_for(
    model: Any,
    path: str | Path,
    *,
    target: str | None = None,
    missing_values: Sequence[Any] = (),
) -> pd.DataFrame:
    """Read a file with text where a fitted model had text, also where it is all digits.

    Parameters
    ----------
    model : object
    path : str or pathlib.Path
    target : str, optional
        Name of the label column.
    missing_values : sequence of str or number
        Cells that stand for missing ones, beside blank ones.
    """
    columns = getattr(model, "columns_", None)
    text = columns.names_of_text if isinstance(columns, Columns) else []
    labels = getattr(model, "classes_", ())
    if target is not None and len(labels) and all(isinstance(label, str) for label in labels):
        text = [*text, target]
    return read_table(path, text=text, missing_values=missing_values)


def features_of(model: Any, rows: pd.DataFrame, source: str | Path) -> pd.DataFrame:
    """Return the columns that a model was fitted on; one sentence for one that is missing."""
    names = getattr(model, "feature_names_in_", None)
    if names is None:
        return rows
    missing = [name for name in names if name not in rows.columns]
    if missing:
        raise ValueError(f"{source} lacks the column {missing[0]!r} that the model was fitted on.")
    return rows[list(names)]


def codes_of(y: pd.Series, classes: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the place of each label among the classes, -1 for one that is not there.

    Labels are compared as text, because a file may hold as numbers what the model was fitted on
    as text, and the other way round.
    """
    places = {text: place for place, text in enumerate(label_texts(pd.Series(list(classes))))}
    texts = label_texts(y).map(lambda text: " ".join(text.split()))
    return texts.map(lambda text: places.get(text, -1)).to_numpy(dtype=np.int64)


def _predicts_distributions(model: Any) -> bool:
    return isinstance(model, FinetunedTabPFNRegressor) or type(model).__name__ == "TabPFNRegressor"
