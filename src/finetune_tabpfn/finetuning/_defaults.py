"""What the defaults resolve to, as pure functions of a fit's sizes.

docs/design.md says where each choice comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from finetune_tabpfn.data._sampling import Indices
from finetune_tabpfn.training._device import Precision
from finetune_tabpfn.utils._warn import warn
from finetune_tabpfn.utils._workers import gpu_of, worker_number

MAX_QUERY = 1024  # more query rows make a better gradient (Rubachev et al. 2025, table 5)
QUERY_SHARE = 0.2  # of a split: more leaves a context far smaller than what is deployed
CPU_SPLIT_ROWS = 1600  # on a CPU a step costs in proportion to its rows, or worse
GPU_SPLIT_ROWS = 10_000
CPU_VALIDATION_ROWS, GPU_VALIDATION_ROWS = 2048, 20_000
SMALL_TABLE = 300  # training rows; on fewer a third of the learning rate harms less
GPU_STEP_ROWS, MAX_SPLITS = 8192, 8  # of a step that takes several splits
CPU_CONTEXT_ROWS = 10_000  # of a deployed member: prediction costs the square of them
GPU_CONTEXT_ROWS = 50_000
CELLS_AT_ONCE = 300_000  # of rows to predict: about 3 KB of memory each
MAX_HELD_OUT = 2048
FOLDS, FOLDED_ROWS = 4, 2000
FOLD_STEPS = 50  # that make a fold worth beginning
EVAL_INTERVAL = 10
VALIDATION_SHARE = 0.15  # of the work of an evaluation
HALF_PRECISION_FROM = 3_000_000  # parameters of a network; smaller ones gain nothing by it
STEP_WORK = 2  # forward and backward of a row over its forward in a validation, as measured


@dataclass(frozen=True)
class SplitSizes:
    """Rows of a split."""

    context: int
    query: int


def learning_rate(n_parameters: int, n_rows: int | None = None) -> float:
    """Return the default learning rate of a network of this size on so many rows.

    Networks of 7 to 50 million parameters want 1e-5 to 6e-5 (Rubachev et al. 2025; Prior Labs'
    documentation), the mini models of about one million 3e-4 to 1e-3. Inversely proportional
    to the size, it meets both. On a small table a third of it (docs/recipe.md).

    Parameters
    ----------
    n_parameters : int
    n_rows : int, optional
        That are trained on; a large table if None.
    """
    usual = min(max(450 / n_parameters, 1e-5), 5e-4)
    return usual / 3 if n_rows is not None and n_rows < SMALL_TABLE else usual


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


def n_folds(asked: int | str, strata: Indices, max_steps: int) -> int:
    """Return the number of folds: of a small table four, whose networks are averaged.

    A hold-out of 20 % of few rows tells little, and the mean of several short trainings gains more
    than one long training, where there is time for 50 steps in each (docs/recipe.md).

    Parameters
    ----------
    asked : int or "auto"
    strata : ndarray of int of shape (n_rows,)
        By which the rows are divided; one of them at least must have rows for every fold.
    max_steps : int
        Of all folds together: with few there is one fold.
    """
    if not isinstance(asked, str):
        return asked
    few = len(strata) <= FOLDED_ROWS and np.bincount(strata).max() >= FOLDS
    return FOLDS if few and max_steps >= FOLDS * FOLD_STEPS else 1


def max_context(device: torch.device) -> int:
    """Return how many context rows a deployed member holds at most."""
    return CPU_CONTEXT_ROWS if device.type == "cpu" else GPU_CONTEXT_ROWS


def rows_at_once(n_columns: int, n_context: int) -> int:
    """Return how many rows are predicted at once, so that memory does not grow with them.

    No fewer than the context rows: these go through the network again with every batch, and take
    as much memory each.
    """
    return max(1000, CELLS_AT_ONCE // n_columns, n_context)


def validation_context(device: torch.device) -> int:
    """Return how many context rows a member has at most in the validation of an evaluation.

    What is deployed has more on a large table, and a validation with all of them costs as much as
    many steps; which of two networks is better shows with fewer. What is deployed is decided with
    all, where there is time.
    """
    return CPU_VALIDATION_ROWS if device.type == "cpu" else GPU_VALIDATION_ROWS


def batch_size(
    asked: int | str, device: torch.device, sizes: SplitSizes, n_processes: int = 1
) -> int:
    """Return the splits of a step.

    On a CPU one: several cost in proportion. On a GPU small splits cost what launching them takes
    (NVIDIA H100, a network of v2's size: 11 steps a second of one split of 800 rows, 1 % of the
    card's matrix products, and 5 of one of 8,000 rows), so that a step takes as many as come to
    8,192 rows, at most eight. Processes that share a step have one each at least.

    Raises
    ------
    ValueError
        For fewer than there are processes.
    """
    if not isinstance(asked, str):
        if asked < n_processes:
            raise ValueError(
                f"batch_size={asked} leaves some of the {n_processes} processes of this fit "
                f'without a split; {n_processes} or "auto" would do.'
            )
        return asked
    fitting = 1
    if device.type != "cpu":
        fitting = min(MAX_SPLITS, max(1, GPU_STEP_ROWS // (sizes.context + sizes.query)))
    return max(fitting, n_processes)


def eval_interval(eval_interval: int | str, *, step_rows: int, validation_rows: int) -> int:
    """Return the steps of an evaluation.

    Ten, or as many as keep the validation near 15 % of the work. The work is counted in
    rows, not in seconds: the same seed then gives the same run on a machine that is busy.

    Parameters
    ----------
    eval_interval : int or "auto"
    step_rows : int
        Context and query rows of all splits of a step.
    validation_rows : int
        Rows forwarded by one validation, over all members.
    """
    if not isinstance(eval_interval, str):
        return eval_interval
    step_work = STEP_WORK * step_rows
    affordable = validation_rows * (1 - VALIDATION_SHARE) / VALIDATION_SHARE / step_work
    return max(EVAL_INTERVAL, round(affordable))


def precision(asked: str, device: torch.device, n_parameters: int) -> Precision:
    """Return the autocast type of training: by what the device has and the size of the network.

    Never by a stopwatch, so that a busy neighbour does not change what is computed. Seconds of a
    step in bf16 over those in fp32 (`python benchmarks/speed.py precision`; docs/performance.md):

    ==================  =======================  =========
    network             processor                bf16/fp32
    ==================  =======================  =========
    mini, 1 M           AMD EPYC, AVX512-BF16    1.1
    size of v2, 7 M     AMD EPYC, AVX512-BF16    0.54
    size of v2, 7 M     Intel Xeon, AMX          0.62
    mini, 1 M           NVIDIA H100              1.0 or more: launches take the time
    ==================  =======================  =========

    Parameters
    ----------
    asked : {"auto", "fp32", "bf16", "fp16"}
    device : torch.device
    n_parameters : int
        Of the network.
    """
    if asked != "auto":
        return asked  # type: ignore[return-value]
    if n_parameters < HALF_PRECISION_FROM:
        return "fp32"
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    return "bf16" if device.type == "cpu" and _multiplies_bf16() else "fp32"


def _multiplies_bf16() -> bool:
    """Tell whether the processor has units for bf16 (AVX512-BF16, AMX) that torch makes use of."""
    has = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return bool(has()) and torch.backends.mkldnn.is_available()


def half_precision_inference(asked: str, device: torch.device, n_parameters: int) -> bool:
    """Tell whether prediction and validation may leave float32, as plain TabPFN chooses.

    On a CPU only where half precision is asked for: there tabpfn would take bf16 on some processors
    and not on others, and a row's probability then moves by up to .012 with the rows beside it. On
    a GPU a network that is too small to gain stays in float32 too (mini, H100: .011, no faster).
    """
    if asked != "auto":
        return asked != "fp32"
    return device.type == "cuda" and n_parameters >= HALF_PRECISION_FROM


def device(asked: str | torch.device) -> torch.device:
    """Return the device; "auto" is a CUDA GPU, else Apple's GPU, else the CPU.

    Of several GPUs the first, or where several workers or processes of torchrun compute at once,
    the one that is theirs in turn.

    Raises
    ------
    ValueError
        For a device that torch does not know or does not have here.
    """
    if asked == "auto":
        if torch.cuda.is_available():
            return _own_gpu()
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        found = torch.device(asked)
    except RuntimeError as error:
        raise ValueError(
            f"device={str(asked)!r} is no name of a device; "
            '"cpu", "cuda", "cuda:1", "mps" or "auto" would do.'
        ) from error
    try:
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        raise ValueError(
            f'device={str(asked)!r} cannot be used here ({reason}); "auto" takes what there is.'
        ) from error
    if found.type == "cuda" and found.index is None:
        return _own_gpu()
    return found


def _own_gpu() -> torch.device:
    return torch.device(f"cuda:{gpu_of(worker_number(), torch.cuda.device_count())}")


def devices(asked: str | torch.device | Sequence[str | torch.device]) -> tuple[torch.device, ...]:
    """Return the devices of a fit: it trains on the first, its members predict on all of them.

    Raises
    ------
    ValueError
        For a device that torch does not know or does not have here, for none, for one that is
        named twice, and for several that are not of one kind.
    """
    if isinstance(asked, (str, torch.device)):
        return (device(asked),)
    wanted = 'several GPUs, each named once, such as ["cuda:0", "cuda:1"], or "auto" would do.'
    if not all(isinstance(one, (str, torch.device)) for one in asked):
        raise ValueError(f"device={asked!r} holds something that names no device; {wanted}")
    found = tuple(device(one) for one in asked)
    for fault, is_so in {
        "names no device": not found,
        "names a device twice": len(set(found)) < len(found),
        "mixes kinds of devices": len({one.type for one in found}) > 1,
    }.items():
        if is_so:
            raise ValueError(f"device={[str(one) for one in asked]} {fault}; {wanted}")
    return found


def devices_at_hand(
    asked: str | torch.device | Sequence[str | torch.device],
) -> tuple[torch.device, ...]:
    """Return the devices that a fitted model predicts on here: those asked for, else the CPU.

    A model that was fitted on a GPU may be loaded on a machine without one, or with fewer; that is
    said once.
    """
    try:
        return devices(asked)
    except ValueError:
        several = [asked] if isinstance(asked, (str, torch.device)) else asked
        here = tuple(dict.fromkeys(one for one in map(_if_here, several) if one is not None))
        instead = ", ".join(map(str, here)) or "the CPU"
        named = [str(one) for one in several] if several is asked else str(asked)
        warn(f"device={named!r} is not on this machine; the model predicts on {instead}.")
        return here or (torch.device("cpu"),)


def _if_here(asked: str | torch.device) -> torch.device | None:
    try:
        return device(asked)
    except ValueError:
        return None
