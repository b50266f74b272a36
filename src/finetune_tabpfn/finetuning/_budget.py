"""The time of a fit: what has passed, what its parts cost, and what must still happen."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from finetune_tabpfn.finetuning._defaults import FOLD_STEPS
from finetune_tabpfn.training._callbacks import Callback
from finetune_tabpfn.training._state import TrainState
from finetune_tabpfn.training._stop_reasons import StopReason

PROBE_SHARE = 0.3  # of a time limit, for all trials of a learning rate
CHECK_SHARE = 1 / 3  # of a time limit, to compare what may be deployed as it would be
WARM_UP_SHARE = 1 / 8  # of a time limit: preparing that takes longer is timed again
CACHE_WORK = 1.6  # validations that it takes to cache a context of training rows and hold-out
PREPARING_AGAIN = 1.2  # times what it took, by rows, to prepare all rows for the predictor
LEAST_FINISH = 0.2  # seconds


@dataclass(frozen=True)
class Timer:
    """Seconds since the fit began, and how many it may take.

    Parameters
    ----------
    limit : float or None
        Seconds for the whole fit.
    clock : callable
        Seconds, monotonic.
    started : float, optional
        Reading of `clock`; now if not given.
    """

    limit: float | None
    clock: Callable[[], float] = time.monotonic
    started: float = math.nan

    def __post_init__(self) -> None:
        if math.isnan(self.started):
            object.__setattr__(self, "started", self.clock())

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self.clock() - self.started

    @property
    def remaining(self) -> float | None:
        """Seconds that are left, None without a limit."""
        return None if self.limit is None else max(0.0, self.limit - self.elapsed)

    @property
    def is_early(self) -> bool:
        """Whether less than half of the time is used."""
        return self.limit is None or self.elapsed < self.limit / 2

    def share(self, parts: int, finish: float = 0.0) -> Timer:
        """Return the timer of the next of `parts` equal parts of the time that is left.

        Every part leaves the same `finish` seconds, which are needed once.
        """
        if self.remaining is None:
            return self
        return Timer(max(0.0, self.remaining - finish) / parts + finish, self.clock)


@dataclass(frozen=True)
class CostEstimate:
    """Seconds that the parts of a fit take, before they have been run as they are.

    Attributes
    ----------
    step, validation : float
        One update, and the validation of an evaluation: at most, from smaller ones that were
        measured.
    finish : float
        What follows the training.
    as_deployed : float
        A validation with all the context rows that are deployed; 0 where every validation has.
    """

    step: float
    validation: float
    finish: float
    as_deployed: float = 0.0


class TimeBudget(Callback):
    """Ends a run while there is still time to finish the fit.

    Before every step it adds up the step, the validation that closes the evaluation, what decides
    on the weights to deploy and the rest of the fit. What was measured counts; an estimate only
    where nothing was, and it alone ends no run: in the first half of the time a step is tried, if
    it is sure to leave time to finish. The comparison after the training is kept time for once an
    evaluation is closed; before, there would be nothing to compare.

    Parameters
    ----------
    timer : Timer
        With a limit.
    costs : CostEstimate
        `finish` is the time to keep for what follows the training.
    reserve : callable
        Returns the seconds to keep beyond `finish`, as far as they are known by now.
    final_check : float
        Seconds of the comparison after the training, with what is deployed.
    keep_check : bool
        Whether training leaves time for it.
    keep_validation : bool
        Whether training leaves time for one more validation like those of the evaluations.
    parts : int
        Trainings that divide the time, this one and those to come. As soon as three steps have
        shown how many of them there is time for, this one keeps to its share.
    eval_interval : int, optional
        Steps between two validations.
    """

    margin = 1.1  # a step or validation may take this much longer than the slowest recent one
    early_margin = 1.25  # the same, where fewer than RECENT were measured
    recent = 3

    def __init__(
        self,
        timer: Timer,
        costs: CostEstimate,
        reserve: Callable[[], float] = lambda: 0.0,
        final_check: float = 0.0,
        keep_check: bool = False,
        keep_validation: bool = False,
        parts: int = 1,
        eval_interval: float = math.inf,
    ) -> None:
        self.timer, self.costs, self.reserve, self.parts = timer, costs, reserve, parts
        self.final_check, self.kept = final_check, final_check if keep_check else 0.0
        self.keep_validation, self.eval_interval = keep_validation, eval_interval

    def before_step(self, state: TrainState) -> str | None:
        """Stop when a step, the validation after it and the choice would take too long."""
        self._keep_to_share(state)
        state.seconds_left = self._seconds_left()
        step = self._next(state.step_seconds, self.costs.step)
        if not state.step_seconds and self.timer.is_early:
            return self._unless_time_for(step)
        validation = self.validation(state)
        kept = self.kept + self.keep_validation * validation if len(state.history) > 1 else 0.0
        return self._unless_time_for(step + validation + kept)

    def _keep_to_share(self, state: TrainState) -> None:
        """Leave time for the folds to come, as many as will be worth it."""
        measured = state.step_seconds[: self.recent]
        if self.parts == 1 or len(measured) < self.recent:
            return
        shares = [self.timer.share(n, self.costs.finish) for n in range(self.parts, 0, -1)]
        least = FOLD_STEPS * (measured[-1] + self.validation(state) / self.eval_interval)
        self.timer = next((its for its in shares if least <= (its.limit or 0.0)), self.timer)
        self.parts = 1

    def before_evaluation(self, state: TrainState) -> str | None:
        """Refuse a validation that would take too long."""
        return self._unless_time_for(self.validation(state))

    def validation(self, state: TrainState) -> float:
        """Return the seconds that the next validation is expected to take."""
        return self._next(state.validation_seconds, self.costs.validation)

    def time_for(self, seconds: float) -> bool:
        """Tell whether `seconds` of work still leave time to finish the fit."""
        remaining = self.timer.remaining
        return remaining is None or seconds + self.costs.finish + self.reserve() <= remaining

    def part(self, share: float) -> TimeBudget:
        """Return the budget of a part of the time that is left for training."""
        assert self.timer.limit is not None
        left = self.timer.limit - self.timer.elapsed - self.costs.finish
        timer = Timer(max(0.0, share * left), self.timer.clock)
        return TimeBudget(timer, replace(self.costs, finish=0.0))

    def _seconds_left(self) -> float:
        """Return the seconds for training that are left; of several trainings, for this one."""
        left = self.timer.share(self.parts, self.costs.finish).remaining
        kept = self.costs.finish + self.reserve() + self.kept
        return math.inf if left is None else max(0.0, left - kept)

    def _unless_time_for(self, seconds: float) -> str | None:
        return None if self.time_for(seconds) else StopReason.TIME_LIMIT

    def _next(self, measured: list[float], at_most: float) -> float:
        """Return what the next one will take; the first one of its kind warms up as well."""
        if not measured:
            return self.early_margin * at_most
        work = measured[1:] or [min(measured[0], at_most)]
        margin = self.margin if len(work) >= self.recent else self.early_margin
        return margin * max(work[-self.recent :])


def finish_seconds(preparing: float, trained_rows: int, all_rows: int) -> float:
    """Return the time to keep for the predictor, from what preparing the training rows took."""
    return LEAST_FINISH + PREPARING_AGAIN * preparing * all_rows / trained_rows
