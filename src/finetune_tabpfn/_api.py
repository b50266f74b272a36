"""One call from a table to a checkpoint, for pipelines that want a file and no estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from finetune_tabpfn import _tabpfn
from finetune_tabpfn._estimators import SETTINGS, new_estimator
from finetune_tabpfn._parameters import explaining
from finetune_tabpfn.data._io import infer_task
from finetune_tabpfn.loggers._level import messages
from finetune_tabpfn.loggers._plot import save_curve
from finetune_tabpfn.models._export import save_model
from finetune_tabpfn.utils._optional import require
from finetune_tabpfn.utils._text import unknown_name
from finetune_tabpfn.utils._warn import warn

TaskType = Literal["binary", "multiclass", "regression"]

# what AutoML systems call a metric, and the scorer of scikit-learn that it is
CLASS_METRICS = {
    "log_loss": "neg_log_loss",
    "logloss": "neg_log_loss",
    "nll": "neg_log_loss",
    "cross_entropy": "neg_log_loss",
    "accuracy": "accuracy",
    "acc": "accuracy",
    "balanced_accuracy": "balanced_accuracy",
    "f1": "f1",
    "roc_auc": "roc_auc",
    "auc": "roc_auc",
    "roc_auc_ovo_macro": "roc_auc_ovo",
    "mcc": "matthews_corrcoef",
    "brier": "neg_brier_score",
    "brier_score": "neg_brier_score",
}
QUANTITY_METRICS = {
    "r2": "r2",
    "rmse": "neg_root_mean_squared_error",
    "root_mean_squared_error": "neg_root_mean_squared_error",
    "mse": "neg_mean_squared_error",
    "mean_squared_error": "neg_mean_squared_error",
    "mae": "neg_mean_absolute_error",
    "mean_absolute_error": "neg_mean_absolute_error",
    "median_absolute_error": "neg_median_absolute_error",
    "mape": "neg_mean_absolute_percentage_error",
    "mean_absolute_percentage_error": "neg_mean_absolute_percentage_error",
    "rmsle": "neg_root_mean_squared_log_error",
    "msle": "neg_mean_squared_log_error",
}
OWN_ARGUMENTS = {  # parameters of the estimators that have an argument of their own
    "base_model": "path_to_base_model",
    "time_limit": "time_limit",
    "scoring": "validation_metric",
    "categorical_features": "categorical_features_index",
    "device": "device",
    "random_state": "random_seed",
}


@explaining
def fine_tune_tabpfn(
    *,
    X_train: Any,
    y_train: Any,
    save_path_to_fine_tuned_model: str | Path,
    path_to_base_model: str | Path = "auto",
    time_limit: float | None = None,
    finetuning_config: Mapping[str, Any] | None = None,
    validation_metric: str | None = None,
    X_val: Any = None,
    y_val: Any = None,
    categorical_features_index: Sequence[int] | None = None,
    device: str | torch.device | Sequence[str | torch.device] = "auto",
    task_type: TaskType | None = None,
    show_training_curve: bool = False,
    logger_level: int | str | None = None,
    use_wandb: bool = False,
    random_seed: int | None = None,
) -> Path:
    """Fine-tune TabPFN to a table and save a checkpoint that plain TabPFN takes.

    A thin layer over the estimators, for pipelines that want a file.

    Parameters
    ----------
    X_train : DataFrame or array-like of shape (n_rows, n_features)
    y_train : array-like of shape (n_rows,)
    save_path_to_fine_tuned_model : str or pathlib.Path
        A ".safetensors" or ".ckpt" file. tabpfn reads the version off a file's name; keep "v3"
        (or "v2.5", ...) in it where the base model's name has it.
    path_to_base_model : str or pathlib.Path, default="auto"
        As `base_model` of the estimators: "auto", "mini", a version, or the path of a checkpoint.
    time_limit : float, default=None
        Seconds for the fine-tuning.
    finetuning_config : mapping, default=None
        Parameters of the estimators by name. ``{"learning_rate": 1e-5, "batch_size": 20}`` are
        the two that should ever be needed; `batch_size` is in splits per update.
    validation_metric : str, default=None
        What decides on the hold-out: the name of a scorer of scikit-learn, or what AutoML systems
        say: "log_loss", "roc_auc" (of more than two classes one against the rest), "accuracy",
        "rmse", "mse", "mae", "r2", ... None is "log_loss", and "rmse" for regression.
    X_val, y_val : like `X_train` and `y_train`, optional
        Rows to validate on. Without them, rows of `X_train` are held out.
    categorical_features_index : sequence of int, default=None
        Positions of the categorical columns. None infers them.
    device : str, torch.device or sequence of them, default="auto"
        As of the estimators.
    task_type : {"binary", "multiclass", "regression"}, default=None
        None infers: text, booleans and categories are classes; numbers are classes when they are
        whole and take at most 20 different values, else a quantity.
    show_training_curve : bool, default=False
        Whether to draw the training curve: a PNG beside the checkpoint, under the same name.
    logger_level : int or str, default=None
        Level of the logger "finetune_tabpfn" during the call, such as "INFO" for a line per
        evaluation. Messages go to standard error unless logging is set up.
    use_wandb : bool, default=False
        Whether to record the fit as a run of Weights & Biases.
    random_seed : int, default=None
        Makes the fit reproducible, where no `time_limit` cuts it. Global random states are not
        touched.

    Returns
    -------
    pathlib.Path
        Of the checkpoint: ``TabPFNClassifier(model_path=path).fit(X, y)`` uses it.

    Raises
    ------
    ValueError
        For input that cannot be used; the message names the parameter. Before any training.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.datasets import load_iris
    >>> from tabpfn import TabPFNClassifier
    >>> from finetune_tabpfn import fine_tune_tabpfn
    >>> X, y = load_iris(return_X_y=True)
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = fine_tune_tabpfn(
    ...     path_to_base_model="mini",
    ...     save_path_to_fine_tuned_model=f"{folder.name}/iris-v3.safetensors",
    ...     finetuning_config={"learning_rate": 1e-4, "batch_size": 2, "max_steps": 10},
    ...     validation_metric="log_loss",
    ...     X_train=X,
    ...     y_train=y,
    ...     random_seed=0,
    ... )
    >>> plain = TabPFNClassifier(model_path=str(path), device="cpu").fit(X, y)
    >>> plain.predict(X[:2]).tolist()
    [0, 0]
    >>> folder.cleanup()
    """
    if show_training_curve:
        require("matplotlib", "show_training_curve=True")
    path = _checked_path(save_path_to_fine_tuned_model)
    n_classes = _classes_of(y_train, task_type)
    parameters = {
        **_checked_config(finetuning_config or {}),
        "base_model": path_to_base_model,
        "time_limit": time_limit,
        "scoring": scorer_of(validation_metric, n_classes),
        "categorical_features": categorical_features_index,
        "device": device,
        "random_state": random_seed,
    }
    if use_wandb:
        parameters["loggers"] = [*_as_list(parameters.get("loggers")), "wandb"]
    estimator = new_estimator("classification" if n_classes else "regression", parameters)
    with messages(logger_level):
        estimator.fit(X_train, y_train, X_val=X_val, y_val=y_val)
    _warn_of_version(estimator.base_model_.path, path)
    save_model(estimator, path)
    if show_training_curve:
        save_curve(estimator, path.with_suffix(".png"))
    return path


def scorer_of(metric: str | None, n_classes: int) -> str | None:
    """Return scikit-learn's name of a metric.

    Parameters
    ----------
    metric : str or None
        As AutoML systems or scikit-learn name it; None stays None, the default of the task.
    n_classes : int
        0 for regression.

    Raises
    ------
    ValueError
        For a metric of the other task. Other names are left to the estimators.
    """
    if metric is None:
        return None
    own, other = CLASS_METRICS, QUANTITY_METRICS
    task = "classification"
    if not n_classes:
        own, other, task = other, own, "regression"
    if metric in other or metric in other.values():
        raise ValueError(f"validation_metric={metric!r} is not for {task}; one of {_list(own)} is.")
    scorer = own.get(metric, metric)
    return "roc_auc_ovr" if scorer == "roc_auc" and n_classes > 2 else scorer


def _checked_path(path: str | Path) -> Path:
    """Return where to save; what is wrong with it is said before the training, not after."""
    if Path(path).suffix not in (".safetensors", ".ckpt"):
        raise ValueError(
            f"save_path_to_fine_tuned_model={str(path)!r} must end in .safetensors or .ckpt."
        )
    return Path(path)


def _classes_of(y: Any, task_type: TaskType | None) -> int:
    """Return the number of classes, 0 for regression; raise for a target of another task."""
    known = ("binary", "multiclass", "regression")
    if task_type is not None and task_type not in known:
        raise ValueError(
            f"task_type={task_type!r} must be one of {_list(known)}, or None to infer it."
        )
    target = y if isinstance(y, pd.Series) else pd.Series(np.asarray(y).ravel()).infer_objects()
    task = task_type or infer_task(target)
    n_classes = 0 if task == "regression" else target.nunique()
    if task == "binary" and n_classes != 2:
        raise ValueError(
            f"task_type='binary' needs two classes and y_train holds {n_classes}; "
            "'multiclass' takes any number."
        )
    return n_classes


def _checked_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters in `finetuning_config`; raise for a name that none has."""
    names = SETTINGS
    for name in config:
        if name in OWN_ARGUMENTS:
            raise ValueError(
                f"finetuning_config holds {name!r}, which is the argument {OWN_ARGUMENTS[name]}."
            )
        if name not in names:
            raise ValueError(unknown_name("finetuning_config holds", name, names))
    return dict(config)


def _warn_of_version(base: Path, path: Path) -> None:
    """Warn where tabpfn reads another version off the file's name than off the base model's."""
    version = _tabpfn.version_of(base)
    if version != _tabpfn.version_of(path):
        better = f"{path.stem}-{version}{path.suffix}"
        warn(
            f"tabpfn reads the version off a file's name and takes {path.name!r} for "
            f"{_tabpfn.version_of(path)}, which changes how many rows it allows on a CPU; "
            f"{better!r} would do.",
        )


def _as_list(loggers: Any) -> list[Any]:
    if loggers is None:
        return []
    return list(loggers) if isinstance(loggers, (list, tuple)) else [loggers]


def _list(names: Any) -> str:
    return ", ".join(repr(name) for name in names)
