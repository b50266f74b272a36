"""What the parts of a fit cost in seconds, measured at growing sizes up to the real one.

On a processor the cost grows with the rows, and with their square where attention dominates; on a
GPU a small pass costs what a large one does, because launching it is what takes time, and the first
pass of each size also loads what computes it. So nothing is taken for granted but this: work on
more rows costs at least as much, and at most as the square of them.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from finetune_tabpfn._tabpfn import Batch, Member
from finetune_tabpfn.finetuning._batches import RoundRobin, SplitBatches
from finetune_tabpfn.finetuning._budget import (
    CACHE_WORK,
    CHECK_SHARE,
    CostEstimate,
    TimeBudget,
    Timer,
)
from finetune_tabpfn.finetuning._hold_out import CANDIDATES, HoldOut
from finetune_tabpfn.finetuning._settings import Settings
from finetune_tabpfn.training._device import Precision, autocast, ran_out_of_memory, waiter
from finetune_tabpfn.training._loop import TrainConfig

FIRST_ROWS = 64
LEAST_STRIDE = 1.25  # of the rows, between two sizes; smaller ones would tell nothing new
PLANNED_SHARE = 1 / 4  # of the time left, to measure what only plans
Run = Callable[[int], object]  # does some work at a number of rows


@dataclass(frozen=True)
class Cost:
    """What some work took.

    Attributes
    ----------
    rows : int
    seconds : float
        Without warming up.
    growth : float
        Exponent of the rows, from the sizes that were measured; 1.5 where there was only one.
    """

    rows: int
    seconds: float
    growth: float = 1.5

    def at_most(self, rows: int) -> float:
        """Return the most that it takes at another number of rows."""
        return self.seconds * max(1.0, rows / self.rows) ** 2

    def expected(self, rows: int) -> float:
        """Return what it is likely to take at another number of rows."""
        return self.seconds * max(1.0, rows / self.rows) ** self.growth


@dataclass(frozen=True)
class Stopwatch:
    """Times work on a device.

    Attributes
    ----------
    wait : callable, optional
        Returns when the device has done what it was given; None for one that does so at once.
    clock : callable
        Seconds, monotonic.
    """

    wait: Callable[[], None] | None = None
    clock: Callable[[], float] = time.monotonic

    def seconds(self, run: Run, rows: int) -> float:
        """Return what some work takes."""
        started = self.clock()
        run(rows)
        if self.wait is not None:
            self.wait()
        return max(self.clock() - started, 1e-6)


def climb(
    run: Run,
    rows: int,
    *,
    times: int = 1,
    left: Callable[[], float],
    watch: Stopwatch,
    no_more_than: Cost | None = None,
    to_the_top: bool = False,
) -> Cost:
    """Measure work at growing sizes until the real one is known to take at most half of the time.

    Every size is chosen so that it is sure to take no more than that itself. Where what a size took
    would stand in the way, it is run again: the first time may have been spent on warming up.

    Parameters
    ----------
    run : callable
    rows : int
        The real size.
    times : int
        How often the work is done before the time that is left is asked for again.
    left : callable
        Returns the seconds that are left by now.
    watch : Stopwatch
    no_more_than : Cost, optional
        Of other work that is known to take as long at least; its size is then the first one.
    to_the_top : bool
        Whether to go on up to the real size, for a figure instead of a permit.

    Returns
    -------
    Cost
        Of the largest size that was measured. Where that is not known to let the real size fit,
        the next larger one might not have.
    """
    found = no_more_than or Cost(FIRST_ROWS, 0.0)
    size = min(found.rows, rows)
    if found.seconds > left() / 2 or left() <= 0:
        return Cost(size, math.inf)  # not even this can be afforded
    found = Cost(size, _warm_seconds(run, size, rows, times, left, watch))
    while found.rows < rows and (to_the_top or times * found.at_most(rows) > left() / 2):
        reach = int(found.rows * math.sqrt(max(0.0, left()) / 2 / found.seconds))
        if reach < LEAST_STRIDE * found.rows and reach < rows:
            break
        size = min(reach, rows)
        seconds = _warm_seconds(run, size, rows, times, left, watch)
        growth = math.log(seconds / found.seconds) / math.log(size / found.rows)
        found = Cost(size, seconds, min(max(growth + 0.3, 1.0), 2.0))
    return found


def _warm_seconds(
    run: Run, size: int, rows: int, times: int, left: Callable[[], float], watch: Stopwatch
) -> float:
    """Return what work takes, measured twice where once could be warming up that matters."""
    seconds = watch.seconds(run, size)
    if left() / 2 > seconds > left() / 2 / times * (size / rows) ** 2:
        seconds = min(seconds, watch.seconds(run, size))
    return seconds


def affordable_rows(run: Run, first: int, rows: int, seconds: float, watch: Stopwatch) -> int:
    """Return how many rows some work can take in some seconds, from trials that take half of that.

    Parameters
    ----------
    run : callable
    first, rows : int
        Of the first trial, and of interest at most.
    seconds : float
    watch : Stopwatch
    """
    began = watch.clock()
    found = climb(
        run,
        rows,
        left=lambda: began + seconds / 2 - watch.clock(),
        watch=watch,
        no_more_than=Cost(first, 0.0),
    )
    if found.at_most(rows) <= seconds:
        return rows
    growth = found.growth if found.rows > first else 2.0  # the most, where nothing was measured
    return min(rows, int(found.rows * (seconds / found.seconds) ** (1 / growth)))


@dataclass(frozen=True)
class Works:
    """The kinds of work of a fit.

    Attributes
    ----------
    step : callable
        One forward and backward pass over some splits.
    step_rows, splits, passes : int
        Rows of a split, splits of a pass, and passes of a step.
    validation, as_deployed : callable
        One forward pass over the hold-out, with the context of an evaluation and with the one that
        is deployed.
    validation_rows, deployed_rows : int
        Context rows of both; the hold-out is cut in proportion.
    members, members_together, deployed_together : int
        All of them, 0 where nothing is validated; and those that share a forward pass of the one
        and of the other.
    """

    step: Run
    step_rows: int
    splits: int
    passes: int
    validation: Run
    validation_rows: int
    as_deployed: Run
    deployed_rows: int
    members: int
    members_together: int = 1
    deployed_together: int = 1


def estimate(
    works: Works,
    *,
    left: Callable[[], float],
    watch: Stopwatch,
    to_the_top: bool = False,
) -> CostEstimate:
    """Estimate a step and a validation from smaller ones.

    Parameters
    ----------
    works : Works
    left : callable
        Returns the seconds that are left for training.
    watch : Stopwatch
    to_the_top : bool
        Whether to run them at their real size, where that fits.
    """
    step = climb(
        works.step,
        works.step_rows,
        times=works.passes,
        left=left,
        watch=watch,
        to_the_top=to_the_top,
    )
    seconds = Cost.expected if to_the_top else Cost.at_most
    step_seconds = works.passes * seconds(step, works.step_rows)
    if not works.members:
        return CostEstimate(step=step_seconds, validation=0.0, finish=0.0)
    validation_passes = works.members / works.members_together
    validation = climb(
        works.validation,
        works.validation_rows,
        times=math.ceil(validation_passes),
        left=left,
        watch=watch,
        # forward and backward take longer than forward alone
        no_more_than=_of_more(step, works.members_together / works.splits),
        to_the_top=to_the_top,
    )
    deployed = 0.0
    if works.deployed_rows > works.validation_rows:
        found = climb(
            works.as_deployed,
            works.deployed_rows,
            left=lambda: PLANNED_SHARE * left(),
            watch=watch,
            no_more_than=_of_more(validation, works.deployed_together / works.members_together),
            to_the_top=True,
        )
        passes = works.members / works.deployed_together
        deployed = passes * found.expected(works.deployed_rows)
    return CostEstimate(
        step=step_seconds,
        validation=validation_passes * seconds(validation, works.validation_rows),
        finish=0.0,
        as_deployed=deployed,
    )


def _of_more(cost: Cost, times: float) -> Cost:
    """Return what work costs at most that has so many times the tables in a pass, if more."""
    return dataclasses.replace(cost, seconds=max(1.0, times) * cost.seconds)


def estimate_costs(
    batches: SplitBatches,
    precision: Precision,
    *,
    left: Callable[[], float],
    to_the_top: bool = False,
) -> CostEstimate:
    """Estimate what training and validating on a table cost, as they will be run.

    Parameters
    ----------
    batches : SplitBatches
        The weights of their table's network are left alone.
    precision : {"fp32", "bf16", "fp16"}
        Of the training.
    left : callable
        Returns the seconds that are left for training; what is tried takes no more than half.
    to_the_top : bool
        Whether to measure the real sizes, where that fits, instead of an upper bound.
    """
    table = batches.table
    model = table.network
    few, all_ = next(table.groups(table.reduced)), next(table.groups(table.members))

    def step(rows: int) -> None:
        model.train()
        with autocast(table.device, precision):
            loss = _small_batch(batches, rows).loss(model)
        loss.backward()

    def forward(views: list[Member]) -> Run:
        def run(rows: int) -> None:
            model.eval()
            table.forward_members(views, n_context=rows)

        return run

    works = Works(
        step=step,
        step_rows=batches.split_rows,
        splits=batches.splits_together,
        passes=batches.own_passes,
        validation=forward(few),
        validation_rows=len(few[0].context_rows),
        as_deployed=forward(all_),
        deployed_rows=len(all_[0].context_rows),
        members=len(table.members) if table.n_held_out else 0,
        members_together=len(few),
        deployed_together=len(all_),
    )
    watch = Stopwatch(waiter(table.device))
    try:
        return estimate(works, left=left, watch=watch, to_the_top=to_the_top)
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        return CostEstimate(0.0, 0.0, 0.0)  # the training itself asks for less then
    finally:
        model.eval().zero_grad(set_to_none=True)


def _small_batch(batches: SplitBatches, rows: int) -> Batch:
    """Return a pass like those of training, with fewer rows."""
    sampler = batches.sampler
    share = min(1.0, rows / batches.split_rows)
    small = dataclasses.replace(
        sampler,
        context_size=max(1, int(share * sampler.context_size)),
        query_size=max(1, int(share * sampler.query_size)),
    )
    splits = [small.draw(0, number) for number in range(batches.splits_together)]
    return batches.table.batch(splits, member=0, recompute=batches.recompute)


def time_budget(
    batches: RoundRobin,
    hold_out: HoldOut | None,
    settings: Settings,
    config: TrainConfig,
    timer: Timer,
    finish: float,
    parts: int = 1,
) -> TimeBudget | None:
    """Return the time budget of a training, None without a limit.

    Parameters
    ----------
    batches : RoundRobin
    hold_out : HoldOut, optional
        None without validation.
    settings : Settings
    config : TrainConfig
    timer : Timer
    finish : float
        Seconds of what follows.
    parts : int
        Trainings that divide the time, this one and those to come.
    """
    if timer.limit is None:
        return None
    costs = _costs(batches, config, timer, finish)
    # of several tables, those that are not cut cost the same in either way
    deployed = costs.as_deployed or costs.validation
    if hold_out is None:  # only steps were measured, which take longer than forward alone
        members = batches.parts[0].table.members
        rows = sum(len(member.context_rows) for member in members)
        deployed = costs.step * rows / batches.step_rows
    if settings.fit_mode == "fit_with_cache":  # all rows go through the network once more
        costs = dataclasses.replace(costs, finish=costs.finish + CACHE_WORK * deployed)
    if hold_out is None:
        return TimeBudget(timer, costs, parts=parts)
    check = CANDIDATES * deployed
    return TimeBudget(
        timer,
        costs,
        reserve=hold_out.selection_seconds,
        final_check=check,
        keep_check=hold_out.is_cut and check <= CHECK_SHARE * timer.limit,
        keep_validation=not hold_out.is_trusted or hold_out.n_folds > 1,
        parts=parts,
        eval_interval=config.eval_interval,
    )


def _costs(batches: RoundRobin, config: TrainConfig, timer: Timer, finish: float) -> CostEstimate:
    """Return what a step on the slowest table costs, and the validation on all of them."""

    def left() -> float:
        return max(0.0, (timer.remaining or 0.0) - finish) / len(batches.parts)

    each = [estimate_costs(part, config.precision, left=left) for part in batches.parts]
    cut = any(costs.as_deployed for costs in each)
    return CostEstimate(
        step=max(costs.step for costs in each),
        validation=sum(costs.validation for costs in each),
        finish=finish,
        as_deployed=sum(costs.as_deployed or costs.validation for costs in each) if cut else 0.0,
    )
