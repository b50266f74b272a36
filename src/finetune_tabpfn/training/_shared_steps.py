"""A training whose steps several processes share: one gradient, one score, one decision to stop.

This is what is put around batches, loss, evaluation and callbacks of the loop, which knows nothing
of it.

Why not ``torch.nn.parallel.DistributedDataParallel``: it wraps the module, and ours is called by
tabpfn's own code too (validation, prediction), by its own methods and names of weights, some of
which a task leaves without gradient. What it would add, summing while the backward pass still
runs, matters for networks far larger than these: one sum per step of 7 to 50 million numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from finetune_tabpfn.training._callbacks import Callback
from finetune_tabpfn.training._loop import BatchSource
from finetune_tabpfn.training._meeting import RETRY, Meeting, Word
from finetune_tabpfn.training._state import Evaluation, TrainState
from finetune_tabpfn.training._stop_reasons import StopReason

Evaluate = Callable[[nn.Module], float | Evaluation]


class SharedSteps(Callback):
    """The passes of a step that this process makes; the gradient and the loss are those of all.

    Parameters
    ----------
    meeting : Meeting
    batches : BatchSource
        Gives the passes of this process, with their share of the whole step.
    loss_fn : callable
    parameters : list of torch.nn.Parameter
    """

    def __init__(
        self,
        meeting: Meeting,
        batches: BatchSource,
        loss_fn: Callable[[nn.Module, Any], torch.Tensor],
        parameters: list[nn.Parameter],
    ) -> None:
        self.meeting, self.batches, self.loss_fn = meeting, batches, loss_fn
        self.parameters = parameters
        self.share, self.total = 0.0, torch.zeros(())
        self.waited_for = False  # the others wait to hear of this step

    def __getattr__(self, name: str) -> Any:
        return getattr(self.batches, name)

    def __call__(self, step: int) -> Iterator[tuple[float, Any]]:
        """Yield this process's passes; the loop asks for more once their gradient is there."""
        self.total, self.waited_for = torch.zeros((), device=self.parameters[0].device), True
        for share, batch in self.batches(step):
            self.share = share
            yield share, batch
        self.waited_for = False
        self.meeting.meet("step")
        self._sum_over_processes()

    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        """Return the loss of a pass, and add it to that of the step."""
        loss = self.loss_fn(model, batch)
        self.total = self.total + self.share * loss.detach().float()
        return loss

    def _sum_over_processes(self) -> None:
        """Sum gradients and losses; what gets no gradient here gets none anywhere."""
        gradients = [weight.grad for weight in self.parameters if weight.grad is not None]
        flat = torch.cat([self.total.reshape(1), *[its.reshape(-1) for its in gradients]])
        self.meeting.sum(flat)
        sizes = [1, *[its.numel() for its in gradients]]
        loss, *summed = flat.split(sizes)
        self.total = loss[0].clone()
        for gradient, its in zip(gradients, summed, strict=True):
            gradient.copy_(its.view_as(gradient))

    def shrink(self) -> str | None:
        """Ask less memory of the next pass, in all processes alike."""
        if self.waited_for:
            self.waited_for = False
            self.meeting.exchange("step", Word(RETRY))
        return self.batches.shrink()

    def after_step(self, state: TrainState) -> None:
        """Let the loss of the step be that of all its splits."""
        if state.unread:
            state.unread[-1] = ([(1.0, self.total)], state.unread[-1][1])
        else:
            state.losses[-1] = self.total.item()


def scored_by_first(meeting: Meeting, evaluate: Evaluate) -> Evaluate:
    """Return an evaluation made in all processes, whose score is that of the first."""

    def scored(model: nn.Module) -> Evaluation:
        found = evaluate(model)
        found = found if isinstance(found, Evaluation) else Evaluation(found)
        word, score = meeting.exchange("score", number=found.score)
        if word is not None:
            raise meeting.raised(word)
        return replace(found, score=score)

    return scored


class OneDecision(Callback):
    """Lets all processes stop for the same reason, at the same moment.

    Parameters
    ----------
    meeting : Meeting
    is_interrupted : callable
        Tells whether Ctrl-C has been pressed here.
    """

    def __init__(self, meeting: Meeting, is_interrupted: Callable[[], bool]) -> None:
        self.meeting, self.is_interrupted = meeting, is_interrupted

    def _agree(self, state: TrainState, *, leaves: bool = False) -> str | None:
        reason = state.stop_reason
        if reason is None and self.is_interrupted():
            reason = str(StopReason.INTERRUPTED)
        if reason is None and leaves:  # by an error that the loop does not cope with
            reason = str(StopReason.FAILED)
        error = state.error
        what = "" if error is None else in_one_line(error)
        word = None if reason is None else Word(reason, leaves, what)
        point = "end of training" if leaves else "callbacks"
        said, _ = self.meeting.exchange(point, word)
        if said is None:
            return None
        if said.error and state.error is None:
            state.error = self.meeting.failure(said)
        state.stop_reason = said.reason
        return said.reason

    def on_train_begin(self, state: TrainState) -> str | None:
        """Stop before anything is done, if somebody would."""
        return self._agree(state)

    def before_evaluation(self, state: TrainState) -> str | None:
        """Refuse a validation that one process refuses."""
        return self._agree(state)

    def after_evaluation(self, state: TrainState) -> str | None:
        """Stop for whatever the callbacks of one process say."""
        return self._agree(state)

    def before_step(self, state: TrainState) -> str | None:
        """Likewise."""
        return self._agree(state)

    def on_train_end(self, state: TrainState) -> None:
        """Tell those who would go on that this process does not."""
        if self.meeting.lost is None:
            self._agree(state, leaves=True)


def in_one_line(error: BaseException) -> str:
    """Return what an error is and says, for the other processes."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
