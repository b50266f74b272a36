"""What a run would do, without training: a dry run with a forecast of time and memory."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from finetune_tabpfn import _tabpfn, finetuning, recipe
from finetune_tabpfn.callbacks import Timer
from finetune_tabpfn.estimators import MIN_TRAIN_ROWS
from finetune_tabpfn.forecasting import forecast
from finetune_tabpfn.holdout import hold_outs
from finetune_tabpfn.inputs import LabelledTable
from finetune_tabpfn.records import peak_memory
from finetune_tabpfn.run_tables import Tables

PROBE_LIMIT = 60.0  # the seconds of a fit whose probes these are; they take a small part of it
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
    table, task, blueprint, (training, held_out) = _begun(estimator, tables)
    prepared = _tabpfn.prepare(
        blueprint, task.among(training.y), training.X, training.y, held_out.X
    )
    prepare_seconds = time.monotonic() - began
    batches = finetuning._batches(prepared, estimator, training.groups, 0, None)
    finish = prepare_seconds * len(table.y) / len(training.y)
    costs = forecast(prepared, batches, prepared.network, limit=PROBE_LIMIT, finish=finish)
    config = finetuning._config(prepared, batches, estimator, Timer(PROBE_LIMIT), {})
    weights = sum(weight.nbytes for weight in prepared.network.parameters())
    rounds = math.ceil(estimator.max_steps / config.eval_interval)
    seconds = prepare_seconds + costs.finish + (rounds + 1) * costs.validation
    seconds += _steps(estimator) * costs.step
    memory = batches.pass_bytes(prepared.network) + COPIES * weights
    return Plan(
        task=task.kind,
        columns=table.X.shape[1],
        n_classes=len(getattr(task, "classes", ())),
        rows={**tables.sizes, "train": len(training.y), "hold-out": len(held_out.y)},
        base_model=estimator.base_model_.name,
        licence=estimator.base_model_.licence,
        device=str(recipe.device(estimator.device)),
        precision=config.precision,
        context_rows=batches.sampler.context_size,
        query_rows=batches.sampler.query_size,
        batch_size=estimator.batch_size,
        max_steps=estimator.max_steps,
        steps_per_round=config.eval_interval,
        n_folds=estimator.n_folds,
        prepare_seconds=prepare_seconds,
        step_seconds=costs.step,
        validation_seconds=costs.validation,
        most_seconds=min(estimator.n_folds * seconds, estimator.time_limit or math.inf),
        memory_mb=peak_memory() + memory / 1e6,
    )


def _begun(
    estimator: Any, tables: Tables
) -> tuple[LabelledTable, Any, _tabpfn.Blueprint, tuple[LabelledTable, LabelledTable]]:
    """Go the first steps of `fit`: check, load, hold out (of several folds the first)."""
    train, validation = tables.train, tables.validation
    X_val, y_val = (None, None) if validation is None else (validation.X, validation.y)
    table, checked = estimator._check_tables(
        train.X, train.y, train.weight, train.groups, X_val, y_val
    )
    task = estimator._task(table, checked)
    blueprint = estimator._load_base_model(task, table, 0, Timer(None))
    training, held_out = hold_outs(table, checked, task, estimator, 0)[0]
    if len(training.y) < MIN_TRAIN_ROWS or not len(held_out.y):
        raise ValueError(
            f"The table holds {len(table.y)} rows, too few to train on; the base model would be "
            "deployed as it is."
        )
    if len(np.unique(training.y)) == 1:
        raise ValueError("The target is constant; the base model would be deployed as it is.")
    return table, task, blueprint, (training, held_out)


def _steps(estimator: Any) -> int:
    """Return how many steps a fold makes at most, those that try learning rates among them."""
    probes = len(finetuning.PROBED_RATES) + 1 if estimator.learning_rate == "auto" else 0
    return int(estimator.max_steps + probes * finetuning.PROBE_STEPS)
