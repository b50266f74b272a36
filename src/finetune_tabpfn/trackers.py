"""Loggers for experiment trackers, whose libraries are imported when they are asked for."""

from __future__ import annotations

import importlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finetune_tabpfn.records import Log


class WandB(Log):
    """A run of Weights & Biases: configuration, every step and round, what it came to.

    Parameters
    ----------
    folder : pathlib.Path, optional
        For wandb's files.

    Notes
    -----
    wandb's own environment variables choose project, mode ("offline") and the rest.
    """

    def __init__(self, folder: Path | None) -> None:
        self.wandb = _library("wandb", "wandb")
        self.folder = folder

    def on_fit_begin(self, run: Mapping[str, Any]) -> None:
        """Begin a run."""
        self.fold = -1
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        self.run = self.wandb.init(
            project=os.environ.get("WANDB_PROJECT", "finetune-tabpfn"),
            config=dict(run),
            dir=self.folder,
            reinit="create_new",
        )

    def write(self, record: dict[str, Any]) -> None:
        """Log a record; the names of its numbers begin with "step/" or "round/"."""
        event = record.pop("event")
        if event == "end":
            self.run.summary.update(record)
        else:
            self.run.log({f"{event}/{name}": value for name, value in record.items()})

    def on_fit_end(self, estimator: Any) -> None:
        """Write the summary and end the run."""
        super().on_fit_end(estimator)
        self.run.finish()


class TensorBoard(Log):
    """Curves for TensorBoard: what steps and rounds record, by step.

    Parameters
    ----------
    folder : pathlib.Path
    """

    def __init__(self, folder: Path) -> None:
        self.writers = _library("torch.utils.tensorboard", "tensorboard")
        self.folder = folder

    def on_fit_begin(self, run: Mapping[str, Any]) -> None:
        """Begin a file of events."""
        self.fold = -1
        self.writer = self.writers.SummaryWriter(str(self.folder))
        self.writer.add_text("fit", f"```json\n{json.dumps(run, indent=2, default=str)}\n```")

    def write(self, record: dict[str, Any]) -> None:
        """Add the numbers of a step or round."""
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


def _library(module: str, package: str) -> Any:
    """Import what a logger needs."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"loggers={package!r} needs the library {package}: pip install {package}."
        ) from error
