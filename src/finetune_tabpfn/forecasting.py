"""What the parts of a fit will cost in seconds, before any of them has been run."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable

from torch import nn

from finetune_tabpfn._tabpfn import PreparedTable
from finetune_tabpfn.callbacks import Forecast
from finetune_tabpfn.splits import SplitBatches

FIRST_ROWS = 64
PROBE_SHARE = 0.05  # of the time limit, for each of the two probes


def forecast(
    table: PreparedTable, batches: SplitBatches, model: nn.Module, *, limit: float, finish: float
) -> Forecast:
    """Forecast a step and a validation by running small ones of growing size.

    Parameters
    ----------
    table : PreparedTable
    batches : SplitBatches
    model : torch.nn.Module
        Its weights are left alone.
    limit : float
        Seconds of the whole fit; the probes take a small part of it.
    finish : float
        Seconds that the rest of the fit takes after training.
    """
    sampler, view = batches.sampler, table.members[0]

    def step(rows: int) -> None:
        share = rows / (sampler.context_size + sampler.query_size)
        small = dataclasses.replace(
            sampler,
            context_size=max(1, int(share * sampler.context_size)),
            query_size=max(1, int(share * sampler.query_size)),
        )
        batches.loss(model, table.batch([small.draw(0, 0)], member=0)).backward()

    def validation(rows: int) -> None:
        table.forward_member(view, n_context=rows)

    model.train()
    split_rows = sampler.context_size + sampler.query_size
    step_seconds = extrapolate(step, split_rows, budget=PROBE_SHARE * limit)
    model.zero_grad(set_to_none=True)
    model.eval()
    n_context = len(view.context_rows)
    member_seconds = extrapolate(validation, n_context, budget=PROBE_SHARE * limit)
    return Forecast(
        step=batches.batch_size * step_seconds,
        validation=len(table.members) * member_seconds,
        finish=finish,
    )


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


def _seconds(work: Callable[[int], object], size: int, clock: Callable[[], float]) -> float:
    started = clock()
    work(size)
    return max(clock() - started, 1e-6)
