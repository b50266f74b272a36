"""The loggers of a fit: by name, by entry point or one's own; and the progress bar."""

from __future__ import annotations

import itertools
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TextIO

from finetune_tabpfn.loggers._base import Csv, JsonLines, Logger
from finetune_tabpfn.loggers._plot import Curve
from finetune_tabpfn.loggers._trackers import MLflow, TensorBoard, WandB
from finetune_tabpfn.training._callbacks import HOOKS
from finetune_tabpfn.training._loop import logger
from finetune_tabpfn.training._state import TrainState
from finetune_tabpfn.training._stop_reasons import StopReason
from finetune_tabpfn.utils._files import make_first_free
from finetune_tabpfn.utils._progress import messages_beside_bars, set_total, tqdm
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
PACE_STEPS = 3  # by which the steps are reckoned that there is time for
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
        if folder is not None and all(one == "progress" for one in named):
            warn(
                f"log_dir={str(log_dir)!r} stays as it is, since nothing writes there; "
                'loggers="csv" or ["jsonl", "plot"] would.'
            )
        own = folder
        if folder is not None and among_others and any(map(_writes_files, named)):
            own = make_first_free(folder / f"fit-{number}" for number in itertools.count(1))
        self.loggers = [
            SafeLogger(_open(one, own if _writes_files(one) else folder)) for one in named
        ]

    def begin(self, run: Mapping[str, Any]) -> None:
        """Say what is fitted."""
        for one in self.loggers:
            one.on_fit_begin(run)

    def callbacks(self, attributes: object) -> list[SafeLogger]:
        """Return the callbacks of the training loop."""
        return self.loggers

    @contextmanager
    def told_of_failure(self) -> Iterator[None]:
        """Say it if the fit ends by an exception, Ctrl-C among them: no run is left open."""
        try:
            yield
        except BaseException as error:
            for one in self.loggers:
                one.on_fit_error(error)
            raise

    def end(self, estimator: Any) -> None:
        """Say that the estimator is fitted."""
        for one in self.loggers:
            one.on_fit_end(estimator)


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
    """One live line for each training: steps, evaluation, train loss, score, best score, time left.

    And a last line that says what is deployed and why.

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
        self.n_folds = 1
        self.began, self.first_step = 0.0, 0
        self._bar: Any = None
        self._aside = ExitStack()  # log lines, while there is a bar

    def on_fit_begin(self, run: Mapping[str, Any]) -> None:
        """Note how many steps the fit may make."""
        self.n_folds = run.get("folds", 1)
        # a bar for each fold
        self.total = math.ceil(run["parameters"]["max_steps"] / self.n_folds)

    def on_train_begin(self, state: TrainState) -> None:
        """Show the bar."""
        self.began, self.first_step = self.clock(), state.step
        self._bar = tqdm(
            total=self.total,
            initial=state.step,
            desc=self._named(state),
            unit="step",
            file=self.file or sys.stderr,
            dynamic_ncols=True,
            mininterval=0.5,
            bar_format="{desc}: {n_fmt}/{total_fmt} steps [{elapsed}{postfix}]"
            if self.total is not None
            else None,
        )
        self._aside.enter_context(messages_beside_bars(logging.root, logger))

    def after_step(self, state: TrainState) -> None:
        """Move the bar on."""
        self._show(state)
        self._bar.update(1)

    def after_evaluation(self, state: TrainState) -> None:
        """Show the new score."""
        self._show(state)

    def on_train_end(self, state: TrainState) -> None:
        """Say what ended the run and leave the line."""
        if self._bar is None:
            return
        self._bar.set_description_str(f"{self._named(state)} ({state.stop_reason})", refresh=False)
        if self.total is not None:
            set_total(self._bar, self._bar.n)  # an early stop is no failure, as notebooks show it
        self._show(state, left="")
        self._close()

    def on_fit_end(self, estimator: Any) -> None:
        """Say what is deployed, and why."""
        if _is_told_why(estimator):
            tqdm.write(f"fine-tuning: {estimator.deployment_reason_}", file=self.file or sys.stderr)

    def on_fit_error(self, error: BaseException) -> None:
        """Leave the line, if the training could not."""
        self._close()

    def _close(self) -> None:
        self._aside.close()
        if self._bar is None:
            return
        self._bar.close()
        self._bar = None

    def _named(self, state: TrainState) -> str:
        fold = [] if self.n_folds == 1 else [f"fold {state.fold + 1} of {self.n_folds}"]
        return ", ".join(["fine-tuning", *fold])

    def _show(self, state: TrainState, left: str | None = None) -> None:
        """Show how far the training is, and how far it may still go."""
        steps, seconds = self._left(state)
        if self.total is not None and left is None:
            set_total(self._bar, state.step + steps)
        if left is None:
            left = f"at most {tqdm.format_interval(seconds)} left" if seconds < math.inf else "-"
        score = f"{state.history[-1].score:.4g}" if state.history else "-"
        scores = f"score {score}, best {state.best_score:.4g} at {state.best_step}"
        evaluation = f"evaluation {max(0, len(state.history) - 1)}"
        shown = [left, evaluation, f"loss {state.train_loss:.4g}"]
        shown += [] if state.history and score == "nan" else [scores]
        self._bar.set_postfix_str(", ".join(filter(None, shown)), refresh=False)

    def _left(self, state: TrainState) -> tuple[int, float]:
        """Return the steps and seconds that the training may still take, by its pace until now."""
        steps = 0 if self.total is None else max(0, self.total - state.step)
        made = state.step - self.first_step
        if made < PACE_STEPS or self.total is None:
            return steps, state.seconds_left
        pace = (self.clock() - self.began) / made
        if steps * pace > state.seconds_left:
            steps = int(state.seconds_left // pace)
        return steps, steps * pace


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

    def on_fit_end(self, estimator: Any) -> None:
        """Say what is deployed, and why."""
        if _is_told_why(estimator):
            self._say(estimator.deployment_reason_)

    def _fold(self, state: TrainState) -> str:
        return "" if self.n_folds == 1 else f"fold {state.fold + 1} of {self.n_folds}, "

    def _say(self, line: str) -> None:
        stream = self.file or sys.stderr
        stream.write(f"[{self.name}] {line}\n")  # in one piece
        stream.flush()


def _is_told_why(estimator: Any) -> bool:
    """Tell whether a line should say what is deployed: a fit that did not begin warns of it."""
    return bool(estimator.n_steps_ or estimator.stop_reason_ != StopReason.INTERRUPTED)
