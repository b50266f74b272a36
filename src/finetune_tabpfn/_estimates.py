"""What a fit will take, before it: seconds from steps that are measured, memory from shapes."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from finetune_tabpfn._estimators import new_estimator
from finetune_tabpfn._parameters import Parameters
from finetune_tabpfn._planning import PlannedFit, plan_fit
from finetune_tabpfn.data._fit_input import FitInput, read_input
from finetune_tabpfn.finetuning import _defaults
from finetune_tabpfn.finetuning._batches import SplitBatches, step_batches
from finetune_tabpfn.finetuning._budget import CostEstimate, Timer
from finetune_tabpfn.finetuning._cost import estimate_costs
from finetune_tabpfn.finetuning._fine_tune import loop_config, most_steps
from finetune_tabpfn.finetuning._hold_out import CANDIDATES
from finetune_tabpfn.finetuning._problem import FineTuningProblem, NothingToTrainError
from finetune_tabpfn.training._device import gradients
from finetune_tabpfn.training._loop import TrainConfig
from finetune_tabpfn.utils._constraints import is_whole

MEASURING_SECONDS = 60.0  # no single piece of work takes more than half; the rest is extrapolated
STAND_IN_ROWS = 200  # of the table that stands in for a large one where only shapes matter
# As `benchmarks/automl.py estimates` finds them:
LIBRARIES = 545e6  # bytes of a process that has fitted a tiny table
COPIES = 7  # of the weights in training: network, gradient, AdamW's two, average, best, base
BACKWARD = 1.25  # what a pass takes over what it keeps for its backward pass
INFERENCE = 0.25  # what a row takes in a validation over what it does in training
TABLE_COPIES = 10  # of the table, in float64, that are made on the way to the members' tensors


@dataclass(frozen=True)
class MeasuredFit:
    """A fit that was prepared and measured, and trained nothing.

    Attributes
    ----------
    fit : PlannedFit
    problem : FineTuningProblem
        Of the first fold.
    batches : SplitBatches
    config : TrainConfig
    costs : CostEstimate
    prepare_seconds : float
        Of reading, loading and preparing the first fold.
    most_seconds : float
        Of the whole fit, if nothing stops it before `max_steps` or its time limit.
    memory : float
        Bytes of the training beyond what the process had before it.
    """

    fit: PlannedFit
    problem: FineTuningProblem
    batches: SplitBatches
    config: TrainConfig
    costs: CostEstimate
    prepare_seconds: float
    most_seconds: float
    memory: float


@gradients()
def measure_fit(estimator: Parameters, *given: Any) -> MeasuredFit:
    """Read, load and prepare as `fit` does, and measure a step and a validation.

    Parameters
    ----------
    estimator : FinetunedTabPFNClassifier or FinetunedTabPFNRegressor
        Not fitted.
    *given
        As `fit` takes them.

    Raises
    ------
    ValueError
        For what `fit` would refuse, and where there is nothing to train on.
    """
    began = time.monotonic()
    fit = _planned(estimator, *given)
    loaded = time.monotonic()
    problem, batches, config = _prepared(fit)
    prepared = time.monotonic()
    costs = _measured(batches, config)
    if time.monotonic() - prepared < MEASURING_SECONDS / 12:  # the first time warms up as well
        costs = _measured(batches, config)
    once = loaded - began + (prepared - loaded) * len(fit.table.y) / problem.table.n_rows
    seconds = once + len(fit.folds) * (prepared - loaded + _training_seconds(fit, config, costs))
    return MeasuredFit(
        fit,
        problem,
        batches,
        config,
        costs,
        prepare_seconds=prepared - began,
        most_seconds=min(seconds, getattr(estimator, "time_limit", None) or math.inf),
        memory=_training_bytes(fit, batches, len(fit.table.y), problem.table.n_held_out),
    )


def estimate_seconds(n_rows: int, n_columns: int, n_classes: int = 0, **parameters: Any) -> float:
    """Return the most seconds that a fit will take on this machine, from steps that are measured.

    Makes up a table of numbers of that size, prepares it as `fit` would, and measures a step and a
    validation; what would take half a minute is measured on fewer rows and extrapolated.
    That itself takes about as long as the first steps of the fit. It is the time of a fit that
    nothing stops before `max_steps`; early stopping often ends one much sooner. Text, categories
    and dates take longer to prepare than the numbers that are made up.

    Parameters
    ----------
    n_rows, n_columns : int
        Of the table that `fit` will be given.
    n_classes : int, default=0
        0 is a regression.
    **parameters
        Of the estimators, by the names that files and studies have for them.

    Returns
    -------
    float
        No more than `time_limit`.

    Raises
    ------
    ValueError
        For what `fit` would refuse, and where there would be nothing to train on.

    Examples
    --------
    >>> from finetune_tabpfn import estimate_seconds
    >>> 0 < estimate_seconds(200, 4, 3, base_model="mini", max_steps=20) < 60
    True
    """
    _check_sizes(n_rows, n_columns, n_classes)
    estimator = _estimator(n_classes, parameters)
    X, y = _made_up(n_rows, n_columns, n_classes)
    return measure_fit(estimator, X, y).most_seconds


def estimate_memory(n_rows: int, n_columns: int, n_classes: int = 0, **parameters: Any) -> int:
    """Return the most memory that a fit will take, from its shapes and the network.

    A pass over a few made-up rows is watched for what it keeps for its backward pass, and scaled to
    the rows of a split; the weights' copies, the table's and a validation with all context rows are
    added, none of which is made. A fit that finds less free takes measures that cost time instead.

    Parameters
    ----------
    n_rows, n_columns : int
        Of the table that `fit` will be given.
    n_classes : int, default=0
        0 is a regression.
    **parameters
        Of the estimators, by the names that files and studies have for them.

    Returns
    -------
    int
        Bytes: on a CPU of the whole process, with the libraries that it loads; on a GPU of its
        memory.

    Raises
    ------
    ValueError
        For what `fit` would refuse, and where there would be nothing to train on.

    Examples
    --------
    >>> from finetune_tabpfn import estimate_memory
    >>> large, small = (estimate_memory(n, 50, 2, base_model="mini") for n in (5000, 500))
    >>> large > small > 2**29
    True
    """
    _check_sizes(n_rows, n_columns, n_classes)
    estimator = _estimator(n_classes, parameters)
    few = min(n_rows, max(STAND_IN_ROWS, 4 * n_classes))
    fit = _planned(estimator, *_made_up(few, n_columns, n_classes))
    problem, batches, _ = _prepared(fit)
    held_out = min(problem.table.n_held_out * n_rows // few, max(few, _defaults.MAX_HELD_OUT))
    libraries = LIBRARIES if fit.blueprint.device.type == "cpu" else 0.0
    return int(libraries + _training_bytes(fit, batches, n_rows, held_out))


def _check_sizes(n_rows: Any, n_columns: Any, n_classes: Any) -> None:
    for name, value, least in (
        ("n_rows", n_rows, 1),
        ("n_columns", n_columns, 1),
        ("n_classes", n_classes, 0),
    ):
        if is_whole(value, least):
            continue
        given = type(value).__name__ if np.ndim(value) else repr(value)
        table = "; of a table they are *X.shape" if np.ndim(value) else ""
        raise ValueError(f"{name}={given} must be a whole number from {least}{table}.")


def _estimator(n_classes: int, parameters: dict[str, Any]) -> Any:
    return new_estimator("classification" if n_classes else "regression", parameters)


def _made_up(
    n_rows: int, n_columns: int, n_classes: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any]]:
    """Return a table of numbers with a target, for what depends on sizes alone."""
    X = np.random.default_rng(0).normal(size=(n_rows, n_columns))
    return X, np.arange(n_rows) % n_classes if n_classes else X[:, 0]


def _planned(estimator: Any, *given: Any) -> PlannedFit:
    """Say what a fit is about, as `fit` does."""
    estimator._validate_params()
    rows = [*given, *[None] * 6][:6]
    table: FitInput = read_input(
        *rows,
        numeric=not hasattr(estimator, "predict_proba"),
        categorical_features=estimator.categorical_features,
    )
    return plan_fit(estimator, table, 0, Timer(None))


def _prepared(fit: PlannedFit) -> tuple[FineTuningProblem, SplitBatches, TrainConfig]:
    """Prepare the first fold."""
    try:
        problem = fit.problem()
    except NothingToTrainError as nothing:
        raise ValueError(
            f"There is nothing to train on ({nothing}); the base model would be deployed as it is."
        ) from nothing
    batches = step_batches([problem], fit.settings, 0)
    (part,) = batches.parts
    validates = problem.score is not None
    return problem, part, loop_config(batches, fit.settings, validates=validates)


def _measured(batches: SplitBatches, config: TrainConfig) -> CostEstimate:
    """Return what a step and a validation take at their real size, where there is time for that."""
    return estimate_costs(
        batches, config.precision, left=lambda: MEASURING_SECONDS, to_the_top=True
    )


def _training_seconds(fit: PlannedFit, config: TrainConfig, costs: CostEstimate) -> float:
    """Return what the training of a fold takes if it makes all its steps."""
    evaluations = math.ceil(fit.settings.max_steps / config.eval_interval)
    choice = CANDIDATES * (costs.as_deployed or costs.validation)
    steps = most_steps(fit.settings) * costs.step
    return (evaluations + 1) * costs.validation + choice + steps


def _training_bytes(fit: PlannedFit, batches: SplitBatches, n_rows: int, n_held_out: int) -> float:
    """Return what a training takes beyond what the process had before it.

    Parameters
    ----------
    fit : PlannedFit
    batches : SplitBatches
        Of a table with the columns of the real one, and fewer rows maybe.
    n_rows, n_held_out : int
        Of the real table: all of them, and those to validate on.
    """
    network, device, settings = batches.table.network, batches.table.device, fit.settings
    row = batches.pass_bytes(network) / batches.split_rows / batches.splits_together
    trained = n_rows - n_held_out
    query = settings.training.query_size
    sizes = _defaults.split_sizes(trained, device, settings.context_size, query)
    splits = _defaults.batch_size(settings.batch_size, device, sizes)
    together = math.ceil(splits / min(splits, settings.training.gradient_accumulation_steps))
    step = BACKWARD * row * together * (sizes.context + sizes.query)
    validation = INFERENCE * row * (min(trained, _defaults.max_context(device)) + n_held_out)
    weights = COPIES * sum(weight.nbytes for weight in network.parameters())
    columns = batches.table.members[0].x.shape[1]
    return max(step, validation) + weights + TABLE_COPIES * 8 * n_rows * columns
