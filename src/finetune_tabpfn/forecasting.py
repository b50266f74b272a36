"""What the parts of a fit will cost in seconds, before any of them has been run."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

from torch import nn

from finetune_tabpfn._tabpfn import Batch, Member
from finetune_tabpfn.callbacks import Forecast
from finetune_tabpfn.splits import SplitBatches
from finetune_tabpfn.training import Precision, autocast

FIRST_ROWS = 64
PROBE_SHARE = 0.05  # of the time limit, for each probe
SHORT_STEP = 0.1  # seconds; what takes less gains nothing worth measuring
CLEARLY_FASTER = 1.25


def forecast(batches: SplitBatches, *, limit: float) -> Forecast:
    """Forecast a step and a validation by running small ones of growing size.

    Parameters
    ----------
    batches : SplitBatches
        The weights of their table's network are left alone.
    limit : float
        Seconds of the whole fit; the probes take a small part of it.
    """
    table, sampler = batches.table, batches.sampler
    model, probe = table.network, PROBE_SHARE * limit

    def step(rows: int) -> None:
        batches.loss(model, _small_batch(batches, rows)).backward()

    def validation(view: Member) -> float:
        def forward(rows: int) -> None:
            table.forward_members([view], n_context=rows)

        return len(table.members) * extrapolate(forward, len(view.context_rows), budget=probe)

    model.train()
    split_rows = sampler.context_size + sampler.query_size
    step_seconds = extrapolate(step, split_rows, budget=probe)
    model.zero_grad(set_to_none=True)
    model.eval()
    return Forecast(
        step=batches.batch_size * step_seconds,
        validation=validation(table.brief[0]),
        finish=0.0,
        as_deployed=validation(table.members[0]) if table.is_cut else 0.0,
    )


def faster_precision(
    batches: SplitBatches,
    model: nn.Module,
    *,
    limit: float,
    clock: Callable[[], float] = time.monotonic,
) -> Precision:
    """Return what trains a network faster on this processor, fp32 unless bf16 is clearly so.

    Some processors multiply matrices of bf16 much faster, but only large networks gain by it.
    Both are timed on a small split, in turns, and bf16 must be faster every time: what else the
    machine does must not decide what is computed.

    Parameters
    ----------
    batches : SplitBatches
    model : torch.nn.Module
        Its weights are left alone.
    limit : float
        Seconds of the whole fit; where the timing would take more than a small part of it, fp32.
    clock : callable
    """
    batch, device = _small_batch(batches, FIRST_ROWS), next(model.parameters()).device

    def step(precision: Precision) -> None:
        with autocast(device, precision):
            loss = batches.loss(model, batch)
        loss.backward()

    model.train()
    step("fp32")  # the first call of anything in torch is slow
    usual = _seconds(step, "fp32", clock)
    faster = SHORT_STEP < usual < PROBE_SHARE * limit / 4
    if faster:
        step("bf16")
    for _ in range(3):
        faster = faster and (
            _seconds(step, "fp32", clock) > CLEARLY_FASTER * _seconds(step, "bf16", clock)
        )
    model.zero_grad(set_to_none=True)
    return "bf16" if faster else "fp32"


def _small_batch(batches: SplitBatches, rows: int) -> Batch:
    """Return a split like those of training, with fewer rows."""
    sampler = batches.sampler
    share = min(1.0, rows / (sampler.context_size + sampler.query_size))
    small = dataclasses.replace(
        sampler,
        context_size=max(1, int(share * sampler.context_size)),
        query_size=max(1, int(share * sampler.query_size)),
    )
    return batches.table.batch([small.draw(0, 0)], member=0)


def extrapolate(
    work: Callable[[int], object],
    rows: int,
    *,
    budget: float,
    clock: Callable[[], float] = time.monotonic,
) -> float:
    """Forecast the seconds of ``work(rows)`` from smaller amounts of work.

    Doubles the rows until a quarter of them is reached or `budget` seconds are spent, then
    continues the growth of the last doubling a little more steeply, since attention costs the
    square of the rows and shows late.

    Parameters
    ----------
    work : callable
        Is given a number of rows.
    rows : int
    budget : float
        Seconds.
    clock : callable
    """
    started = clock()
    size = min(FIRST_ROWS, rows)
    work(size)  # the first call of anything in torch is slow
    seconds = [_seconds(work, size, clock)]
    while 4 * size <= rows and clock() - started < budget:
        size *= 2
        seconds.append(_seconds(work, size, clock))
    growth = math.log2(seconds[-1] / seconds[-2]) + 0.3 if len(seconds) > 1 else 1.5
    return seconds[-1] * (rows / size) ** min(max(growth, 1.0), 2.0)


def _seconds(work: Callable[[Any], object], argument: Any, clock: Callable[[], float]) -> float:
    started = clock()
    work(argument)
    return max(clock() - started, 1e-6)
