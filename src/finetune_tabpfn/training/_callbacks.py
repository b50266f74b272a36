"""Guests of the loop that end a run. Each answers one question."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from finetune_tabpfn.training._loop import Callback, TrainState


class MaxSteps(Callback):
    """Ends a run after a number of steps."""

    def __init__(self, max_steps: int) -> None:
        self.max_steps = max_steps

    def before_step(self, state: TrainState) -> str | None:
        """Stop when the steps have been made."""
        return "max_steps" if state.step >= self.max_steps else None


class EarlyStopping(Callback):
    """Ends a run whose score has stopped improving.

    Patience is counted in rounds and grows with the best round: a run that improved late is
    given longer (Purucker, finetune_tabpfn_v2). What counts as an improvement is decided in one
    place, the loop.

    Parameters
    ----------
    patience : int
        Rounds without an improvement before the run ends.
    growth : float
        The patience is at least this share of the best round.
    """

    def __init__(self, patience: int, growth: float = 0.5) -> None:
        self.patience, self.growth = patience, growth

    def on_train_begin(self, state: TrainState) -> str | None:
        """Ask a run that goes on whether it should: its patience may be another one now."""
        return self.after_round(state) if state.history else None

    def after_round(self, state: TrainState) -> str | None:
        """Stop when the patience is over."""
        waited = state.history[-1].round - state.best_round
        allowed = max(self.patience, round(self.growth * state.best_round))
        return "early_stopping" if waited >= allowed else None


class DivergenceGuard(Callback):
    """Ends a run whose training loss explodes.

    Losses that are not finite end a run in the loop itself; this one ends it when the loss is
    finite but far above that of the first steps.

    Parameters
    ----------
    window : int
        Steps that are averaged, at the start as the reference and at the end as the verdict.
    rise : float
        The mean may rise by this much, times the size of the reference where that is above 1
        (the losses here are negative log-likelihoods: nats, whatever the table).
    """

    def __init__(self, window: int = 5, rise: float = 5.0) -> None:
        self.window, self.rise = window, rise

    def after_step(self, state: TrainState) -> str | None:
        """Stop when the recent losses are far above the first ones."""
        reference = math.fsum(state.losses[: self.window]) / self.window
        current = math.fsum(state.losses[-self.window :]) / self.window
        if current > reference + self.rise * max(1.0, abs(reference)):
            return f"diverged: the training loss rose from {reference:.3g} to {current:.3g}"
        return None


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

    def share(self, parts: int) -> Timer:
        """Return the timer of the next of `parts` equal parts of the time that is left."""
        remaining = self.remaining
        return self if remaining is None else Timer(remaining / parts, self.clock)


@dataclass(frozen=True)
class CostEstimate:
    """Seconds that the parts of a fit take, before they have been run as they are.

    Attributes
    ----------
    step, validation : float
        One update, and the validation of a round: at most, from smaller ones that were measured.
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

    Before every step it adds up the step, the validation that closes the round, what decides on
    the weights to deploy and the rest of the fit. What was measured counts; an estimate only where
    nothing was, and it alone ends no run: in the first half of the time a step is tried, if it is
    sure to leave time to finish. The comparison after the training is kept time for once a round
    is closed; before, there would be nothing to compare.

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
        Whether training leaves time for one more validation like those of the rounds.
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
    ) -> None:
        self.timer, self.costs, self.reserve = timer, costs, reserve
        self.final_check, self.kept = final_check, final_check if keep_check else 0.0
        self.keep_validation = keep_validation

    def before_step(self, state: TrainState) -> str | None:
        """Stop when a step, the validation after it and the choice would take too long."""
        step = self._next(state.step_seconds, self.costs.step)
        if not state.step_seconds and self.timer.is_early:
            return self._unless_time_for(step)
        validation = self.validation(state)
        kept = self.kept + self.keep_validation * validation if len(state.history) > 1 else 0.0
        return self._unless_time_for(step + validation + kept)

    def before_validation(self, state: TrainState) -> str | None:
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

    def _unless_time_for(self, seconds: float) -> str | None:
        return None if self.time_for(seconds) else "time_limit"

    def _next(self, measured: list[float], at_most: float) -> float:
        """Return what the next one will take; the first one of its kind warms up as well."""
        if not measured:
            return self.early_margin * at_most
        work = measured[1:] or [min(measured[0], at_most)]
        margin = self.margin if len(work) >= self.recent else self.early_margin
        return margin * max(work[-self.recent :])
