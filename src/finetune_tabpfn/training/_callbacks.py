"""What the loop tells and asks, and what ends a run: each answers one question."""

from __future__ import annotations

import math
from typing import Any

from finetune_tabpfn.training._state import TrainState
from finetune_tabpfn.training._stop_reasons import StopReason


class Callback:
    """What the loop tells and asks; override the hooks you need.

    Every hook may return a non-empty string, the reason to stop; the first one ends the run.
    Anything else that is true ends it as well, with the name of the callback's class as reason.
    A hook that raises ends the run like a reason; what it raised is raised once the run is over.
    An object of any other class with some of these methods serves as well.
    """

    def on_train_begin(self, state: TrainState) -> str | None:
        """Before anything is evaluated or trained.

        Parameters
        ----------
        state : TrainState
            What the training has come to: `step`, `history`, `best_score`, `train_loss`, ...

        Returns
        -------
        str or None
            A reason to stop; nothing goes on.
        """

    def before_evaluation(self, state: TrainState) -> str | None:
        """Before the hold-out is scored; a reason skips the validation.

        Parameters
        ----------
        state : TrainState
            What the training has come to: `step`, `history`, `best_score`, `train_loss`, ...

        Returns
        -------
        str or None
            A reason to stop; nothing goes on.
        """

    def after_evaluation(self, state: TrainState) -> str | None:
        """After an evaluation: the last row of `state.history`, the model as it was scored.

        Parameters
        ----------
        state : TrainState
            What the training has come to: `step`, `history`, `best_score`, `train_loss`, ...

        Returns
        -------
        str or None
            A reason to stop; nothing goes on.
        """

    def before_step(self, state: TrainState) -> str | None:
        """Before an update.

        Parameters
        ----------
        state : TrainState
            What the training has come to: `step`, `history`, `best_score`, `train_loss`, ...

        Returns
        -------
        str or None
            A reason to stop; nothing goes on.
        """

    def after_step(self, state: TrainState) -> str | None:
        """After an update: `state.train_loss`, `state.grad_norm` and `state.step` are new.

        To read the first two on a GPU waits for it; what need not be known of every step is better
        read after an evaluation.

        Parameters
        ----------
        state : TrainState
            What the training has come to: `step`, `history`, `best_score`, `train_loss`, ...

        Returns
        -------
        str or None
            A reason to stop; nothing goes on.
        """

    def on_train_end(self, state: TrainState) -> None:
        """Once, however the run ended: also on an error.

        Parameters
        ----------
        state : TrainState
            What the training has come to: `step`, `history`, `best_score`, `train_loss`, ...
        """


HOOKS = tuple(name for name in vars(Callback) if name.startswith(("on_", "before_", "after_")))


def check_callbacks(callbacks: Any) -> None:
    """Raise for what no run could ask anything."""
    if callbacks is None:
        return
    if not isinstance(callbacks, (list, tuple)):
        raise ValueError(
            f"callbacks={callbacks!r} must be a list of objects with methods of "
            'finetune_tabpfn.Callback; names such as "progress" belong to `loggers`.'
        )
    for callback in callbacks:
        if isinstance(callback, type) or not any(hasattr(callback, hook) for hook in HOOKS):
            raise ValueError(
                f"callbacks holds {callback!r}, which is not an object with a method of "
                f"finetune_tabpfn.Callback: {', '.join(HOOKS)}."
            )


class MaxSteps(Callback):
    """Ends a run after a number of steps."""

    def __init__(self, max_steps: int) -> None:
        self.max_steps = max_steps

    def before_step(self, state: TrainState) -> str | None:
        """Stop when the steps have been made."""
        return StopReason.MAX_STEPS if state.step >= self.max_steps else None


class EarlyStopping(Callback):
    """Ends a run whose score has stopped improving.

    Patience is counted in evaluations and grows with the best evaluation: a run that improved late
    is given longer (Purucker, finetune_tabpfn_v2). What counts as an improvement is decided in one
    place, the loop.

    Parameters
    ----------
    patience : int
        Evaluations without an improvement before the run ends.
    growth : float
        The patience is at least this share of the best evaluation.
    """

    def __init__(self, patience: int, growth: float = 0.5) -> None:
        self.patience, self.growth = patience, growth

    def on_train_begin(self, state: TrainState) -> str | None:
        """Ask a run that goes on whether it should: its patience may be another one now."""
        return self.after_evaluation(state) if state.history else None

    def after_evaluation(self, state: TrainState) -> str | None:
        """Stop when the patience is over."""
        waited = state.history[-1].evaluation - state.best_evaluation
        allowed = max(self.patience, round(self.growth * state.best_evaluation))
        return StopReason.EARLY_STOPPING if waited >= allowed else None


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
            return StopReason.DIVERGED.because(
                f"the training loss rose from {reference:.3g} to {current:.3g}"
            )
        return None
