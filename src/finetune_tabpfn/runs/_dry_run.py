"""What a run would do, without training: a dry run with an estimate of time and memory."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import Any

from finetune_tabpfn._planning import plan_fit
from finetune_tabpfn.data._fit_input import read_input
from finetune_tabpfn.finetuning._batches import step_batches
from finetune_tabpfn.finetuning._budget import Timer
from finetune_tabpfn.finetuning._cost import estimate_costs
from finetune_tabpfn.finetuning._fine_tune import loop_config, most_steps
from finetune_tabpfn.finetuning._problem import NothingToTrainError
from finetune_tabpfn.loggers._base import peak_memory
from finetune_tabpfn.runs._tables import Tables
from finetune_tabpfn.training._device import gradients

MEASURING_SECONDS = 20.0  # at most, for each kind of work; what takes longer is extrapolated
COPIES = 7  # of the weights in training: network, gradient, AdamW's two, average, best, base


@dataclass(frozen=True)
class DryRun:
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
    max_steps, steps_per_evaluation, n_folds : int
    prepare_seconds, step_seconds, validation_seconds : float
        Measured: loading and preparing. Estimated: a step, a validation.
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
    steps_per_evaluation: int
    n_folds: int
    prepare_seconds: float
    step_seconds: float
    validation_seconds: float
    most_seconds: float
    memory_mb: float

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-like data."""
        return asdict(self)


@gradients()
def dry_run(estimator: Any, tables: Tables) -> DryRun:
    """Say what fitting an estimator would do: loads, prepares and measures, trains nothing.

    Parameters
    ----------
    estimator : FinetunedTabPFNClassifier or FinetunedTabPFNRegressor
        Not fitted.
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
    given = read_input(
        train.X,
        train.y,
        train.weight,
        train.groups,
        *held_out,
        numeric=tables.task.kind == "regression",
        categorical_features=estimator.categorical_features,
    )
    fit = plan_fit(estimator, given, 0, Timer(None))
    try:
        problem = fit.problem()
    except NothingToTrainError as nothing:
        raise ValueError(
            f"There is nothing to train on ({nothing}); the base model would be deployed as it is."
        ) from nothing
    prepare_seconds, table = time.monotonic() - began, problem.table
    batches = step_batches([problem], fit.settings, 0)
    (part,) = batches.parts
    config = loop_config(batches, fit.settings)
    left = MEASURING_SECONDS
    costs = estimate_costs(part, config.precision, left=lambda: left, to_the_top=True)
    weights = sum(weight.nbytes for weight in table.network.parameters())
    evaluations = math.ceil(fit.settings.max_steps / config.eval_interval)
    seconds = prepare_seconds * (1 + len(train.y) / table.n_rows)
    seconds += (evaluations + 1) * costs.validation + most_steps(fit.settings) * costs.step
    memory = part.pass_bytes(table.network) + COPIES * weights
    return DryRun(
        task=tables.task.kind,
        columns=train.X.shape[1],
        n_classes=len(getattr(tables.task, "classes", ())),
        rows={**tables.sizes, "train": table.n_rows, "hold-out": table.n_held_out},
        base_model=fit.base_model.name,
        licence=fit.base_model.licence,
        device=str(fit.blueprint.device),
        precision=config.precision,
        context_rows=part.sampler.context_size,
        query_rows=part.sampler.query_size,
        batch_size=part.batch_size,
        max_steps=estimator.max_steps,
        steps_per_evaluation=config.eval_interval,
        n_folds=len(fit.folds),
        prepare_seconds=prepare_seconds,
        step_seconds=costs.step,
        validation_seconds=costs.validation,
        most_seconds=min(len(fit.folds) * seconds, estimator.time_limit or math.inf),
        memory_mb=peak_memory() + memory / 1e6,
    )
