"""What a run would do, without training: a dry run with a forecast of time and memory."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import Any

from finetune_tabpfn.finetuning import _fine_tune
from finetune_tabpfn.finetuning import _defaults
from finetune_tabpfn.training._callbacks import Timer
from finetune_tabpfn.finetuning._problem import NothingToTrainError
from finetune_tabpfn.finetuning._cost import forecast
from finetune_tabpfn.loggers._base import peak_memory
from finetune_tabpfn.runs._tables import Tables
from finetune_tabpfn.training._loop import gradients

MEASURING_SECONDS = 20.0  # at most, for each kind of work; what takes longer is extrapolated
COPIES = 7  # of the weights in training: network, gradient, AdamW's two, average, best, base


@dataclass(frozen=True)
class Plan:
    """What a fit would do.

    Attributes
    ----------
    task : str
    columns, n_classes : int
        No classes in regression.
    rows : dict of str to int
        "train", "hold-out" (the validation rows) and "test".
    base_model, licence, device, precision : str
    context_rows, query_rows, batch_size : int
        Of a split, and splits per step.
    max_steps, steps_per_round, n_folds : int
    prepare_seconds, step_seconds, validation_seconds : float
        Measured: loading and preparing. Forecast: a step, a validation.
    most_seconds : float
        For the whole fit, if nothing stops it before `max_steps`; at most `time_limit`.
    memory_mb : float
        The most that the process takes, or the GPU where there is one.
    """

    task: str
    columns: int
    n_classes: int
    rows: dict[str, int]
    base_model: str
    licence: str
    device: str
    precision: str
    context_rows: int
    query_rows: int
    batch_size: int
    max_steps: int
    steps_per_round: int
    n_folds: int
    prepare_seconds: float
    step_seconds: float
    validation_seconds: float
    most_seconds: float
    memory_mb: float

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-like data."""
        return asdict(self)


@gradients()
def plan(estimator: Any, tables: Tables) -> Plan:
    """Say what fitting an estimator would do: loads, prepares and measures, trains nothing.

    Parameters
    ----------
    estimator : FinetunedTabPFNClassifier or FinetunedTabPFNRegressor
        Not fitted; it notes the base model and the columns.
    tables : Tables

    Raises
    ------
    ValueError
        For what `fit` would refuse.
    """
    began = time.monotonic()
    estimator._validate_params()
    train, validation = tables.train, tables.validation
    held_out = (None, None) if validation is None else (validation.X, validation.y)
    rows = (train.X, train.y, train.weight, train.groups, *held_out)
    try:
        course, _ = estimator._first_course(0, Timer(None), None, *rows)
    except NothingToTrainError as nothing:
        raise ValueError(
            f"There is nothing to train on ({nothing}); the base model would be deployed as it is."
        ) from nothing
    prepare_seconds, table = time.monotonic() - began, course.table
    batches = _fine_tune.step_batches([course], estimator, 0, None)
    (part,) = batches.parts
    config = _fine_tune.loop_config(batches, estimator, {})
    costs = forecast(part, config.precision, left=lambda: MEASURING_SECONDS, to_the_top=True)
    weights = sum(weight.nbytes for weight in table.network.parameters())
    rounds = math.ceil(estimator.max_steps / config.eval_interval)
    seconds = prepare_seconds * (1 + len(train.y) / table.n_rows)
    seconds += (rounds + 1) * costs.validation + _steps(estimator) * costs.step
    memory = part.pass_bytes(table.network) + COPIES * weights
    return Plan(
        task=tables.task.kind,
        columns=train.X.shape[1],
        n_classes=len(getattr(tables.task, "classes", ())),
        rows={**tables.sizes, "train": table.n_rows, "hold-out": table.n_held_out},
        base_model=estimator.base_model_.name,
        licence=estimator.base_model_.licence,
        device=str(_defaults.device(estimator.device)),
        precision=config.precision,
        context_rows=part.sampler.context_size,
        query_rows=part.sampler.query_size,
        batch_size=part.batch_size,
        max_steps=estimator.max_steps,
        steps_per_round=config.eval_interval,
        n_folds=estimator.n_folds,
        prepare_seconds=prepare_seconds,
        step_seconds=costs.step,
        validation_seconds=costs.validation,
        most_seconds=min(estimator.n_folds * seconds, estimator.time_limit or math.inf),
        memory_mb=peak_memory() + memory / 1e6,
    )


def _steps(estimator: Any) -> int:
    """Return how many steps a fold makes at most, those that try learning rates among them."""
    probes = len(_fine_tune.PROBED_RATES) + 1 if estimator.learning_rate == "auto" else 0
    return int(estimator.max_steps + probes * _fine_tune.PROBE_STEPS)
