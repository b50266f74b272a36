"""The training loop. It knows torch, neither TabPFN nor scikit-learn.

A *step* is one optimizer update. An *evaluation* is `eval_interval` steps and the validation
after them; evaluation 0 is the untouched model. The loop remembers the best weights whatever ends
it. Stopping, logging and clocks are callbacks: objects whose hooks stand around the one update.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from finetune_tabpfn.training._device import Precision, autocast, ran_out_of_memory, waiter
from finetune_tabpfn.training._state import (
    Evaluation,
    HistoryRow,
    TrainState,
    copy_weights,
    improves,
    new_state,
    swap,
)
from finetune_tabpfn.training._stop_reasons import StopReason
from finetune_tabpfn.utils._warn import warn

logger = logging.getLogger("finetune_tabpfn")

READ_SECONDS = 0.25  # on a device that works on its own: between two moments of waiting for it
WARM_UP_STEPS = 3  # that are waited for one by one: what they take tells warming up from work


class BatchSource(Protocol):
    """What a step trains on."""

    def __call__(self, step: int) -> Iterable[tuple[float, Any]]:
        """Yield the passes of one update: (share of the update, batch); the shares add to 1."""
        ...

    def shrink(self) -> str | None:
        """Ask less memory of the next pass; say what was done, or None when nothing is left."""
        ...


class NoScoreError(ValueError):
    """Raised for a score that is no number; its text says whose."""


def constant_after_warmup(step: int, warmup_steps: int = 5) -> float:
    """Return the share of the learning rate: rises linearly, then stays at 1."""
    return min(1.0, (step + 1) / warmup_steps)


def ema_decay_at(step: int, ema_decay: float, eta: int = 3) -> float:
    """Return the share of itself that the average of the weights keeps at a step (from 0).

    It rises to `ema_decay` as in polynomial-decay averaging (Shamir and Zhang 2013): with
    `ema_decay` from the start, the average of a short run would be mostly the base model.
    """
    return min(ema_decay, (step + 1) / (step + 2 + eta))


@dataclass(frozen=True)
class TrainConfig:
    """Settings of the loop.

    Parameters
    ----------
    eval_interval : int
        Steps per evaluation.
    min_delta : float
        An evaluation improves when its score exceeds the best one by more than
        `min_delta * abs(best)`: relative, so that the unit of the score does not matter.
    max_grad_norm : float or None
        The gradient is scaled down to this Euclidean norm; None leaves it alone.
    schedule : callable
        ``schedule(step)`` returns the share of the peak learning rate at a step (from 0): a
        function of the step alone, so that there is nothing to resume. By default it rises
        linearly over five steps and stays at 1.
    precision : {"fp32", "bf16", "fp16"}
        Autocast type of the forward pass; "fp16" scales the loss against underflow.
    ema_decay : float
        Share of itself that the exponential moving average of the weights keeps at a step, less
        at first: see `ema_decay_at`. The average is what is scored and kept as best; the update
        goes on from the weights themselves. 0: there is no average.
    is_due : callable, optional
        ``is_due(state)`` is asked after every update whether the evaluation is to end before its
        `eval_interval` steps are made: by a clock, say.
    plateau_patience : int
        After so many evaluations without an improvement the run goes back to the best weights and
        on with a third of the learning rate; 0: never.
    """

    eval_interval: int = 10
    min_delta: float = 0.0
    max_grad_norm: float | None = 1.0
    schedule: Callable[[int], float] = constant_after_warmup
    precision: Precision = "fp32"
    ema_decay: float = 0.0
    plateau_patience: int = 0
    is_due: Callable[[TrainState], bool] | None = None


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    batches: BatchSource,
    loss_fn: Callable[[nn.Module, Any], torch.Tensor],
    evaluate: Callable[[nn.Module], float | Evaluation] | None,
    config: TrainConfig,
    callbacks: Sequence[object] = (),
    state: TrainState | None = None,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[], None] | None = None,
) -> TrainState:
    """Train `model` in place until a callback gives a reason to stop.

    Parameters
    ----------
    model : torch.nn.Module
        Trained in place; holds the last weights afterwards, not the best ones.
    optimizer : torch.optim.Optimizer
        Over the parameters to train. The learning rate of each group is its peak.
    batches : BatchSource
        Called with the number of the step (from 0); gives the passes of the update.
    loss_fn : callable
        ``loss_fn(model, batch)`` returns a scalar tensor.
    evaluate : callable
        ``evaluate(model)`` returns the score on the hold-out, greater is better, alone or in an
        `Evaluation`. It raises FloatingPointError when the predictions are not finite, and
        NoScoreError when only the score is no number. None: there is no hold-out, every score is
        NaN, and the last evaluation is the best.
    config : TrainConfig
    callbacks : sequence of Callback
        Asked in order. At least one of them should be able to end the run.
    state : TrainState, optional
        Of an earlier run that is continued after its last evaluation; `model` and `optimizer` are
        given as they were then.
    clock : callable
        Seconds, monotonic.
    wait : callable, optional
        Returns when the device has done what it was given, for a device that works on its own; a
        GPU's if not given. It is called a few times a second, not at every step.

    Returns
    -------
    TrainState
        With `best_weights`, `history` and the `stop_reason`. A loss or prediction that is not
        finite ends the run with a reason that begins with "diverged", a score that is no number
        with "no score", Ctrl-C with "interrupted", memory that cannot be asked less of with "out
        of memory"; none of them raises.

    Raises
    ------
    Exception
        Whatever else a callback, the loss or the evaluation raised, when the run is over:
        `on_train_end` has been called, and `state`, if it was given, holds what was best.
    """
    wait = wait or waiter(next(model.parameters()).device)
    run = _Run(
        model, optimizer, batches, loss_fn, evaluate, config, tuple(callbacks), clock, wait, state
    )
    try:
        run.notify("on_train_begin")
        run.evaluate_hold_out()
        while run.state.stop_reason is None:
            run.reduce_on_plateau()
            run.train_until_evaluation()
            run.evaluate_hold_out()
    except (FloatingPointError, NoScoreError) as error:
        if not run.state.history:
            raise  # the untouched model itself predicts nonsense: nothing to fall back on
        what = StopReason.NO_SCORE if isinstance(error, NoScoreError) else StopReason.DIVERGED
        run.state.stop_reason = what.because(error)
    except KeyboardInterrupt:
        run.state.stop_reason = str(StopReason.INTERRUPTED)
    except Exception as error:
        if ran_out_of_memory(error):
            run.state.stop_reason = str(StopReason.OUT_OF_MEMORY)
        else:
            run.fail(error)
    finally:
        run.notify("on_train_end")
    if run.state.error is not None:
        raise run.state.error
    return run.state


@dataclass
class _Run:
    """The parts of one call of `train`, so that its stages need not pass them around."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    batches: BatchSource
    loss_fn: Callable[[nn.Module, Any], torch.Tensor]
    evaluate: Callable[[nn.Module], float | Evaluation] | None
    config: TrainConfig
    callbacks: tuple[object, ...]
    clock: Callable[[], float]
    wait: Callable[[], None] | None
    resumed: TrainState | None

    def __post_init__(self) -> None:
        groups = self.optimizer.param_groups
        self.parameters = [parameter for group in groups for parameter in group["params"]]
        self.peak_rates = [group.setdefault("initial_lr", group["lr"]) for group in groups]
        self.device = self.parameters[0].device
        scaled = self.config.precision == "fp16"
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=scaled)
        self.state = self.resumed or new_state(self.model)
        self.state.stop_reason = self.state.error = None
        if self.state.scaler is not None:
            self.scaler.load_state_dict(self.state.scaler.state_dict())
        self.state.scaler = self.scaler
        if self.config.ema_decay and not self.state.ema_weights:
            self.state.ema_weights = [weight.detach().clone() for weight in self.parameters]
        self.started = self.clock() - self.state.seconds
        self.measured, self.since = self.state.step, self.clock()  # the step and time waited for

    def notify(self, hook: str) -> None:
        """Call one hook of every callback; the run's first reason to stop, or error, is kept."""
        for callback in self.callbacks:
            method = getattr(callback, hook, None)
            try:
                answer = method(self.state) if method is not None else None
            except Exception as error:  # the others hear of it all the same: one keeps the weights
                self.fail(error)
                continue
            if answer:
                reason = str(answer) if isinstance(answer, str) else type(callback).__name__
                self.state.stop_reason = self.state.stop_reason or reason

    def fail(self, error: Exception) -> None:
        """End the run by an error, which the caller gets."""
        self.state.error = self.state.error or error
        failed = StopReason.FAILED.because(type(error).__name__)
        self.state.stop_reason = self.state.stop_reason or failed

    def train_until_evaluation(self) -> None:
        """Make `eval_interval` steps, fewer when a callback stops the run or validating is due."""
        for _ in range(self.config.eval_interval):
            self.notify("before_step")
            if self.state.stop_reason is not None:
                return
            self.train_step()
            self.notify("after_step")
            if self.config.is_due is not None and self.config.is_due(self.state):
                return

    def train_step(self) -> None:
        """Make one update."""
        state = self.state
        if self.measured == state.step:
            self.since = self.clock()
        state.step_rows = getattr(self.batches, "step_rows", math.nan)
        self.model.train()
        self._set_learning_rate()
        losses = self._backward_within_memory()
        self.scaler.unscale_(self.optimizer)
        limit = self.config.max_grad_norm or math.inf
        norm = nn.utils.clip_grad_norm_(self.parameters, limit)
        state.unread.append((losses, norm.detach()))
        if self.wait is None:
            self._check_losses()  # before anything becomes NaN; a GPU is not waited for here
        self.scaler.step(self.optimizer)
        self.scaler.update()
        decay = ema_decay_at(state.step, self.config.ema_decay)
        for average, weight in zip(state.ema_weights, self.parameters, strict=False):
            average.lerp_(weight.detach(), 1 - decay)
        state.step += 1
        if self.wait is None or self._is_time_to_wait():
            self.measure_steps()

    def _is_time_to_wait(self) -> bool:
        """Tell whether the device has been left alone for long, or been given a lot to do."""
        measured = self.state.step_seconds
        if len(measured) < WARM_UP_STEPS:
            return True
        given = (self.state.step - self.measured) * measured[-1]
        return max(given, self.clock() - self.since) >= READ_SECONDS

    def measure_steps(self) -> None:
        """Let the device catch up, note what the steps since the last time took, read losses."""
        steps = self.state.step - self.measured
        if not steps:
            return
        if self.wait is not None:
            self.wait()
        now = self.clock()
        self.state.step_seconds += [(now - self.since) / steps] * steps
        self.measured, self.since = self.state.step, now
        self._check_losses()

    def _check_losses(self) -> None:
        """Read the losses that are not read yet; raises FloatingPointError where one is no number.

        A gradient that is none is skipped by the scaler of half precision, which lowers its scale.
        """
        first = len(self.state.losses)
        self.state.read_losses()
        read = zip(self.state.losses[first:], self.state.grad_norms[first:], strict=True)
        for step, (loss, norm) in enumerate(read, start=first + 1):
            if not math.isfinite(loss):
                raise FloatingPointError(f"the training loss was {loss} at step {step}")
            if not (math.isfinite(norm) or self.scaler.is_enabled()):
                raise FloatingPointError(f"the gradient norm was {norm} at step {step}")

    def _set_learning_rate(self) -> None:
        """Set each group's learning rate to the schedule's share of its peak."""
        share = self.config.schedule(self.state.step) * self.state.rate_share
        for group, peak in zip(self.optimizer.param_groups, self.peak_rates, strict=True):
            group["lr"] = share * peak
        self.state.learning_rate = share * self.peak_rates[0]

    def _backward_within_memory(self) -> list[tuple[float, torch.Tensor]]:
        """Accumulate the gradient of one update; ask for less memory where it runs out."""
        while True:
            try:
                return self._backward()
            except (RuntimeError, MemoryError) as error:
                if not ran_out_of_memory(error):
                    raise
                self.optimizer.zero_grad(set_to_none=True)
                done = self.batches.shrink()
                if done is None:
                    raise
                warn(f"Out of memory on {self.device}: {done}.")

    def _backward(self) -> list[tuple[float, torch.Tensor]]:
        """Accumulate the gradient over the passes of an update; returns their shares and losses."""
        self.optimizer.zero_grad(set_to_none=True)
        passes = []
        for share, batch in self.batches(self.state.step):
            with autocast(self.device, self.config.precision):
                loss = self.loss_fn(self.model, batch)
            self.scaler.scale(share * loss).backward()
            passes.append((share, loss.detach()))
        return passes

    def evaluate_hold_out(self) -> None:
        """Score the hold-out, write the evaluation's row, keep the weights if they are the best."""
        if self.state.history and self.state.steps_since_validation == 0:
            return
        self.measure_steps()
        if self.evaluate is not None and self._validation_refused():
            return
        started = self.clock()
        self.model.eval()
        with self._with_ema_weights():
            found = math.nan if self.evaluate is None else self.evaluate(self.model)
            self.state.validation_seconds.append(self.clock() - started)
            self._record(found if isinstance(found, Evaluation) else Evaluation(found))
            self.notify("after_evaluation")

    def reduce_on_plateau(self) -> None:
        """Go back to the best weights with a lower learning rate when nothing improves."""
        state, now = self.state, len(self.state.history) - 1
        waited = now - max(state.best_evaluation, state.last_reduction)
        if not self.config.plateau_patience or waited < self.config.plateau_patience:
            return
        self.model.load_state_dict(state.best_weights)
        state.ema_weights = [
            weight.detach().clone() for weight in self.parameters if state.ema_weights
        ]
        self.optimizer.state.clear()
        state.rate_share, state.last_reduction = state.rate_share / 3, now
        logger.info(
            "evaluation %d: back to evaluation %d, a third of the rate", now, state.best_evaluation
        )

    @contextmanager
    def _with_ema_weights(self) -> Iterator[None]:
        """Let the average stand in for the weights, if there is one."""
        swap(self.state.ema_weights, self.parameters)
        try:
            yield
        finally:
            swap(self.state.ema_weights, self.parameters)

    def _validation_refused(self) -> bool:
        """Ask for leave to validate; a run that is stopping anyway may still be refused."""
        earlier, self.state.stop_reason = self.state.stop_reason, None
        self.notify("before_evaluation")
        refused = self.state.stop_reason is not None
        self.state.stop_reason = earlier or self.state.stop_reason
        return refused

    def _record(self, found: Evaluation) -> None:
        """Append a row to the history and track the best weights."""
        state, score = self.state, found.score
        losses = state.losses[state.step - state.steps_since_validation :]
        row = HistoryRow(
            evaluation=len(state.history),
            step=state.step,
            seconds=self.clock() - self.started,
            train_loss=sum(losses) / len(losses) if losses else math.nan,
            score=score,
            learning_rate=state.learning_rate,
            metrics=found.metrics,
        )
        state.history.append(row)
        state.base, state.last = state.base or found, found
        last_is_best = row.evaluation == 0 or self.evaluate is None
        if last_is_best or improves(score, state.best_score, self.config.min_delta):
            state.best_evaluation, state.best_step, state.best = row.evaluation, row.step, found
            state.best_weights = copy_weights(self.model) if row.evaluation else state.base_weights
        logger.info(
            "evaluation %d, step %d, %.1f s: train loss %.4f, score %.5g, best %.5g at step %d",
            row.evaluation, row.step, row.seconds, row.train_loss, score,
            state.best_score, state.best_step,
        )  # fmt: skip
