"""torch's global random state is the user's: what needs it for a moment puts it back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_LOCK = threading.Lock()


@contextmanager
def untouched_random_state() -> Iterator[None]:
    """Restore torch's random state afterwards; one thread at a time, or none would."""
    with _LOCK, torch.random.fork_rng(devices=[]):
        yield
