"""What the defaults resolve to: the recipe, as pure functions of a fit's sizes.

docs/design.md says where each choice comes from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from finetune_tabpfn.training import Precision

MAX_QUERY = 1024  # more query rows make a better gradient (Rubachev et al. 2025, table 5)
QUERY_SHARE = 0.4  # of a split, where the table or the device does not hold MAX_QUERY
CPU_SPLIT_ROWS = 1024  # on a CPU a step costs in proportion to its rows, or worse
GPU_SPLIT_ROWS = 10_000
CPU_CONTEXT_ROWS = 10_000  # of a deployed member: prediction costs the square of them
GPU_CONTEXT_ROWS = 50_000
MAX_HELD_OUT = 2048
ROUND_STEPS = 10
VALIDATION_SHARE = 0.15  # of the work of a round
WITHOUT_BF16 = ("NO AVX", "AVX2")  # as torch names what a processor has
STEP_WORK = 2  # forward and backward of a row over its forward in a validation, as measured


@dataclass(frozen=True)
class SplitSizes:
    """Rows of a split."""

    context: int
    query: int


def learning_rate(n_parameters: int) -> float:
    """Return the default learning rate of a network of this size.

    Networks of 7 to 50 million parameters want 1e-5 to 6e-5 (Rubachev et al. 2025; Prior Labs'
    documentation), the mini models of about one million 3e-4 to 1e-3. Inversely proportional
    to the size, it meets both.
    """
    return min(max(450 / n_parameters, 1e-5), 5e-4)


def split_sizes(
    n_rows: int, device: torch.device, context_size: int | None, query_size: int | None
) -> SplitSizes:
    """Return the rows of a split: as asked for, as the table allows, else by default.

    Parameters
    ----------
    n_rows : int
        Training rows, at least 2.
    device : torch.device
    context_size, query_size : int or None
    """
    rows = min(n_rows, CPU_SPLIT_ROWS if device.type == "cpu" else GPU_SPLIT_ROWS)
    if query_size is None:
        most = rows if context_size is None else max(2, n_rows - context_size)
        query_size = min(MAX_QUERY, max(1, int(QUERY_SHARE * most)))
    query = min(query_size, max(1, n_rows // 2))
    if context_size is None:
        context_size = max(1, rows - query)
    return SplitSizes(context=min(context_size, n_rows - query), query=query)


def hold_out_fraction(n_rows: int) -> float:
    """Return the share of the rows to hold out: a fifth, of a large table fewer.

    Twice as many rows to validate on tell gains from luck 1.4 times better, and cost twice as much.
    """
    return min(0.2, MAX_HELD_OUT / n_rows)


def max_context(device: torch.device) -> int:
    """Return how many context rows a deployed member holds at most."""
    return CPU_CONTEXT_ROWS if device.type == "cpu" else GPU_CONTEXT_ROWS


def validation_context(device: torch.device) -> int:
    """Return how many context rows a member has at most in the validation of a round.

    What is deployed has more on a large table, and a validation with all of them costs as much as
    many steps; which of two networks is better shows with fewer. What is deployed is decided with
    all, where there is time.
    """
    return 2 * (CPU_SPLIT_ROWS if device.type == "cpu" else GPU_SPLIT_ROWS)


def round_steps(
    eval_interval: int | str, *, split_rows: int, batch_size: int, validation_rows: int
) -> int:
    """Return the steps of a round.

    Ten, or as many as keep the validation near 15 % of the work. The work is counted in
    rows, not in seconds: the same seed then gives the same run on a machine that is busy.

    Parameters
    ----------
    eval_interval : int or "auto"
    split_rows : int
        Context and query rows of a split.
    batch_size : int
        Splits per step.
    validation_rows : int
        Rows forwarded by one validation, over all members.
    """
    if not isinstance(eval_interval, str):
        return eval_interval
    step_work = STEP_WORK * split_rows * batch_size
    affordable = validation_rows * (1 - VALIDATION_SHARE) / VALIDATION_SHARE / step_work
    return max(ROUND_STEPS, round(affordable))


def precision(asked: str, device: torch.device) -> Precision | Literal["auto"]:
    """Return the autocast type of training; "auto" where it takes a measurement to choose."""
    if asked != "auto":
        return asked  # type: ignore[return-value]
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    if device.type == "cpu" and torch.backends.cpu.get_cpu_capability() not in WITHOUT_BF16:
        return "auto"
    return "fp32"


def device(asked: str | torch.device) -> torch.device:
    """Return the device; "auto" is the first CUDA GPU, else Apple's GPU, else the CPU.

    Raises
    ------
    ValueError
        For a device that torch does not know or does not have here.
    """
    if asked == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda:0")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        found = torch.device(asked)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f'device={str(asked)!r} cannot be used here ({reason}); "auto" takes what there is.'
        ) from error
    if found.type == "cuda" and found.index is None:
        return torch.device("cuda:0")
    return found
