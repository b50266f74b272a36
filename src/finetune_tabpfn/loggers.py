"""What is recorded of a fit, and shown: a progress bar, files that grow, the training curve."""

from __future__ import annotations

import csv
import importlib
import json
import math
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import torch
from tqdm import tqdm

from finetune_tabpfn.training import HOOKS, Callback, TrainState

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

GROUP = "finetune_tabpfn.loggers"  # entry points: a name, and a callable that is given the folder


class Logger(Callback):
    """A callback that hears of the whole fit as well; it never stops one, and never harms it."""

    def on_fit_begin(self, run: Mapping[str, Any]) -> None:
        """Before the base model is tuned.

        Parameters
        ----------
        run : mapping
            JSON-like: task, rows, columns, parameters, base_model, versions.
        """

    def on_fit_end(self, estimator: Any) -> None:
        """After the fit: the estimator is fitted."""


class Log(Logger):
    """Turns a fit into records and hands each to `write` as it comes.

    A record is a dict with "event": "fit", "step", "round" or "end". With several folds, rounds
    and steps are numbered anew in each and "fold" says in which.
    """

    fold = -1

    def write(self, record: dict[str, Any]) -> None:
        """Take a record; for subclasses."""
        raise NotImplementedError

    def on_fit_begin(self, run: Mapping[str, Any]) -> None:
        """Record what is fitted."""
        self.fold = -1
        self.write({"event": "fit", **run})

    def on_train_begin(self, state: TrainState) -> None:
        """Count the folds."""
        self.fold += 1

    def after_step(self, state: TrainState) -> None:
        """Record a step."""
        record = {"train_loss": state.train_loss, "learning_rate": state.learning_rate}
        record |= {"grad_norm": state.grad_norm, "step_seconds": state.step_seconds[-1]}
        self.write({"event": "step", "fold": self.fold, "step": state.step, **record})

    def after_round(self, state: TrainState) -> None:
        """Record a round."""
        record = state.history[-1].flat() | {"best_score": state.best_score}
        record |= {"best_step": state.best_step, "peak_memory_mb": peak_memory()}
        self.write({"event": "round", "fold": self.fold, **record})

    def on_fit_end(self, estimator: Any) -> None:
        """Record what the fit came to."""
        names = ("stop_reason_", "deployed_weights_", "base_score_", "best_score_", "best_step_")
        record = {name.rstrip("_"): getattr(estimator, name) for name in (*names, "n_steps_")}
        self.write({"event": "end", **record})


class JsonLines(Log):
    """A line of JSON per record, on disk as soon as it is written; NaN is null.

    Parameters
    ----------
    path : pathlib.Path
        Replaced when a fit begins.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_fit_begin(self, run: Mapping[str, Any]) -> None:
        """Begin the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("")
        super().on_fit_begin(run)

    def write(self, record: dict[str, Any]) -> None:
        """Append a line."""
        finite = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in record.items()
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite, default=str) + "\n")


class Csv(Log):
    """A row per step and per round, on disk as soon as it is written; what has no value is empty.

    Parameters
    ----------
    path : pathlib.Path
        Replaced when a fit begins.
    """

    columns = (
        "event", "fold", "round", "step", "seconds", "step_seconds", "train_loss", "score",
        "best_score", "best_step", "learning_rate", "grad_norm", "log_loss", "accuracy", "roc_auc",
        "rmse", "mae", "r2", "peak_memory_mb",
    )  # fmt: skip

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_fit_begin(self, run: Mapping[str, Any]) -> None:
        """Begin the file with its head."""
        self.fold = -1
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(",".join(self.columns) + "\n")

    def on_fit_end(self, estimator: Any) -> None:
        """Leave the file as it is: it holds steps and rounds alone."""

    def write(self, record: dict[str, Any]) -> None:
        """Append a row."""
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns, extrasaction="ignore").writerow(record)


class Curve(Logger):
    """Writes the training curve as PNG when the fit is over.

    Parameters
    ----------
    path : pathlib.Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_fit_end(self, estimator: Any) -> None:
        """Draw it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        save_curve(estimator, self.path)


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


class Harmless:
    """Passes every call on to a logger until one fails; then warns once and passes none.

    Parameters
    ----------
    logger : Callback
    """

    def __init__(self, logger: object) -> None:
        self.logger, self.failed = logger, False

    def __getattr__(self, hook: str) -> Callable[[Any], None]:
        if hook not in (*HOOKS, "on_fit_begin", "on_fit_end"):
            raise AttributeError(hook)

        def call(argument: Any) -> None:
            method = getattr(self.logger, hook, None)
            if self.failed or method is None:
                return
            try:
                method(argument)
            except Exception as error:
                self.failed = True
                reason = " ".join(str(error).split()) or type(error).__name__
                warnings.warn(
                    f"The logger {type(self.logger).__name__} failed in {hook} and is left out "
                    f"from here on: {reason}",
                    stacklevel=2,
                )

        return call


class Loggers:
    """The loggers of one fit.

    Parameters
    ----------
    loggers : str, object, sequence of them, or None
        Names ("progress", "jsonl", "csv", "plot", "wandb", "tensorboard", or of an entry point of
        the group ``finetune_tabpfn.loggers``), or objects of the callback protocol.
    log_dir : str, pathlib.Path or None
        Folder for what they write.

    Raises
    ------
    ValueError
        For a name that nobody has registered, or without the folder that one of them needs.
    """

    def __init__(
        self, loggers: str | object | Sequence[str | object] | None, log_dir: str | Path | None
    ) -> None:
        several = loggers if isinstance(loggers, (list, tuple)) else [loggers]
        folder = None if log_dir is None else Path(log_dir)
        self.loggers = [
            Harmless(_open(one, folder) if isinstance(one, str) else one)
            for one in several
            if one is not None
        ]

    def begin(self, run: Mapping[str, Any]) -> None:
        """Say what is fitted."""
        for logger in self.loggers:
            logger.on_fit_begin(run)

    def guests(self, attributes: object) -> list[Harmless]:
        """Return the guests of the training loop."""
        return self.loggers

    def end(self, estimator: Any) -> None:
        """Say that the estimator is fitted."""
        for logger in self.loggers:
            logger.on_fit_end(estimator)


def _open(name: str, folder: Path | None) -> object:
    """Return the logger of a name."""
    if name == "progress":
        return ProgressBar()
    if name == "wandb":
        return WandB(folder)
    if name in FILES:
        if folder is None:
            raise ValueError(f'loggers={name!r} needs a folder to write to: log_dir="...".')
        make, file = FILES[name]
        return make(folder / file)
    registered = {point.name: point for point in entry_points(group=GROUP)}
    if name not in registered:
        known = ", ".join(["progress", *FILES, "wandb", *sorted(registered)])
        raise ValueError(f"loggers={name!r} is none of {known}; an object of your own will do.")
    return registered[name].load()(folder)


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


class ProgressBar(Callback):
    """One live line: steps, train loss, score, best score.

    Parameters
    ----------
    total : int, optional
        Steps at most.
    file : text stream, optional
        Standard error if not given.
    """

    def __init__(self, total: int | None = None, file: TextIO | None = None) -> None:
        self.total, self.file = total, file
        self._bar: Any = None

    def on_train_begin(self, state: TrainState) -> None:
        """Show the bar."""
        self._bar = tqdm(
            total=self.total,
            desc="fine-tuning",
            unit="step",
            file=self.file or sys.stderr,
            dynamic_ncols=True,
            mininterval=0.5,
        )

    def after_step(self, state: TrainState) -> None:
        """Move the bar on."""
        self._show(state)
        self._bar.update(1)

    def after_round(self, state: TrainState) -> None:
        """Show the new score."""
        self._show(state)

    def on_train_end(self, state: TrainState) -> None:
        """Say what ended the run and leave the line."""
        if self._bar is not None:
            self._bar.set_description_str(f"fine-tuning ({state.stop_reason})")
            self._bar.close()

    def _show(self, state: TrainState) -> None:
        score = f"{state.history[-1].score:.4g}" if state.history else "-"
        self._bar.set_postfix_str(
            f"loss {state.train_loss:.4g}, score {score}, "
            f"best {state.best_score:.4g} at {state.best_step}",
            refresh=False,
        )


def plot_history(estimator: Any, ax: Axes | None = None) -> Axes:
    """Plot the training curve of a fitted estimator.

    Parameters
    ----------
    estimator : FinetunedTabPFNClassifier or FinetunedTabPFNRegressor
        Fitted.
    ax : matplotlib.axes.Axes, optional
        Drawn on a new figure if not given.

    Returns
    -------
    matplotlib.axes.Axes
        The score on the left axis, with the base's score as a line and the best round marked;
        the train loss on a second axis. A line for each fold.
    """
    history: pd.DataFrame = estimator.history_
    ax = ax if ax is not None else _new_axes()
    loss_ax = ax.twinx()
    ax.axhline(estimator.base_score_, color="gray", ls="--", lw=1, label="base model")
    for fold, rounds in history.groupby("fold"):
        hidden = "_" if fold else ""  # matplotlib leaves labels that begin so out of the legend
        trained, best = rounds.dropna(subset="train_loss"), rounds.loc[[rounds["score"].idxmax()]]
        loss_ax.plot(
            trained["step"],
            trained["train_loss"],
            color="tab:orange",
            alpha=0.7,
            label=f"{hidden}train loss",
        )
        ax.plot(
            rounds["step"],
            rounds["score"],
            color="tab:blue",
            marker="o",
            ms=3,
            label=f"{hidden}score",
        )
        ax.plot(
            best["step"], best["score"], "*", color="tab:green", ms=14, label=f"{hidden}best round"
        )
    ax.set_xlabel("step (optimizer updates)")
    ax.set_ylabel(f"score on the hold-out ({estimator.scoring_}), greater is better")
    loss_ax.set_ylabel("train loss (nats per query row)")
    ax.set_title(f"Fine-tuning of {estimator.base_model_.name}: {estimator.stop_reason_}")
    shown = [line for side in (ax, loss_ax) for line in side.get_legend_handles_labels()[0]]
    ax.legend(handles=shown, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=4)
    return ax


def save_curve(estimator: Any, path: Path) -> None:
    """Write the training curve of a fitted estimator as PNG."""
    figure: Any = plot_history(estimator).figure
    figure.savefig(path, dpi=120, bbox_inches="tight", format="png")


def _new_axes() -> Axes:
    """Return axes on a figure of their own, off pyplot: no window, nothing to close."""
    from matplotlib.figure import Figure

    return Figure(figsize=(8, 5), layout="constrained").add_subplot()


FILES: dict[str, tuple[Callable[[Path], Logger], str]] = {
    "jsonl": (JsonLines, "log.jsonl"),
    "csv": (Csv, "log.csv"),
    "plot": (Curve, "curve.png"),
    "tensorboard": (TensorBoard, "tensorboard"),
}
