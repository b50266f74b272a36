"""The loggers of a fit: by name, by entry point or one's own; and the progress bar."""

from __future__ import annotations

import itertools
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TextIO

from finetune_tabpfn.loggers._base import Csv, JsonLines, Logger
from finetune_tabpfn.loggers._plot import Curve
from finetune_tabpfn.loggers._trackers import MLflow, TensorBoard, WandB
from finetune_tabpfn.training._callbacks import HOOKS
from finetune_tabpfn.training._state import TrainState
from finetune_tabpfn.utils._files import make_first_free
from finetune_tabpfn.utils._progress import tqdm
from finetune_tabpfn.utils._warn import warn
from finetune_tabpfn.utils._workers import worker_name

FITS = itertools.count(1)  # of this process that say lines
GROUP = "finetune_tabpfn.loggers"  # entry points: a name, and a callable that is given the folder
LOGGER_HOOKS = (*HOOKS, "on_fit_begin", "on_fit_end", "on_fit_error")
FILES: dict[str, tuple[Callable[[Path], Logger], str]] = {
    "jsonl": (JsonLines, "log.jsonl"),
    "csv": (Csv, "log.csv"),
    "plot": (Curve, "curve.png"),
    "tensorboard": (TensorBoard, "tensorboard"),
}
SERVICES: dict[str, Callable[[Path | None], Logger]] = {"wandb": WandB, "mlflow": MLflow}
OWN = ("progress", *FILES, *SERVICES)


class SafeLogger:
    """Passes every call on to a logger until one fails; then warns once and passes none.

    Parameters
    ----------
    logger : Callback
    """

    def __init__(self, logger: object) -> None:
        self.logger, self.failed = logger, False

    def __getattr__(self, hook: str) -> Callable[[Any], None]:
        if hook not in LOGGER_HOOKS:
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
                warn(
                    f"The logger {type(self.logger).__name__} failed in {hook} and is left out "
                    f"from here on: {reason}",
                )

        return call


class Loggers:
    """The loggers of one fit.

    Parameters
    ----------
    loggers : str, object, sequence of them, or None
        Names ("progress", "jsonl", "csv", "plot", "wandb", "tensorboard", "mlflow", or of an entry
        point of the group ``finetune_tabpfn.loggers``), or objects of the callback protocol.
    log_dir : str, pathlib.Path or None
        Folder for what they write.
    verbose : bool
        Adds "progress".
    among_others : bool
        Whether other fits may write to the same folder: files then go into one of its own in it,
        "fit-1", "fit-2", ...

    Raises
    ------
    ValueError
        For a name that nobody has registered, an object without any hook of a logger, or without
        the folder that one of them needs.
    """

    def __init__(
        self,
        loggers: str | object | Sequence[str | object] | None,
        log_dir: str | Path | None,
        verbose: bool = False,
        among_others: bool = False,
    ) -> None:
        several = list(loggers) if isinstance(loggers, (list, tuple)) else [loggers]
        if verbose and "progress" not in several:
            several.append("progress")
        folder = None if log_dir is None else Path(log_dir)
        named = [one for one in several if one is not None]
        own = folder
        if folder is not None and among_others and any(map(_writes_files, named)):
            own = make_first_free(folder / f"fit-{number}" for number in itertools.count(1))
        self.loggers = [
            SafeLogger(_open(one, own if _writes_files(one) else folder)) for one in named
        ]

    def begin(self, run: Mapping[str, Any]) -> None:
        """Say what is fitted."""
        for logger in self.loggers:
            logger.on_fit_begin(run)

    def callbacks(self, attributes: object) -> list[SafeLogger]:
        """Return the callbacks of the training loop."""
        return self.loggers

    @contextmanager
    def told_of_failure(self) -> Iterator[None]:
        """Say it if the fit ends by an exception, Ctrl-C among them: no run is left open."""
        try:
            yield
        except BaseException as error:
            for logger in self.loggers:
                logger.on_fit_error(error)
            raise

    def end(self, estimator: Any) -> None:
        """Say that the estimator is fitted."""
        for logger in self.loggers:
            logger.on_fit_end(estimator)


def _writes_files(logger: str | object) -> bool:
    """Tell whether a logger writes files; a service keeps the fits of a folder apart by itself."""
    return isinstance(logger, str) and logger not in ("progress", *SERVICES)


def _open(name: str | object, folder: Path | None) -> object:
    """Return the logger of a name, or the one that is given."""
    if not isinstance(name, str):
        if isinstance(name, type) or not any(hasattr(name, hook) for hook in LOGGER_HOOKS):
            raise ValueError(
                f"loggers={name!r} is not an object with a method of finetune_tabpfn.Logger; "
                f"an object with one will do, or a name: {', '.join(OWN)}."
            )
        return name
    if name == "progress":
        worker = worker_name()
        return ProgressBar() if worker is None else ProgressLines(worker)
    if name in SERVICES:
        return SERVICES[name](folder)
    if name in FILES:
        if folder is None:
            raise ValueError(f'loggers={name!r} needs a folder to write to: log_dir="...".')
        make, file = FILES[name]
        return make(folder / file)
    registered = {point.name: point for point in entry_points(group=GROUP)}
    if name not in registered:
        known = ", ".join([*OWN, *sorted(registered)])
        raise ValueError(f"loggers={name!r} is none of {known}; an object of your own will do.")
    return registered[name].load()(folder)


class ProgressBar(Logger):
    """One live line: steps, evaluation, train loss, score, best score, time left.

    Parameters
    ----------
    total : int, optional
        Steps at most; that of the fit, if it says so.
    file : text stream, optional
        Standard error if not given.
    clock : callable
        Seconds, monotonic.
    """

    def __init__(
        self,
        total: int | None = None,
        file: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total, self.file, self.clock = total, file, clock
        self.deadline = math.inf
        self.n_folds = 1
        self._bar: Any = None

    def on_fit_begin(self, run: Mapping[str, Any]) -> None:
        """Note how many steps and how much time the fit may take."""
        parameters = run["parameters"]
        self.n_folds = run.get("folds", 1)
        self.total = math.ceil(parameters["max_steps"] / self.n_folds)  # a bar for each fold
        self.deadline = self.clock() + (parameters["time_limit"] or math.inf)

    def on_train_begin(self, state: TrainState) -> None:
        """Show the bar."""
        self._bar = tqdm(
            total=self.total,
            initial=state.step,
            desc=self._named(state),
            unit="step",
            file=self.file or sys.stderr,
            dynamic_ncols=True,
            mininterval=0.5,
            bar_format=f"{{desc}}: {{n_fmt}}/{self.total} steps [{{elapsed}}{{postfix}}]"
            if self.total
            else None,
        )

    def after_step(self, state: TrainState) -> None:
        """Move the bar on."""
        self._show(state)
        self._bar.update(1)

    def after_evaluation(self, state: TrainState) -> None:
        """Show the new score."""
        self._show(state)

    def on_train_end(self, state: TrainState) -> None:
        """Say what ended the run and leave the line."""
        if self._bar is not None:
            self._bar.set_description_str(f"{self._named(state)} ({state.stop_reason})")
            if self.total:
                self._bar.total = self._bar.n  # an early stop is no failure, as notebooks show it
            self._bar.close()

    def _named(self, state: TrainState) -> str:
        if self.n_folds == 1:
            return "fine-tuning"
        return f"fine-tuning, fold {state.fold + 1} of {self.n_folds}"

    def _show(self, state: TrainState) -> None:
        score = f"{state.history[-1].score:.4g}" if state.history else "-"
        scores = f", score {score}, best {state.best_score:.4g} at {state.best_step}"
        self._bar.set_postfix_str(
            f"{self._left(state)}, evaluation {len(state.history)}, loss {state.train_loss:.4g}"
            + ("" if state.history and score == "nan" else scores),
            refresh=False,
        )

    def _left(self, state: TrainState) -> str:
        """Return how long the training can still take, by its last steps and the time limit."""
        recent = state.step_seconds[-20:]
        left = self.deadline - self.clock()
        if recent and self.total is not None:
            left = min(left, (self.total - state.step) * sum(recent) / len(recent))
        return f"at most {tqdm.format_interval(max(0, left))} left" if left < math.inf else "-"


class ProgressLines(Logger):
    """A line for every evaluation of a fit, named by its worker: bars of several interleave.

    Parameters
    ----------
    worker : str
    file : text stream, optional
        Standard error if not given.
    """

    def __init__(self, worker: str, file: TextIO | None = None) -> None:
        self.name, self.file = f"{worker}, fit {next(FITS)}", file
        self.n_folds, self.total = 1, 0

    def on_fit_begin(self, run: Mapping[str, Any]) -> None:
        """Say what is fitted."""
        self.n_folds = run.get("folds", 1)
        self.total = math.ceil(run["parameters"]["max_steps"] / self.n_folds)
        self._say(f"begins: {run['task']}, {run['rows']} rows, {run['columns']} columns")

    def after_evaluation(self, state: TrainState) -> None:
        """Say what it came to."""
        last = state.history[-1]
        loss = "" if math.isnan(last.train_loss) else f", loss {last.train_loss:.4g}"
        scores = f", score {last.score:.4g}, best {state.best_score:.4g} at {state.best_step}"
        self._say(
            f"{self._fold(state)}step {state.step} of at most {self.total}{loss}"
            + ("" if math.isnan(last.score) else scores)
        )

    def on_train_end(self, state: TrainState) -> None:
        """Say why it ended."""
        self._say(f"{self._fold(state)}ended after {state.step} steps ({state.stop_reason})")

    def _fold(self, state: TrainState) -> str:
        return "" if self.n_folds == 1 else f"fold {state.fold + 1} of {self.n_folds}, "

    def _say(self, line: str) -> None:
        stream = self.file or sys.stderr
        stream.write(f"[{self.name}] {line}\n")  # in one piece
        stream.flush()
