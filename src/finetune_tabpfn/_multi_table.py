"""One base model, fine-tuned on several related tables: a better start for the tables to come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from finetune_tabpfn._estimators import ESTIMATORS
from finetune_tabpfn._nested import assemble
from finetune_tabpfn._planning import PlannedFit, plan_fit, random_seed
from finetune_tabpfn._scoring import name_of
from finetune_tabpfn._tasks import Kind
from finetune_tabpfn.data._fit_input import read_input
from finetune_tabpfn.finetuning._budget import Timer
from finetune_tabpfn.finetuning._fine_tune import Surroundings, fine_tune
from finetune_tabpfn.finetuning._problem import FineTuningProblem
from finetune_tabpfn.finetuning._result import FineTuningResult
from finetune_tabpfn.finetuning._selection import select
from finetune_tabpfn.models import _export
from finetune_tabpfn.training._device import gradients
from finetune_tabpfn.training._state import HistoryRow
from finetune_tabpfn.utils._text import unknown_name

NOT_HERE = (
    "checkpoint", "checkpoint_every", "log_dir", "loggers", "n_folds", "resume", "verbose",
)  # fmt: skip


@dataclass(frozen=True)
class RelatedFit:
    """What a base model came to on several tables.

    Attributes
    ----------
    path : pathlib.Path
        The new base model: for ``base_model=path``, or `model_path` of a plain TabPFN estimator.
    history : pandas.DataFrame
        A row per evaluation. score_0, score_1, ... are the tables' own scores; score is their mean,
        each relative to the size of the base model's, which makes the first one -1 or 1.
    base_scores, scores : list of float
        Of the untouched base model and of the best evaluation on the hold-out of each table.
    deployed : {"base", "best", "interpolated"}
        Which weights were written.
    stop_reason : str
    """

    path: Path
    history: pd.DataFrame
    base_scores: list[float]
    scores: list[float]
    deployed: str
    stop_reason: str


@gradients()
def fine_tune_base_model(
    tables: Sequence[tuple[Any, Any]],
    path: str | Path,
    *,
    task: Kind,
    **parameters: Any,
) -> RelatedFit:
    """Fine-tune one base model on several related tables and write a base model for later fits.

    The tables have the same task; columns, rows and classes may be others in each. The steps take
    them in turn; all are validated, each on a hold-out of its own, and the weights that are best in
    the mean over tables are written, unless the gain over the untouched base model may be luck.

    Parameters
    ----------
    tables : sequence of (X, y)
        As for `fit` of the estimators.
    path : str or pathlib.Path
        The ".safetensors" or ".ckpt" file to write. tabpfn reads the version off its name: keep
        "v3" (or "v2.5", ...) in it where the base model's name has it.
    task : {"classification", "regression"}
    **parameters
        Of the estimators, by name, those of `training` by their own names as well; but none of
        checkpoints, of loggers (verbose among them), and no n_folds. `callbacks` hear of the
        training; `max_steps` counts the steps on all tables together.

    Returns
    -------
    RelatedFit

    Raises
    ------
    ValueError
        For a parameter or table that cannot be used; the message says which.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer, load_iris, load_wine
    >>> from finetune_tabpfn import FinetunedTabPFNClassifier, fine_tune_base_model
    >>> tables = [load(return_X_y=True) for load in (load_iris, load_wine)]
    >>> found = fine_tune_base_model(
    ...     tables,
    ...     "flowers-and-wines-v3.safetensors",
    ...     task="classification",
    ...     base_model="mini",
    ...     max_steps=4,
    ...     random_state=0,
    ... )
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = FinetunedTabPFNClassifier(base_model=found.path, max_steps=2, random_state=0)
    >>> model.fit(X, y).base_model_.licence
    'Apache-2.0'
    """
    estimator = _estimator(task, parameters)
    path = _export.check_model_path(path)
    if not len(tables):
        raise ValueError("tables=[] holds no table; a list of pairs (X, y) will do.")
    timer, seed = Timer(estimator.time_limit), random_seed(estimator.random_state)
    fits: list[PlannedFit] = []
    problems: list[FineTuningProblem] = []
    for number, table in enumerate(tables):
        specs = fits[0].blueprint.specs if fits else None
        try:
            X, y = table
            given = read_input(
                X,
                y,
                numeric=task == "regression",
                categorical_features=estimator.categorical_features,
            )
            fit = plan_fit(estimator, given, seed + number, timer, specs)
            problems.append(fit.problem())
        except (TypeError, ValueError) as error:
            raise ValueError(f"tables[{number}] cannot be used: {error}") from error
        fits.append(fit)
    around = Surroundings(seed=seed, timer=timer, finish_seconds=1.0)
    result = select([fine_tune(problems, estimator.settings(), around)])
    written = _write(path, estimator, fits[0], problems, result)
    if result.error is not None:
        raise result.error
    return written


def _estimator(task: Kind, parameters: dict[str, Any]) -> Any:
    """Return an estimator with the parameters, which are those of a fit to one table."""
    if task not in ESTIMATORS:
        raise ValueError(f"task={task!r} must be 'classification' or 'regression'.")
    for name in NOT_HERE:
        if name in parameters:
            raise ValueError(
                f"{name}={parameters[name]!r} is for a fit to one table; leave it out."
            )
    own = assemble(parameters, ESTIMATORS[task])
    names = [name for name in ESTIMATORS[task]._get_param_names() if name not in NOT_HERE]
    for name in own:
        if name not in names:
            raise ValueError(unknown_name("fine_tune_base_model is given", name, names))
    estimator = ESTIMATORS[task](n_folds=1, **own)
    estimator._validate_params()
    if estimator.validation is None:
        raise ValueError(
            "validation=None leaves nothing to compare the tables' gains on; it is for a fit to "
            "one table."
        )
    return estimator


def _write(
    path: Path,
    estimator: Any,
    fit: PlannedFit,
    problems: Sequence[FineTuningProblem],
    result: FineTuningResult,
) -> RelatedFit:
    """Write the base model with where it comes from, and return what it came to."""
    specs = fit.blueprint.specs
    if result.weights is not None:
        specs.model.load_state_dict(result.weights)
    rows = [row.flat() for its in result.trainings for row in its.history]
    history = pd.DataFrame(rows, columns=None if rows else list(HistoryRow.NAMES))
    origin = _export.describe_start(estimator, fit.base_model) | {
        "tables": [{"rows": c.table.n_rows + c.table.n_held_out} for c in problems],
        "scoring": name_of(problems[0].table.task, estimator.scoring),
        "base_score": result.base_score,
        "best_score": result.score,
        "best_step": result.best_step,
        "stop_reason": result.stop_reason,
        "date": _export.now(),
    }
    _export.write_network(path, specs, origin)
    names = [f"score_{n}" for n in range(len(problems))] if len(problems) > 1 else ["score"]
    first, best = (
        [float(history[name][row]) for name in names] if len(history) else [np.nan] * len(names)
        for row in (0, int(history["score"].argmax()) if len(history) else 0)
    )
    return RelatedFit(path, history, first, best, result.deployed, result.stop_reason)
