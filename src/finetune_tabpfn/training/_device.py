"""What differs between devices: waiting, precision, running out of memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Literal

import torch

Precision = Literal["fp32", "bf16", "fp16"]


@contextmanager
def gradients() -> Iterator[None]:
    """Let torch record gradients, whatever it was told outside; training needs them."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def waiter(device: torch.device) -> Callable[[], None] | None:
    """Return what waits for a device, None for one that has done its work when a call returns."""
    if device.type == "cuda":
        return partial(torch.cuda.synchronize, device)
    return torch.mps.synchronize if device.type == "mps" else None


def ran_out_of_memory(error: Exception) -> bool:
    """Tell whether an error says that memory could not be had, which on a CPU has no own type."""
    words = ("can't allocate memory", "not enough memory", "out of memory")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)
    )


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """Return the autocast context of `precision`, which does nothing for fp32."""
    if precision == "fp32":
        return nullcontext()
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    return torch.autocast(device.type, dtype=dtype)
