"""A fit as records, and files that grow by one after the other."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from finetune_tabpfn.training._callbacks import Callback
from finetune_tabpfn.training._state import TrainState
from finetune_tabpfn.utils._text import to_json_line


class Logger(Callback):
    """A callback that hears of the whole fit as well; it never stops one, and never harms it."""

    def on_fit_begin(self, run: Mapping[str, Any]) -> None:
        """Before the base model is tuned.

        Parameters
        ----------
        run : mapping
            JSON-like: task, rows, columns, folds, parameters, base_model, versions, and "resumed",
            whether an earlier fit goes on.
        """

    def on_fit_end(self, estimator: Any) -> None:
        """After the fit: the estimator is fitted.

        Parameters
        ----------
        estimator : FinetunedTabPFNClassifier or FinetunedTabPFNRegressor
        """

    def on_fit_error(self, error: BaseException) -> None:
        """Instead of `on_fit_end`, when the fit ends by an exception.

        Parameters
        ----------
        error : BaseException
            What ended it; it is raised after this.
        """


class Log(Logger):
    """Turns a fit into records and hands each to `write` as it comes.

    A record is a dict with "event": "fit", "step", "evaluation", and "end" or "failed". With
    several folds, evaluations and steps are numbered anew in each and "fold" says in which.
    """

    def write(self, record: dict[str, Any]) -> None:
        """Take a record; for subclasses."""
        raise NotImplementedError

    def on_fit_begin(self, run: Mapping[str, Any]) -> None:
        """Record what is fitted."""
        self.write({"event": "fit", **run})

    def after_step(self, state: TrainState) -> None:
        """Record a step."""
        record = {"train_loss": state.train_loss, "learning_rate": state.learning_rate}
        seconds = state.step_seconds[-1]
        record |= {"grad_norm": state.grad_norm, "step_seconds": seconds}
        record["rows_per_second"] = state.step_rows / seconds if seconds else math.nan
        self.write({"event": "step", "fold": state.fold, "step": state.step, **record})

    def after_evaluation(self, state: TrainState) -> None:
        """Record an evaluation."""
        record = state.history[-1].flat() | {"best_score": state.best_score}
        record |= {"best_step": state.best_step, "peak_memory_mb": peak_memory()}
        self.write({"event": "evaluation", "fold": state.fold, **record})

    def on_fit_end(self, estimator: Any) -> None:
        """Record what the fit came to."""
        names = ("stop_reason_", "deployed_weights_", "base_score_", "best_score_", "best_step_")
        record = {name.rstrip("_"): getattr(estimator, name) for name in (*names, "n_steps_")}
        self.write({"event": "end", **record})

    def on_fit_error(self, error: BaseException) -> None:
        """Record what ended the fit."""
        self.write({"event": "failed", "error": f"{type(error).__name__}: {error}"})


class JsonLines(Log):
    """A line of JSON per record, on disk as soon as it is written; NaN is null.

    Parameters
    ----------
    path : pathlib.Path
        Replaced when a fit begins, unless that goes on from a checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_fit_begin(self, run: Mapping[str, Any]) -> None:
        """Begin the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not run.get("resumed"):
            self.path.write_text("")
        super().on_fit_begin(run)

    def write(self, record: dict[str, Any]) -> None:
        """Append a line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(to_json_line(record))


class Csv(Log):
    """A row per step and evaluation, on disk as soon as it is written; what has no value is empty.

    Parameters
    ----------
    path : pathlib.Path
        Replaced when a fit begins, unless that goes on from a checkpoint.
    """

    columns = (
        "event", "fold", "evaluation", "step", "seconds", "step_seconds", "train_loss", "score",
        "best_score", "best_step", "learning_rate", "grad_norm", "rows_per_second", "log_loss",
        "accuracy", "roc_auc", "rmse", "mae", "r2", "nll", "peak_memory_mb",
    )  # fmt: skip

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_fit_begin(self, run: Mapping[str, Any]) -> None:
        """Begin the file with its head."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not (run.get("resumed") and self.path.is_file()):
            self.path.write_text(",".join(self.columns) + "\n")

    def on_fit_end(self, estimator: Any) -> None:
        """Leave the file as it is: it holds steps and evaluations alone."""

    def on_fit_error(self, error: BaseException) -> None:
        """Leave the file as it is."""

    def write(self, record: dict[str, Any]) -> None:
        """Append a row."""
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns, extrasaction="ignore").writerow(record)


def peak_memory() -> float:
    """Return the most memory that was taken so far, in MB: of the GPU if torch has used one.

    NaN where the system does not tell.
    """
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 1e6
    try:
        import resource
    except ImportError:  # Windows
        return math.nan
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
