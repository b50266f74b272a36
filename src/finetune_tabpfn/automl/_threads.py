"""The threads that a library gives to a fit, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


@contextmanager
def threads(number: float) -> Iterator[None]:
    """Compute with so many threads for a while: torch, BLAS and OpenMP.

    Parameters
    ----------
    number : float
        Of processors, of which there may be half a one; one thread at least.
    """
    before, number = torch.get_num_threads(), max(1, int(number))
    with threadpool_limits(number):
        torch.set_num_threads(number)
        try:
            yield
        finally:
            torch.set_num_threads(before)
