"""Callbacks of the training loop that keep a pretraining run to its time and tell how it goes."""

from __future__ import annotations

import math

from finetune_tabpfn.finetuning._budget import Timer
from finetune_tabpfn.pretraining._batches import PriorBatches
from finetune_tabpfn.training._callbacks import Callback
from finetune_tabpfn.training._loop import logger
from finetune_tabpfn.training._state import TrainState
from finetune_tabpfn.training._stop_reasons import StopReason

FINISH = 1.0  # seconds at least, to save everything
CLOSE = 5.0  # seconds, to end workers: they finish the pass that they are at
RECENT = 5  # steps whose slowest one speaks for the next
MARGIN = 1.5  # times that: tables of equal cells do not take equally long


class Clock(Callback):
    """Ends a run while there is time for what follows, and has it validated often enough.

    What the next step takes is reckoned by its cells, since the last steps of a run hold far more
    of them than the first.

    Parameters
    ----------
    timer : Timer
        With a limit.
    batches : PriorBatches
    eval_seconds : float
        Between two validations at most.
    """

    def __init__(self, timer: Timer, batches: PriorBatches, eval_seconds: float) -> None:
        self.timer, self.batches, self.eval_seconds = timer, batches, eval_seconds
        self.closing = CLOSE if batches.workers else 0.0
        self.saving, self.evaluated, self.is_saving = FINISH, timer.clock(), False
        self.costs: list[int] = []  # of the steps of this process, in cells

    def before_step(self, state: TrainState) -> str | None:
        """Stop when a step, the validation after it and saving would take too long."""
        if self.is_saving:
            self.saving = max(self.saving, 2 * (self.timer.clock() - self.evaluated))
            self.is_saving = False
        self.costs.append(self.batches.cost(state.step))
        return self._unless_time_for(self._step(state) + self._validation(state))

    def before_evaluation(self, state: TrainState) -> str | None:
        """Refuse a validation that would take too long."""
        return self._unless_time_for(self._validation(state))

    def after_evaluation(self, state: TrainState) -> None:
        """Begin to wait for the next one; what follows is saving."""
        self.evaluated, self.is_saving = self.timer.clock(), True

    def is_due(self, state: TrainState) -> bool:
        """Tell whether it is time to validate: after another step it would be late."""
        upcoming = self._step(state) + self._validation(state) + self.saving
        return self.timer.clock() - self.evaluated + upcoming > self.eval_seconds

    def _unless_time_for(self, seconds: float) -> str | None:
        assert self.timer.remaining is not None
        enough = seconds + self.saving + self.closing <= self.timer.remaining
        return None if enough else StopReason.TIME_LIMIT

    def _step(self, state: TrainState) -> float:
        """Return the seconds that the next step may take, 0 before the first one."""
        measured = list(zip(state.step_seconds, self.costs, strict=False))[-RECENT:]
        slowest = max((seconds / cells for seconds, cells in measured), default=0.0)
        return MARGIN * slowest * self.costs[-1] if self.costs else 0.0

    def _validation(self, state: TrainState) -> float:
        """Return the seconds that the next validation may take."""
        return 1.1 * max(state.validation_seconds[-RECENT:], default=0.0)


class Progress(Callback):
    """Logs a line after every validation: how fast it goes, what it waits for, what is left.

    Parameters
    ----------
    timer : Timer
        Without a limit, the time that is left is reckoned by steps.
    batches : PriorBatches
    steps : int
        Of a run without a limit.
    """

    def __init__(self, timer: Timer, batches: PriorBatches, steps: int) -> None:
        self.timer, self.batches, self.steps = timer, batches, steps
        self.begun = math.nan

    def on_train_begin(self, state: TrainState) -> None:
        """Begin to count."""
        self.begun = self.timer.clock()

    def after_evaluation(self, state: TrainState) -> None:
        """Log the line."""
        seconds = sum(state.step_seconds)  # of this process; validations do not count
        if not seconds:
            return
        logger.info(
            "%d tables, %.3g million cells per second, %.0f %% of it waiting for tables, "
            "validation loss %.4f, %.0f s left",
            self.batches.n_tables,
            self.batches.n_cells / 1e6 / seconds,
            100 * self.batches.waited / seconds,
            -state.history[-1].score,
            self._left(state),
        )

    def _left(self, state: TrainState) -> float:
        if self.timer.remaining is not None:
            return self.timer.remaining
        steps = len(state.step_seconds)
        return (self.steps - state.step) * (self.timer.clock() - self.begun) / steps
