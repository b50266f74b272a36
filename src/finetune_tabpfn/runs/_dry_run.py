"""What a run would do, without training: a dry run with an estimate of time and memory."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from finetune_tabpfn._estimates import MeasuredFit, measure_fit
from finetune_tabpfn.forecasting._backtest import first_window
from finetune_tabpfn.loggers._base import peak_memory
from finetune_tabpfn.runs._config import RunConfig
from finetune_tabpfn.runs._forecast import make_forecaster, read_series
from finetune_tabpfn.runs._run import make_estimator
from finetune_tabpfn.runs._tables import Tables, read_tables


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
    n_fits : int
        Of the run: one, and of a forecast those of its backtest.
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
    n_fits: int = 1

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
    return _described(
        found,
        estimator,
        task=tables.task.kind,
        columns=train.X.shape[1],
        n_classes=len(getattr(tables.task, "classes", ())),
        rows=tables.sizes,
    )


def dry_run_of(config: RunConfig) -> DryRun:
    """Say what a run would do, whatever its task.

    Raises
    ------
    ValueError
        For what the run would refuse.
    """
    if config.data.task != "forecasting":
        tables = read_tables(config)
        return dry_run(make_estimator(config, tables), tables)
    table, forecaster = read_series(config), make_forecaster(config)
    forecaster._validate_params()
    settings: Any = config.forecasting
    target, horizon, n_windows = config.data.target, settings.prediction_length, settings.n_windows
    if n_windows:  # the first has the fewest rows to learn from
        known = first_window(forecaster, table, target, horizon, n_windows, settings.max_train_size)
        forecaster._rows_to_learn(known, target, horizon)
    X, learned, n_held_out = forecaster._rows_to_learn(table, target, horizon)
    regressor = forecaster._regressor(n_held_out)
    return _described(
        measure_fit(regressor, X, learned),
        regressor,
        task="forecasting",
        columns=X.shape[1],
        n_classes=0,
        rows={},
        n_fits=1 + (n_windows if settings.refit else min(n_windows, 1)),
    )


def _described(
    found: MeasuredFit, estimator: Any, *, rows: dict[str, int], **others: Any
) -> DryRun:
    """Return what a measured fit would do."""
    fit, part, table = found.fit, found.batches, found.problem.table
    return DryRun(
        **others,
        rows={**rows, "train": table.n_rows, "hold-out": table.n_held_out},
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
