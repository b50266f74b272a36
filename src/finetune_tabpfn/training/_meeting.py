"""What the processes of a fit tell each other.

Processes that do not do the same wait for each other for ever. So before they exchange anything
they tell each other where they stand and whether they go on (:meth:`Meeting.exchange`): one that
must stop, for whatever reason, says so there, and all hear it at the same moment.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import distributed

from finetune_tabpfn.training._device import ran_out_of_memory
from finetune_tabpfn.training._loop import NoScoreError
from finetune_tabpfn.training._stop_reasons import StopReason
from finetune_tabpfn.utils._workers import LostProcessError, OtherProcessError

WAIT = "FINETUNE_TABPFN_WAIT"  # environment: seconds that a process waits for the others
WAIT_SECONDS = 600.0
POINTS = ("together", "step", "members", "score", "callbacks", "end of training", "end of fit")
RETRY = "less memory"


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


class Meeting:
    """Where the processes of a fit meet.

    Parameters
    ----------
    rank, size : int
    words : torch.distributed.ProcessGroup
        For numbers and text, on the CPU.
    tensors : torch.distributed.ProcessGroup
        For gradients and logits, on the device.

    Attributes
    ----------
    left : Word or None
        By which some process has left the others.
    lost : LostProcessError or None
        What showed that another process does not answer.
    """

    def __init__(self, rank: int, size: int, words: Any, tensors: Any) -> None:
        self.rank, self.size, self.words, self.tensors = rank, size, words, tensors
        self.left: Word | None = None
        self.lost: LostProcessError | None = None

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
        said = self.gathered(word)
        words = [replace(its, rank=rank) for rank, its in enumerate(said) if its is not None]
        leaving = next((its for its in words if its.leaves), None)
        self.left = leaving
        return leaving or words[0], float(table[0, 2])

    def meet(self, point: str, word: Word | None = None) -> None:
        """Meet the others; raise what another process has met."""
        said, _ = self.exchange(point, word)
        if said is not None:
            raise self.raised(said)

    def leave(self, error: str) -> None:
        """Tell the others that this process does not go on, if they can still be told."""
        if self.lost is not None or self.left is not None:
            return
        try:
            self.exchange("end of fit", Word(str(StopReason.FAILED), leaves=True, error=error))
        except (LostProcessError, OtherProcessError):
            return

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

    def raised(self, word: Word) -> BaseException:
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

    # what is sent where all have met

    def gathered(self, own: Any) -> list[Any]:
        """Return what each process has, in their order."""
        found: list[Any] = [None] * self.size
        with self._connected():
            distributed.all_gather_object(found, own, group=self.words)
        return found

    def send(self, made: Any) -> None:
        """Send something to all others, which receive it."""
        buffer = io.BytesIO()
        torch.save(made, buffer)
        with self._connected():
            distributed.broadcast_object_list([buffer.getvalue()], src=0, group=self.words)

    def receive(self) -> Any:
        """Return what the first process sends, with its tensors on the CPU."""
        found: list[Any] = [None]
        with self._connected():
            distributed.broadcast_object_list(found, src=0, group=self.words)
        # from a process of this very program
        return torch.load(io.BytesIO(found[0]), map_location="cpu", weights_only=False)

    def sum(self, tensor: torch.Tensor) -> None:
        """Let a tensor be the sum of those of all processes, in place."""
        with self._connected():
            distributed.all_reduce(tensor, group=self.tensors)

    def broadcast(self, tensor: torch.Tensor, holder: int) -> None:
        """Let a tensor be that of one of the processes, in place."""
        with self._connected():
            distributed.broadcast(tensor, src=holder, group=self.tensors)

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
