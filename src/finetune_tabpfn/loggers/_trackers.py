"""Loggers for experiment trackers, whose libraries are imported when they are asked for."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from finetune_tabpfn.loggers._base import Log
from finetune_tabpfn.utils._optional import require
from finetune_tabpfn.utils._text import to_json

PROJECT = "finetune-tabpfn"  # where an experiment tracker is not told another
WANDB_PREFIX = "finetune_tabpfn/"  # before the names in a run of the user's
MLFLOW_EXPERIMENT = "MLFLOW_EXPERIMENT_ID"
MLFLOW_PARENT = "mlflow.parentRunId"  # the tag by which MLflow nests runs
MLFLOW_TEXT = 500  # characters that the oldest servers take of a parameter
MLFLOW_BATCH = 100  # items that a server takes at once


class WandB(Log):
    """A run of Weights & Biases: configuration, every step and evaluation, what it came to.

    Where the user has a run open, it is logged into, under names that begin with
    "finetune_tabpfn/", and stays open.

    Parameters
    ----------
    folder : pathlib.Path, optional
        For wandb's files.

    Notes
    -----
    wandb's own environment variables choose project, mode ("offline") and the rest;
    WANDB_LOG_MODEL=end adds the fine-tuned network as an artifact.
    """

    def __init__(self, folder: Path | None) -> None:
        self.wandb = require("wandb", "loggers='wandb'")
        self.folder = folder

    def on_fit_begin(self, run: Mapping[str, Any]) -> None:
        """Begin a run, or use the one that is open."""
        self.is_visitor = self.wandb.run is not None
        self.prefix = WANDB_PREFIX if self.is_visitor else ""
        if self.is_visitor:
            self.run = self.wandb.run
            # an earlier fit in the same run may have had other parameters
            self.run.config.update({WANDB_PREFIX.rstrip("/"): dict(run)}, allow_val_change=True)
            return
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        self.run = self.wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            config=dict(run),
            dir=self.folder,
            reinit="create_new",
        )

    def write(self, record: dict[str, Any]) -> None:
        """Log a record; the names of its numbers begin with "step/" or "evaluation/"."""
        event = record.pop("event")
        if event == "end":
            self._summarise(record)
        else:
            record = {f"{event}/{name}": value for name, value in record.items()}
            self.run.log({self.prefix + name: value for name, value in record.items()})

    def _summarise(self, record: Mapping[str, Any]) -> None:
        self.run.summary.update({self.prefix + name: value for name, value in record.items()})

    def on_fit_end(self, estimator: Any) -> None:
        """Write the summary and end the run, if it is our own."""
        super().on_fit_end(estimator)
        if os.environ.get("WANDB_LOG_MODEL", "false").lower() not in ("false", "0", ""):
            self._log_model(estimator)
        if not self.is_visitor:
            self.run.finish()

    def on_fit_error(self, error: BaseException) -> None:
        """End the run as failed, if it is our own."""
        self._summarise({"error": _said(error)})
        if not self.is_visitor:
            self.run.finish(exit_code=1)

    def _log_model(self, estimator: Any) -> None:
        """Add the fine-tuned network as an artifact of the run."""
        artifact = self.wandb.Artifact(f"model-{self.run.id}", type="model")
        with tempfile.TemporaryDirectory() as folder:
            path = estimator.save_model(Path(folder) / estimator.base_model_.path.name)
            artifact.add_file(str(path), name=path.name)  # takes a copy
        self.run.log_artifact(artifact)


class TensorBoard(Log):
    """Curves for TensorBoard: what steps and evaluations record, by step.

    Parameters
    ----------
    folder : pathlib.Path
    """

    def __init__(self, folder: Path) -> None:
        self.writers = require(
            "tensorboard", "loggers='tensorboard'", module="torch.utils.tensorboard"
        )
        self.folder = folder

    def on_fit_begin(self, run: Mapping[str, Any]) -> None:
        """Begin a file of events."""
        self.writer = self.writers.SummaryWriter(str(self.folder))
        self.writer.add_text("fit", f"```json\n{to_json(run)}\n```")

    def write(self, record: dict[str, Any]) -> None:
        """Add the numbers of a step or evaluation."""
        event, fold, step = record.pop("event"), record.pop("fold"), record.pop("step")
        group = event if fold == 0 else f"{event} of fold {fold}"
        for name, value in record.items():
            if math.isfinite(value):
                self.writer.add_scalar(f"{group}/{name}", value, step)
        self.writer.flush()

    def on_fit_end(self, estimator: Any) -> None:
        """Add what the fit came to and close the file."""
        self.writer.add_scalar("fit/base_score", estimator.base_score_)
        self.writer.add_scalar("fit/best_score", estimator.best_score_)
        self.writer.add_text("fit/stop_reason", estimator.stop_reason_)
        self.writer.close()

    def on_fit_error(self, error: BaseException) -> None:
        """Add what ended the fit and close the file."""
        self.writer.add_text("fit/error", _said(error))
        self.writer.close()


class MLflow(Log):
    """A run of MLflow: parameters, the metrics of every step and evaluation, what it came to.

    Parameters
    ----------
    folder : pathlib.Path, optional
        For a database of its own, "mlflow.db", where the user has told MLflow of no other place.

    Notes
    -----
    Where the user has a run open, this one is nested in it. Else it is in the experiment that
    `mlflow.set_experiment`, MLFLOW_EXPERIMENT_ID or MLFLOW_EXPERIMENT_NAME say. What is open or set
    stays so. What steps record is sent with their evaluation.
    """

    def __init__(self, folder: Path | None) -> None:
        self.mlflow = require("mlflow", "loggers='mlflow'")
        self.folder = folder
        self.metrics: list[Any] = []

    def on_fit_begin(self, run: Mapping[str, Any]) -> None:
        """Begin a run, in the one that is open."""
        around = self.mlflow.active_run()
        chosen = os.environ.get(MLFLOW_EXPERIMENT)  # which set_experiment sets as well
        place = None
        if not (self.folder is None or around or chosen or self.mlflow.is_tracking_uri_set()):
            self.folder.mkdir(parents=True, exist_ok=True)
            place = f"sqlite:///{self.folder.resolve() / 'mlflow.db'}"
        self.client = self.mlflow.MlflowClient(tracking_uri=place)
        if around:
            parent = {MLFLOW_PARENT: around.info.run_id}
            own = self.client.create_run(around.info.experiment_id, tags=parent)
        else:
            own = self.client.create_run(chosen or self._experiment())
        self.run_id = own.info.run_id
        parameters = [
            self.mlflow.entities.Param(name, str(value)[:MLFLOW_TEXT]) for name, value in _flat(run)
        ]
        self._send(params=parameters)

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        there = self.client.get_experiment_by_name(name)
        return str(there.experiment_id if there else self.client.create_experiment(name))

    def write(self, record: dict[str, Any]) -> None:
        """Collect the numbers of a step; send them with those of an evaluation."""
        event, fold, step = record.pop("event"), record.pop("fold"), record.pop("step")
        group = event if fold == 0 else f"{event} of fold {fold}"
        now = round(1000 * time.time())
        self.metrics += [
            self.mlflow.entities.Metric(f"{group}/{name}", value, now, step)
            for name, value in record.items()
            if math.isfinite(value)
        ]
        if event == "evaluation":
            self._send(metrics=self.metrics)
            self.metrics = []

    def _send(self, **kinds: list[Any]) -> None:
        for kind, items in kinds.items():
            for start in range(0, len(items), MLFLOW_BATCH):
                batch = {kind: items[start : start + MLFLOW_BATCH]}
                self.client.log_batch(self.run_id, **batch)

    def on_fit_end(self, estimator: Any) -> None:
        """Add what the fit came to and end the run."""
        self._send(metrics=self.metrics)
        for name in ("base_score", "best_score"):
            self.client.log_metric(self.run_id, name, getattr(estimator, f"{name}_"))
        for name in ("stop_reason", "deployed_weights"):
            self.client.set_tag(self.run_id, name, getattr(estimator, f"{name}_"))
        self.client.set_terminated(self.run_id)

    def on_fit_error(self, error: BaseException) -> None:
        """End the run as failed, or as killed by Ctrl-C."""
        self._send(metrics=self.metrics)
        self.client.set_tag(self.run_id, "error", _said(error)[:MLFLOW_TEXT])
        killed = isinstance(error, KeyboardInterrupt)
        self.client.set_terminated(self.run_id, "KILLED" if killed else "FAILED")


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _flat(run: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested mappings under names like "parameters.max_steps"."""
    for name, value in run.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
