"""What a run would do, without training: a dry run with an estimate of time and memory."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from finetune_tabpfn._estimates import measure_fit
from finetune_tabpfn.loggers._base import peak_memory
from finetune_tabpfn.runs._tables import Tables


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
    train, validation = tables.train, tables.validation
    held_out = (None, None) if validation is None else (validation.X, validation.y)
    found = measure_fit(estimator, train.X, train.y, train.weight, train.groups, *held_out)
    fit, part, table = found.fit, found.batches, found.problem.table
    return DryRun(
        task=tables.task.kind,
        columns=train.X.shape[1],
        n_classes=len(getattr(tables.task, "classes", ())),
        rows={**tables.sizes, "train": table.n_rows, "hold-out": table.n_held_out},
        base_model=fit.base_model.name,
        licence=fit.base_model.licence,
        device=str(fit.blueprint.device),
        precision=found.config.precision,
        context_rows=part.sampler.context_size,
        query_rows=part.sampler.query_size,
        batch_size=part.batch_size,
        max_steps=estimator.max_steps,
        steps_per_evaluation=found.config.eval_interval,
        n_folds=len(fit.folds),
        prepare_seconds=found.prepare_seconds,
        step_seconds=found.costs.step,
        validation_seconds=found.costs.validation,
        most_seconds=found.most_seconds,
        memory_mb=peak_memory() + found.memory / 1e6,
    )
