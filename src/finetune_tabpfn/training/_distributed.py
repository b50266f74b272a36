"""One fit in several processes, which torchrun starts: they share the splits of every step.

Every process holds the whole table and the whole network and makes the same steps. Of each step it
computes the gradient of some splits only; the sum over all processes is the gradient of the step,
so that the weights stay the same everywhere, and the same as in one process with as many splits.
Nothing of this stands in the training loop: what wraps batches, loss and evaluation around it is
here, and :meth:`Alone.train` is the loop itself.

Why not ``torch.nn.parallel.DistributedDataParallel``: it wraps the module, and ours is called by
tabpfn's own code too (validation, prediction), by its own methods and names of weights, some of
which a task leaves without gradient. What it would add, summing while the backward pass still
runs, matters for networks far larger than these: one sum per step of 7 to 50 million numbers.

Processes that do not do the same wait for each other for ever. So before they exchange anything
they tell each other where they stand and whether they go on (:meth:`Group.exchange`): one that
must stop, for whatever reason, says so there, and all hear it at the same moment.
"""

from __future__ import annotations

import atexit
import io
import logging
import math
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from typing import Any, TypeVar

import torch
from torch import distributed, nn

from finetune_tabpfn.training._callbacks import Callback
from finetune_tabpfn.training._device import ran_out_of_memory
from finetune_tabpfn.training._loop import BatchSource, NoScoreError, TrainConfig, logger, train
from finetune_tabpfn.training._state import Evaluation, TrainState
from finetune_tabpfn.training._stop_reasons import StopReason
from finetune_tabpfn.utils._workers import SHARE, LostProcessError, OtherProcessError, launched

WAIT = "FINETUNE_TABPFN_WAIT"  # environment: seconds that a process waits for the others
WAIT_SECONDS = 600.0
SECOND_CTRL_C = 1.0  # seconds: torchrun passes on what the terminal has sent already
POINTS = ("together", "step", "members", "score", "callbacks", "end of training", "end of fit")
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
        evaluate: Callable[[nn.Module], float | Evaluation] | None,
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


@dataclass(frozen=True)
class Word:
    """What a process has to say where all meet.

    Attributes
    ----------
    reason : str
        Why it stops, as a stop reason; `RETRY` asks for the same again with less memory.
    leaves : bool
        Whether it does not go on with the others from here.
    error : str
        What has failed, if something has.
    rank : int
    """

    reason: str
    leaves: bool = False
    error: str = ""
    rank: int = 0


RETRY = "less memory"


class Group(Alone):
    """A fit in several processes.

    Parameters
    ----------
    rank, size : int
    words : torch.distributed.ProcessGroup
        For numbers and text, on the CPU.
    tensors : torch.distributed.ProcessGroup
        For gradients, on the device.
    """

    def __init__(self, rank: int, size: int, words: Any, tensors: Any) -> None:
        self.rank, self.size, self.words, self.tensors = rank, size, words, tensors
        self.left: Word | None = None  # by which some process has left the others
        self.lost: LostProcessError | None = None
        self.apart = False  # the first process does something that the others do not
        self.interrupted = 0.0  # moment of Ctrl-C

    # what they tell each other

    def exchange(
        self, point: str, word: Word | None = None, number: float = 0.0
    ) -> tuple[Word | None, float]:
        """Meet the others; return the first word that is said, and the number of the first process.

        Once a process has left the others, nobody is met any more: the word is that one.
        """
        if self.lost is not None:
            raise self.lost
        if self.left is not None:
            return self.left, number
        place = float(POINTS.index(point))
        own = torch.tensor([place, float(word is not None), number], dtype=torch.float64)
        found = [torch.empty_like(own) for _ in range(self.size)]
        with self._connected():
            distributed.all_gather(found, own, group=self.words)
        table = torch.stack(found)
        if not table[:, 1].any():
            if (table[:, 0] != place).any():
                raise OtherProcessError(
                    f"the {self.size} processes of the fit are out of step ({point!r} here); "
                    "a callback or a parameter differs between them."
                )
            return None, float(table[0, 2])
        said: list[Word | None] = [None] * self.size
        with self._connected():
            distributed.all_gather_object(said, word, group=self.words)
        words = [replace(its, rank=rank) for rank, its in enumerate(said) if its is not None]
        leaving = next((its for its in words if its.leaves), None)
        self.left = leaving
        return leaving or words[0], float(table[0, 2])

    def meet(self, point: str, word: Word | None = None) -> None:
        """Meet the others; raise what another process has met."""
        said, _ = self.exchange(point, word)
        if said is not None:
            raise self._raised(said)

    def _raised(self, word: Word) -> BaseException:
        """Return the exception by which the loop ends for the reason of another process."""
        reason, _, details = word.reason.partition(": ")
        if reason in (RETRY, StopReason.OUT_OF_MEMORY.value):
            return torch.OutOfMemoryError(f"out of memory in process {word.rank}")
        if reason == StopReason.INTERRUPTED.value:
            return KeyboardInterrupt()
        if reason == StopReason.DIVERGED.value:
            return FloatingPointError(details)
        if reason == StopReason.NO_SCORE.value:
            return NoScoreError(details)
        return self.failure(word)

    def failure(self, word: Word) -> OtherProcessError:
        """Return the error that says what has failed elsewhere."""
        what = word.error or word.reason
        return OtherProcessError(f"process {word.rank} of {self.size} ended the fit: {what}")

    @contextmanager
    def _connected(self) -> Iterator[None]:
        """Say it in a sentence where the others cannot be reached."""
        try:
            yield
        except RuntimeError as error:  # what the backends raise
            self.lost = LostProcessError(
                f"Another of the {self.size} processes of this fit has ended or does not answer "
                f"(each waits {wait_seconds():.0f} s at most), so the fit ends here; started again "
                "with Checkpoint(folder, resume=True) it goes on from the last checkpoint."
            )
            raise self.lost from error

    # what a fit does with it

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
        if self.apart or (self.lost is not None and self.rank == 0):
            return make()  # which the others do not wait for
        if self.rank == 0:
            self.apart = True
            try:
                made = make()
            finally:
                self.apart = False
            self.meet("together")
            self._send(made)
            return made
        self.meet("together")
        return self._receive()

    def _send(self, made: Any) -> None:
        buffer = io.BytesIO()
        torch.save(made, buffer)
        with self._connected():
            distributed.broadcast_object_list([buffer.getvalue()], src=0, group=self.words)

    def _receive(self) -> Any:
        found: list[Any] = [None]
        with self._connected():
            distributed.broadcast_object_list(found, src=0, group=self.words)
        # from a process of this very program
        return torch.load(io.BytesIO(found[0]), map_location="cpu", weights_only=False)

    def check_alike(self, describe: Callable[[], Mapping[str, Any]]) -> None:
        """Raise ValueError where a process was given other rows, parameters or another base."""
        own = dict(describe())
        self.meet("together")
        found: list[Any] = [None] * self.size
        with self._connected():
            distributed.all_gather_object(found, own, group=self.words)
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
        if self.apart or self.lost is not None or len(items) < self.size:
            return work(items)
        with self.sharing("members"):
            own = list(work(self.own(items)))
        found = []
        for number in range(len(items)):
            turn, holder = divmod(number, self.size)
            sent = own[turn].float() if holder == self.rank else torch.empty_like(own[0].float())
            sent = sent.clone()  # what inference mode made cannot be sent
            with self._connected():
                distributed.broadcast(sent, src=holder, group=self.tensors)
            found.append(sent.to(own[0].dtype))
        return found

    @contextmanager
    def sharing(self, point: str) -> Iterator[None]:
        """Do something in each process, then meet: memory that runs out in one does so in all."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not ran_out_of_memory(error):
                raise
            self.exchange(point, Word(RETRY))
            raise
        self.meet(point)

    def train(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        batches: BatchSource,
        loss_fn: Callable[[nn.Module, Any], torch.Tensor],
        evaluate: Callable[[nn.Module], float | Evaluation] | None,
        config: TrainConfig,
        callbacks: Sequence[object] = (),
        writers: Sequence[object] = (),
        state: TrainState | None = None,
    ) -> TrainState:
        """Train in all processes at once; each has the same state afterwards."""
        self.left = None
        parameters = [weight for group in optimizer.param_groups for weight in group["params"]]
        steps = _SharedSteps(self, batches, loss_fn, parameters)

        def scored(model: nn.Module) -> Evaluation:
            assert evaluate is not None
            found = evaluate(model)
            found = found if isinstance(found, Evaluation) else Evaluation(found)
            word, score = self.exchange("score", number=found.score)
            if word is not None:
                raise self._raised(word)
            return replace(found, score=score)

        try:
            return train(
                model,
                optimizer,
                batches=steps,
                loss_fn=steps.loss,
                evaluate=None if evaluate is None else scored,
                config=config,
                # the loss of all before anybody reads it; the decision when all have decided
                callbacks=[steps, *callbacks, _OneDecision(self), *writers],
                state=state,
            )
        finally:
            if self.lost is None:
                self.left = None

    # the session of one fit

    @contextmanager
    def session(self) -> Iterator[Group]:
        """Keep the processes together for the time of a fit; only the first one is heard."""
        if self.lost is not None:
            raise self.lost
        self.left, self.apart, self.interrupted = None, False, 0.0
        with self._ctrl_c_noted(), self._heard_if_first():
            try:
                yield self
            except BaseException as error:
                self._leave(f"{type(error).__name__}: {' '.join(str(error).split())}")
                raise
            self.meet("end of fit")

    def _leave(self, error: str) -> None:
        """Tell the others that this process does not go on, if they can still be told."""
        if self.lost is not None or self.left is not None:
            return
        try:
            self.exchange("end of fit", Word(str(StopReason.FAILED), leaves=True, error=error))
        except (LostProcessError, OtherProcessError):
            return

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


class _SharedSteps(Callback):
    """The passes of a step that this process makes; the gradient and the loss are those of all.

    Parameters
    ----------
    group : Group
    batches : BatchSource
        Gives the passes of this process, with their share of the whole step.
    loss_fn : callable
    parameters : list of torch.nn.Parameter
    """

    def __init__(
        self,
        group: Group,
        batches: BatchSource,
        loss_fn: Callable[[nn.Module, Any], torch.Tensor],
        parameters: list[nn.Parameter],
    ) -> None:
        self.group, self.batches, self.loss_fn = group, batches, loss_fn
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
        self.group.meet("step")
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
        with self.group._connected():
            distributed.all_reduce(flat, group=self.group.tensors)
        sizes = [1, *[its.numel() for its in gradients]]
        loss, *summed = flat.split(sizes)
        self.total = loss[0].clone()
        for gradient, its in zip(gradients, summed, strict=True):
            gradient.copy_(its.view_as(gradient))

    def shrink(self) -> str | None:
        """Ask less memory of the next pass, in all processes alike."""
        if self.waited_for:
            self.waited_for = False
            self.group.exchange("step", Word(RETRY))
        return self.batches.shrink()

    def after_step(self, state: TrainState) -> None:
        """Let the loss of the step be that of all its splits."""
        if state.unread:
            state.unread[-1] = ([(1.0, self.total)], state.unread[-1][1])
        else:
            state.losses[-1] = self.total.item()


class _OneDecision(Callback):
    """Lets all processes stop for the same reason, at the same moment."""

    def __init__(self, group: Group) -> None:
        self.group = group

    def _agree(self, state: TrainState, *, leaves: bool = False) -> str | None:
        group, reason = self.group, state.stop_reason
        if reason is None and group.interrupted:
            reason = str(StopReason.INTERRUPTED)
        if reason is None and leaves:  # by an error that the loop does not cope with
            reason = str(StopReason.FAILED)
        error = state.error
        what = "" if error is None else f"{type(error).__name__}: {' '.join(str(error).split())}"
        word = None if reason is None else Word(reason, leaves, what)
        point = "end of training" if leaves else "callbacks"
        said, _ = group.exchange(point, word)
        if said is None:
            return None
        if said.error and state.error is None:
            state.error = group.failure(said)
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
        if self.group.lost is None:
            self._agree(state, leaves=True)


def wait_seconds() -> float:
    """Return how long a process waits for the others at most.

    Raises
    ------
    ValueError
    """
    asked = os.environ.get(WAIT, str(WAIT_SECONDS))
    try:
        seconds = float(asked)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ValueError(f"{WAIT}={asked!r} must be a number of seconds above 0, such as 600.")
    return seconds


@contextmanager
def processes_of_fit(device: torch.device) -> Iterator[Alone]:
    """Return the processes that share the fit which begins now; usually this one alone."""
    if launched()[1] == 1:
        yield ALONE
        return
    with _group(str(device)).session() as group:
        yield group


@lru_cache(maxsize=1)
def _group(device: str) -> Group:
    """Connect to the other processes, once: a program may fit several times."""
    (rank, size), on_gpu = launched(), torch.device(device).type == "cuda"
    wait = timedelta(seconds=wait_seconds())
    try:
        if not distributed.is_initialized():
            backend = "nccl" if on_gpu else "gloo"
            distributed.init_process_group(backend, timeout=wait)
            atexit.register(_disconnect)
        words = distributed.new_group(backend="gloo", timeout=wait)
    except RuntimeError as error:
        raise LostProcessError(
            f"The {size} processes of torchrun have not all begun this fit within "
            f"{wait_seconds():.0f} s; all of them make the same fit together, unless "
            f"{SHARE}=0 in their environment gives each one of its own."
        ) from error
    group = Group(rank, size, words, distributed.group.WORLD if on_gpu else words)
    if on_gpu:
        gpus: list[Any] = [None] * size
        own = str(torch.cuda.get_device_properties(torch.device(device)).uuid)
        distributed.all_gather_object(gpus, own, group=words)
        if len(set(gpus)) < size:
            raise ValueError(
                f"device={device!r} is a GPU of several of the {size} processes; as many processes "
                'as a machine has GPUs, with device="auto", would do.'
            )
    return group


def _disconnect() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _listed(names: Sequence[str]) -> str:
    words = {"data": "rows", "base_model": "base model"}
    return " and ".join(words.get(name, name) for name in names)
