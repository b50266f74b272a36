"""A run from its configuration: fit, test, and a folder with all of it."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib

from finetune_tabpfn._estimators import new_estimator
from finetune_tabpfn._scoring import HoldOutScore
from finetune_tabpfn._tasks import Classification, Regression
from finetune_tabpfn.data._validation import LabelledTable
from finetune_tabpfn.loggers._base import peak_memory
from finetune_tabpfn.loggers._level import messages
from finetune_tabpfn.loggers._plot import save_curve
from finetune_tabpfn.models._export import checkpoint_name, describe, save_model
from finetune_tabpfn.runs._config import RunConfig
from finetune_tabpfn.runs._folders import METRICS, link_best, new_folder
from finetune_tabpfn.runs._forecast import execute_forecast
from finetune_tabpfn.runs._tables import Tables, read_tables
from finetune_tabpfn.utils._files import save_whole
from finetune_tabpfn.utils._text import to_json
from finetune_tabpfn.utils._workers import launched

# of the parameters, what shapes a predictor that is not trained: the base model's to compare with
OF_THE_BASE = (
    "base_model",
    "n_estimators",
    "class_weight",
    "categorical_features",
    "precision",
    "device",
    "random_state",
)
CONFIG, HISTORY, CURVE, ESTIMATOR = "config.yaml", "history.csv", "curve.png", "estimator.joblib"


def execute(config: RunConfig, *, progress: bool = False) -> dict[str, Any]:
    """Fit, test and save what a configuration describes.

    Parameters
    ----------
    config : RunConfig
    progress : bool
        Whether to show a progress bar on standard error.

    Returns
    -------
    dict
        What is in metrics.json, and under "folder" and "best" where this run and the best one
        of its experiment are.

    Notes
    -----
    The folder holds config.yaml (everything written out), metrics.json, history.csv, curve.png,
    estimator.joblib, the network as a checkpoint for plain TabPFN (with one fold) and what the
    loggers write. metrics.json comes last: where it is missing, the run did not end.
    """
    _check_sharing(config)
    if config.data.task == "forecasting":
        return execute_forecast(config, progress=progress)
    began = time.monotonic()
    tables = read_tables(config)
    estimator = make_estimator(config, tables, verbose=progress)
    estimator._validate_params()  # what is wrong is said before there is a folder
    folder = new_folder(Path(config.output.folder) / str(config.output.experiment))
    estimator.set_params(log_dir=folder if estimator.loggers else None)
    save_whole(folder / CONFIG, lambda part: part.write_text(config.to_yaml(), encoding="utf-8"))
    with messages(config.logging.level):
        fit(estimator, tables)
    metrics = _metrics(config, estimator, tables, folder.name)
    files = _save(estimator, folder)
    metrics |= {"files": files, "seconds": time.monotonic() - began}
    save_whole(folder / METRICS, lambda part: part.write_text(to_json(metrics) + "\n"))
    return {**metrics, "folder": folder, "best": link_best(folder, config.output.best_by)}


def take_part(config: RunConfig) -> None:
    """Make the fits of a run with the first of torchrun's processes, which keeps the results."""
    _check_sharing(config)
    tables = read_tables(config)
    estimator = make_estimator(config, tables)
    fit(estimator, tables)
    _base_to_compare(estimator, tables)


def _check_sharing(config: RunConfig) -> None:
    if config.data.task == "forecasting" and launched()[1] > 1:
        raise ValueError(
            "data.task='forecasting' makes many small fits, which the processes of torchrun do not "
            "share; a run without torchrun would do."
        )


def make_estimator(config: RunConfig, tables: Tables, **others: Any) -> Any:
    """Return the estimator of a configuration, not fitted."""
    return new_estimator(tables.task.kind, {**config.parameters, **others})


def fit(estimator: Any, tables: Tables) -> None:
    """Fit an estimator to the training rows of a run."""
    train, validation = tables.train, tables.validation
    rows = {} if validation is None else {"X_val": validation.X, "y_val": validation.y}
    with ended_by_ctrl_c(estimator):
        estimator.fit(train.X, train.y, sample_weight=train.weight, groups=train.groups, **rows)


@contextmanager
def ended_by_ctrl_c(estimator: Any) -> Iterator[None]:
    """Let Ctrl-C before the first step of a fit end more than the fit.

    What is deployed then is the base model, which nobody wants to find under the name of a
    fine-tuned one. Later, the best weights so far are what was asked for.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Fine-tuning was interrupted before")
        yield
    if "interrupted" in estimator.stop_reason_ and not estimator.n_steps_:
        raise KeyboardInterrupt


def _metrics(config: RunConfig, estimator: Any, tables: Tables, run: str) -> dict[str, Any]:
    """Return what a run came to, as JSON-like data."""
    made = describe(estimator)
    del made["parameters"]  # config.yaml has them
    scores = {"base": made.pop("base_score"), "deployed": made.pop("best_score")}
    hold_out = {name: {"score": score} for name, score in scores.items()}
    return {
        "experiment": config.output.experiment,
        "run": run,
        "task": tables.task.kind,
        "target": config.data.target,
        "rows": tables.sizes,
        "columns": tables.train.X.shape[1],
        "hold_out": hold_out if math.isfinite(scores["deployed"]) else None,
        "test": _test(estimator, tables),
        **made,
        "deployed_weights": estimator.deployed_weights_,
        "n_steps": estimator.n_steps_,
        "learning_rate": estimator.learning_rate_,
        "peak_memory_mb": peak_memory(),
    }


def _test(estimator: Any, tables: Tables) -> dict[str, dict[str, float]] | None:
    """Return test scores of the base model and of what was deployed, None without test rows."""
    if tables.test is None:
        return None
    base = _base_to_compare(estimator, tables)
    deployed = scores_on(estimator, tables.test)
    return {
        "base": deployed if base is None else scores_on(base, tables.test),
        "deployed": deployed,
    }


def _base_to_compare(estimator: Any, tables: Tables) -> Any:
    """Return the base model, fitted; None where nothing is tested or it is what was deployed."""
    if tables.test is None or estimator.deployed_weights_ == "base":
        return None
    parameters = {n: getattr(estimator, n) for n in OF_THE_BASE if hasattr(estimator, n)}
    base = type(estimator)(**parameters, scoring=estimator.scoring, max_steps=0)
    fit(base, tables)
    return base


def scores_on(estimator: Any, test: LabelledTable) -> dict[str, float]:
    """Return the score of a fitted estimator on labelled rows, and the usual metrics.

    Parameters
    ----------
    estimator : FinetunedTabPFNClassifier or FinetunedTabPFNRegressor
    test : LabelledTable

    Returns
    -------
    dict of str to float
        "score" is what `scoring` says, greater is better.
    """
    if hasattr(estimator, "classes_"):
        task: Any = Classification(estimator.classes_)
        predictions = estimator.predict_proba(test.X)
    else:
        task, predictions = Regression(), estimator.predict(test.X)
    score = HoldOutScore(task, estimator.scoring, test.X, test.y, test.weight)
    return {"score": score(predictions), **score.metrics(predictions)}


def _save(estimator: Any, folder: Path) -> list[str]:
    """Write model, history and curve; return the names of the files."""
    save_whole(folder / HISTORY, lambda part: estimator.history_.to_csv(part, index=False))
    save_whole(folder / CURVE, lambda part: save_curve(estimator, part))
    save_whole(folder / ESTIMATOR, lambda part: joblib.dump(estimator, part))
    save_model(estimator, folder / checkpoint_name(estimator))
    return sorted(file.name for file in folder.iterdir())
