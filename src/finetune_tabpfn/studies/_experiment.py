"""One experiment of a study: fits, metrics, and the record of it, wherever a worker runs it."""

from __future__ import annotations

import platform
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from finetune_tabpfn.models._export import as_plain, now
from finetune_tabpfn.studies._metrics import PRIMARY
from finetune_tabpfn.studies._study_records import (
    FORMAT,
    RESULTS,
    Experiment,
    new_folder,
    read_experiment,
)
from finetune_tabpfn.studies._study_series import SeriesTables
from finetune_tabpfn.studies._study_tables import StudyTables
from finetune_tabpfn.training._stop_reasons import StopReason
from finetune_tabpfn.utils._files import save_whole
from finetune_tabpfn.utils._warn import warn
from finetune_tabpfn.utils._workers import launched

PACKAGES = ("finetune-tabpfn", "tabpfn", "torch", "scikit-learn", "numpy", "pandas")
PRUNED = "pruned"  # what a callback says that ends a fit which is behind the others
# of a fit, what is recorded
FITTED = (
    "stop_reason_", "deployed_weights_", "best_step_", "n_steps_", "learning_rate_",
    "base_score_", "best_score_", "scoring_",
)  # fmt: skip
Proposed = tuple[dict[str, Any], Sequence[object]]


@dataclass(frozen=True)
class Job:
    """An experiment to run, as it is sent to a worker.

    Attributes
    ----------
    base_dir : pathlib.Path
    name, notes : str
    tables : StudyTables or SeriesTables
    settings : dict or callable
        Of the estimator, each by a name of its own; or what returns them when the worker begins,
        with the callbacks of the fit.
    key : str
    insights : dict
    save_models, verbose : bool
    place : str
        Of the experiment in its search, for the lines that tell of it.
    search : str, optional
    number : int, optional
    """

    base_dir: Path
    name: str
    notes: str
    tables: StudyTables | SeriesTables
    settings: dict[str, Any] | Callable[[], Proposed]
    key: str
    insights: dict[str, Any]
    save_models: bool
    verbose: bool
    place: str = ""
    search: str | None = None
    number: int | None = None


@dataclass
class _Outcome:
    """What is known of an experiment so far; what a failed one came to before it failed stays."""

    status: str = "done"
    folds: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    error: str | None = None


def run_jobs(jobs: Sequence[Job]) -> list[Experiment]:
    """Run experiments on the workers that joblib has been given, and read their records."""
    if launched()[1] > 1:
        raise ValueError(
            "A study gives each worker of joblib an experiment of its own; without torchrun, "
            "joblib.parallel_config(n_jobs=2) would do."
        )
    folders = joblib.Parallel()(joblib.delayed(run_job)(job) for job in jobs)
    found = [read_experiment(folder / RESULTS) for folder in folders]
    failed = [one for one in found if one.status == "failed"]
    if failed:
        warn(f"{len(failed)} of {len(found)} experiments failed; {failed[0].id}: {failed[0].error}")
    return found


def run_job(job: Job) -> Path:
    """Run an experiment and write its record; return its folder.

    Whatever a fit raises is recorded. Ctrl-C is not: an experiment that was interrupted leaves no
    record, and so the search runs it again.
    """
    began, started = time.monotonic(), now()
    folder = new_folder(job.base_dir, job.name)
    settings: dict[str, Any] = {}
    outcome = _Outcome()
    try:
        settings, callbacks = job.settings() if callable(job.settings) else (job.settings, ())
        _tell(job, f"{folder.name}: begins, {in_words(settings)}")
        _fit_folds(job, settings, callbacks, folder, outcome)
    except Exception as error:  # the search goes on
        outcome.status = "failed"
        outcome.error = f"{type(error).__name__}: {' '.join(str(error).split())}"
    seconds = time.monotonic() - began
    experiment = _record(job, settings, outcome, folder, started, seconds)
    experiment.save()
    _tell(job, f"{folder.name}: {_summary(experiment)}, {seconds:.1f} s")
    return folder


def in_words(settings: dict[str, Any]) -> str:
    """Return settings in one line."""
    return ", ".join(f"{name}={as_plain(value)}" for name, value in settings.items()) or "defaults"


def _fit_folds(
    job: Job,
    settings: dict[str, Any],
    callbacks: Sequence[object],
    folder: Path,
    outcome: _Outcome,
) -> None:
    """Fit and score every fold; a pruned experiment ends with its first."""
    for number in range(job.tables.n_folds):
        estimator = _fitted(job, settings, callbacks if number == 0 else (), folder, number)
        tuned = tuned_by(estimator)
        outcome.history += tuned.history_.assign(fold=number).to_dict("records")
        fit = {name.rstrip("_"): getattr(tuned, name) for name in FITTED}
        if PRUNED in tuned.stop_reason_:
            outcome.status = "pruned"
            outcome.folds.append({"fit": fit})
            return
        outcome.folds.append({**job.tables.scores(estimator, number), "fit": fit})
        if job.save_models:
            name = "model.joblib" if job.tables.n_folds == 1 else f"model-{number + 1}.joblib"
            save_whole(folder / name, partial(joblib.dump, estimator))
            outcome.models.append(name)


def _fitted(
    job: Job, settings: dict[str, Any], callbacks: Sequence[object], folder: Path, number: int
) -> Any:
    """Return an estimator that is fitted to a fold."""
    own = {**settings, "callbacks": [*(settings.get("callbacks") or ()), *callbacks] or None}
    if settings.get("loggers"):
        own["log_dir"] = folder if job.tables.n_folds == 1 else folder / f"fold-{number + 1}"
    estimator = job.tables.new_estimator(own)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Fine-tuning was interrupted")  # raised below
        job.tables.fit(estimator, number)
    tuned = tuned_by(estimator)
    if StopReason.INTERRUPTED.value in tuned.stop_reason_:
        raise KeyboardInterrupt
    for each in (estimator, tuned):
        each.set_params(callbacks=settings.get("callbacks"))  # those of a search end with it
    return estimator


def tuned_by(estimator: Any) -> Any:
    """Return the estimator that was fine-tuned: itself, or the regressor of a forecaster."""
    return getattr(estimator, "regressor_", estimator)


def _record(
    job: Job,
    settings: dict[str, Any],
    outcome: _Outcome,
    folder: Path,
    started: str,
    seconds: float,
) -> Experiment:
    # one that failed in its second fold has no metrics to be compared by
    scored = outcome.folds if outcome.status == "done" else []
    means = {
        part: _over_folds([fold[part] for fold in scored if part in fold], np.mean)
        for part in ("train", "validation", "test")
    }
    spread = _over_folds([fold["validation"] for fold in scored], _spread)
    return Experiment(
        format=FORMAT,
        id=folder.name,
        name=job.name,
        status=outcome.status,  # type: ignore[arg-type]
        time=started,
        seconds=round(seconds, 3),
        notes=job.notes,
        table=job.tables.described(),
        task=job.tables.task,  # type: ignore[arg-type]
        target=job.tables.target,
        parameters=as_plain(settings),
        **means,
        validation_spread=spread if len(scored) > 1 else {},
        folds=outcome.folds,
        history=outcome.history,
        insights=job.insights,
        models=outcome.models,
        error=outcome.error,
        versions={name: _version(name) for name in PACKAGES}
        | {"python": platform.python_version()},
        key=job.key,
        search=job.search,
        number=job.number,
        folder=folder,
    )


def _over_folds(
    folds: list[dict[str, float]], statistic: Callable[[list[float]], Any]
) -> dict[str, float | None]:
    """Return a statistic of each metric; None where a fold lacks it."""
    names = folds[0] if folds else {}
    found = {name: float(statistic([fold.get(name, np.nan) for fold in folds])) for name in names}
    return {name: value if np.isfinite(value) else None for name, value in found.items()}


def _spread(values: list[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else np.nan


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0"


def _summary(experiment: Experiment) -> str:
    if experiment.status != "done":
        return f"{experiment.status} {experiment.error or ''}".strip()
    metric = f"validation_{PRIMARY[experiment.task]}"
    value = experiment.metric(metric)
    return f"{metric} {'none' if value is None else f'{value:.5g}'}"


def _tell(job: Job, line: str) -> None:
    """Say a line in one piece, so that those of several workers do not interleave."""
    if job.verbose:
        sys.stderr.write(f"{job.place} {line}\n".lstrip())
        sys.stderr.flush()
