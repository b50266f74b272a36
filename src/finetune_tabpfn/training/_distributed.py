"""One fit in several processes, which torchrun starts: they share the splits of every step.

Every process holds the whole table and the whole network and makes the same steps. Of each step it
computes the gradient of some splits only; the sum over all processes is the gradient of the step,
so that the weights stay the same everywhere, and the same as in one process with as many splits.
Nothing of this stands in the training loop: :meth:`Alone.train` is the loop itself, and
:class:`Group` puts around it what `_shared_steps.py` has.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import nn

from finetune_tabpfn.training._loop import BatchSource, TrainConfig, logger, train
from finetune_tabpfn.training._meeting import Meeting
from finetune_tabpfn.training._shared_steps import (
    Evaluate,
    OneDecision,
    SharedSteps,
    in_one_line,
    scored_by_first,
)
from finetune_tabpfn.training._state import TrainState
from finetune_tabpfn.utils._workers import SHARE

SECOND_CTRL_C = 1.0  # seconds: torchrun passes on what the terminal has sent already
Made = TypeVar("Made")
Some = TypeVar("Some")


class Alone:
    """A fit in one process: everything is done here, and nobody is asked."""

    rank, size = 0, 1

    def own(self, parts: Sequence[Made]) -> Sequence[Made]:
        """Return those of some parts of the work that this process does."""
        return parts

    def for_first(self, several: Sequence[Made]) -> Sequence[Made]:
        """Return what the first process alone is to have; nothing in the others."""
        return several

    def on_first(self, make: Callable[[], Made], elsewhere: Any = None) -> Made:
        """Return what `make` returns in the first process, and `elsewhere` in the others."""
        return make()

    def from_first(self, make: Callable[[], Made]) -> Made:
        """Return in all processes what `make` returns in the first."""
        return make()

    def check_alike(self, describe: Callable[[], Mapping[str, Any]]) -> None:
        """Raise ValueError where processes were given something else."""

    def deal(
        self, items: Sequence[Some], work: Callable[[Sequence[Some]], Iterable[torch.Tensor]]
    ) -> Iterable[torch.Tensor]:
        """Return a tensor for each item, all of one shape; several processes share the work."""
        return work(items)

    def train(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        batches: BatchSource,
        loss_fn: Callable[[nn.Module, Any], torch.Tensor],
        evaluate: Evaluate | None,
        config: TrainConfig,
        callbacks: Sequence[object] = (),
        writers: Sequence[object] = (),
        state: TrainState | None = None,
    ) -> TrainState:
        """Train as :func:`finetune_tabpfn.training._loop.train` does.

        Parameters
        ----------
        model, optimizer, batches, loss_fn, evaluate, config, callbacks, state
            As of that function.
        writers : sequence of Callback
            Those that need to know whether the run ends; told last.
        """
        return train(
            model,
            optimizer,
            batches=batches,
            loss_fn=loss_fn,
            evaluate=evaluate,
            config=config,
            callbacks=[*callbacks, *writers],
            state=state,
        )


ALONE = Alone()


class Group(Alone):
    """A fit in several processes.

    Parameters
    ----------
    meeting : Meeting
        Where they meet.
    """

    def __init__(self, meeting: Meeting) -> None:
        self.rank, self.size, self.meeting = meeting.rank, meeting.size, meeting
        self.apart = False  # the first process does something that the others do not
        self.interrupted = 0.0  # moment of Ctrl-C

    def own(self, parts: Sequence[Made]) -> Sequence[Made]:
        """Return every n-th part of the work, from the number of this process on."""
        return parts[self.rank :: self.size]

    def for_first(self, several: Sequence[Made]) -> Sequence[Made]:
        """Return what the first process alone is to have; nothing in the others."""
        return several if self.rank == 0 else ()

    def on_first(self, make: Callable[[], Made], elsewhere: Any = None) -> Made:
        """Return what `make` returns in the first process, and `elsewhere` in the others.

        Raises in all what it raises in the first.
        """
        made: list[Made] = [elsewhere]

        def keep() -> None:
            made[0] = make()

        self.from_first(keep)
        return made[0]

    def from_first(self, make: Callable[[], Made]) -> Made:
        """Return in all processes what `make` returns in the first, with its tensors on the CPU."""
        if self.apart or (self.meeting.lost is not None and self.rank == 0):
            return make()  # which the others do not wait for
        if self.rank == 0:
            self.apart = True
            try:
                made = make()
            finally:
                self.apart = False
            self.meeting.meet("together")
            self.meeting.send(made)
            return made
        self.meeting.meet("together")
        return self.meeting.receive()

    def check_alike(self, describe: Callable[[], Mapping[str, Any]]) -> None:
        """Raise ValueError where a process was given other rows, parameters or another base."""
        own = dict(describe())
        self.meeting.meet("together")
        found = self.meeting.gathered(own)
        for rank, other in enumerate(found):
            different = [name for name in found[0] if other.get(name) != found[0][name]]
            if different:
                raise ValueError(
                    f"process {rank} of {self.size} was given other {_listed(different)} than "
                    "process 0; all processes of torchrun make the same fit together, unless "
                    f"{SHARE}=0 in their environment gives each one of its own."
                )

    def deal(
        self, items: Sequence[Some], work: Callable[[Sequence[Some]], Iterable[torch.Tensor]]
    ) -> Iterable[torch.Tensor]:
        """Return a tensor for each item, all of one shape: each process works on every n-th."""
        if self.apart or self.meeting.lost is not None or len(items) < self.size:
            return work(items)
        with self.meeting.sharing("members"):
            own = list(work(self.own(items)))
        found = []
        for number in range(len(items)):
            turn, holder = divmod(number, self.size)
            sent = own[turn].float() if holder == self.rank else torch.empty_like(own[0].float())
            sent = sent.clone()  # what inference mode made cannot be sent
            self.meeting.broadcast(sent, holder)
            found.append(sent.to(own[0].dtype))
        return found

    def train(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        batches: BatchSource,
        loss_fn: Callable[[nn.Module, Any], torch.Tensor],
        evaluate: Evaluate | None,
        config: TrainConfig,
        callbacks: Sequence[object] = (),
        writers: Sequence[object] = (),
        state: TrainState | None = None,
    ) -> TrainState:
        """Train in all processes at once; each has the same state afterwards."""
        meeting = self.meeting
        meeting.left = None
        parameters = [weight for group in optimizer.param_groups for weight in group["params"]]
        steps = SharedSteps(meeting, batches, loss_fn, parameters)
        one_decision = OneDecision(meeting, lambda: self.interrupted > 0)
        try:
            return train(
                model,
                optimizer,
                batches=steps,
                loss_fn=steps.loss,
                evaluate=None if evaluate is None else scored_by_first(meeting, evaluate),
                config=config,
                # the loss of all before anybody reads it; the decision when all have decided
                callbacks=[steps, *callbacks, one_decision, *writers],
                state=state,
            )
        finally:
            if meeting.lost is None:
                meeting.left = None

    @contextmanager
    def session(self) -> Iterator[Group]:
        """Keep the processes together for the time of a fit; only the first one is heard."""
        if self.meeting.lost is not None:
            raise self.meeting.lost
        self.meeting.left, self.apart, self.interrupted = None, False, 0.0
        with self._ctrl_c_noted(), self._heard_if_first():
            try:
                yield self
            except BaseException as error:
                self.meeting.leave(in_one_line(error))
                raise
            self.meeting.meet("end of fit")

    @contextmanager
    def _ctrl_c_noted(self) -> Iterator[None]:
        """Let Ctrl-C end the training where all meet: in the middle of a step others would wait.

        A second one, later than what torchrun passes on, ends the process at once.
        """
        before = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread() or before is signal.SIG_IGN:
            yield
            return

        def note(*_: object) -> None:
            now = time.monotonic()
            if self.interrupted and now - self.interrupted > SECOND_CTRL_C:
                raise KeyboardInterrupt
            self.interrupted = self.interrupted or now

        signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    @contextmanager
    def _heard_if_first(self) -> Iterator[None]:
        """Let no process but the first one warn or log."""
        if self.rank == 0:
            yield
            return
        level = logger.level
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logger.setLevel(logging.CRITICAL + 1)
            try:
                yield
            finally:
                logger.setLevel(level)


def _listed(names: Sequence[str]) -> str:
    words = {"data": "rows", "base_model": "base model"}
    return " and ".join(words.get(name, name) for name in names)
