"""The processes that torchrun has started: they connect once, whatever a program fits."""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache

import torch
from torch import distributed

from finetune_tabpfn.training._distributed import ALONE, Alone, Group
from finetune_tabpfn.training._meeting import Meeting, wait_seconds
from finetune_tabpfn.utils._workers import SHARE, LostProcessError, launched


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
    meeting = Meeting(rank, size, words, distributed.group.WORLD if on_gpu else words)
    if on_gpu:
        own = str(torch.cuda.get_device_properties(torch.device(device)).uuid)
        if len(set(meeting.gathered(own))) < size:
            raise ValueError(
                f"device={device!r} is a GPU of several of the {size} processes; as many processes "
                'as a machine has GPUs, with device="auto", would do.'
            )
    return Group(meeting)


def _disconnect() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()
