"""Time budgets on simulated devices: a fake clock, nn.Linear, and costs that grow as they may."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from finetune_tabpfn.finetuning._budget import TimeBudget, Timer
from finetune_tabpfn.finetuning._cost import (
    Cost,
    Stopwatch,
    Works,
    affordable_rows,
    climb,
    estimate,
)
from finetune_tabpfn.training._callbacks import MaxSteps
from finetune_tabpfn.training._loop import TrainConfig, train

STEP_ROWS, CONTEXT_ROWS, DEPLOYED_ROWS, MEMBERS, ROUND = 1000, 1250, 5000, 4, 10


class Device:
    """Work takes seconds by its rows; the clock only moves when something is done.

    Parameters
    ----------
    seconds : callable
        Of a pass, by its rows.
    first : float
        How many times slower the first pass of a size is.
    asynchronous : bool
        Whether a pass returns at once and is waited for later.
    jitter : float
        A pass takes up to this share more or less.
    """

    def __init__(self, seconds, first=1.0, asynchronous=False, jitter=0.0):
        self.seconds, self.first, self.jitter = seconds, first, jitter
        self.asynchronous = asynchronous
        self.now = self.done = 0.0
        self.seen, self.rng = set(), np.random.default_rng(0)

    def clock(self):
        return self.now

    def wait(self):
        self.now = max(self.now, self.done)

    @property
    def waiter(self):
        return self.wait if self.asynchronous else None

    def cost(self, rows):
        return self.seconds(rows) * (1 + self.jitter * self.rng.uniform(-1, 1))

    def run(self, what, rows):
        seconds = self.cost(rows)
        if (what, rows) not in self.seen:
            seconds *= self.first
        self.seen.add((what, rows))
        self.done = max(self.done, self.now) + seconds
        self.now += 1e-4
        if not self.asynchronous:
            self.wait()

    def spend(self, seconds):
        self.wait()
        self.now += seconds


KINDS = {
    "flat": (lambda rows: 1.0, {}),
    "flat, then linear": (lambda rows: max(1.0, rows / 500), {}),
    "linear": (lambda rows: rows / STEP_ROWS, {}),
    "quadratic": (lambda rows: (rows / STEP_ROWS) ** 2, {}),
    "slow at first": (lambda rows: 1.0, {"first": 100.0}),
    "asynchronous": (lambda rows: max(1.0, rows / 500), {"asynchronous": True}),
    "jittering": (lambda rows: rows / STEP_ROWS, {"jitter": 0.15}),
    "jittering square": (lambda rows: (rows / STEP_ROWS) ** 2, {"jitter": 0.15}),
}


def fit(device, limit, finish, splits=1, cut=False, share=1.0):
    """Go through the stages of a fit that share the time: the estimate, the loop, what follows."""

    def loss(model, batch):
        device.run("step", STEP_ROWS)
        return model(torch.ones(1, 1)).sum() ** 2

    def evaluate(model):
        for _ in range(MEMBERS):
            device.run("validation", CONTEXT_ROWS)
        device.wait()  # a score is a number
        return -1.0

    class Batches:
        def __call__(self, step):
            for _ in range(splits):
                yield 1 / splits, None

        def shrink(self):
            return None

    timer = Timer(limit, device.clock)
    works = Works(
        step=lambda rows: device.run("step", rows),
        step_rows=STEP_ROWS,
        splits=1,
        passes=splits,
        validation=lambda rows: device.run("validation", rows),
        validation_rows=CONTEXT_ROWS,
        as_deployed=lambda rows: device.run("validation", rows),
        deployed_rows=DEPLOYED_ROWS if cut else CONTEXT_ROWS,
        members=MEMBERS,
    )
    costs = estimate(
        works,
        left=lambda: max(0.0, timer.remaining - finish),
        watch=Stopwatch(device.waiter, device.clock),
    )
    budget = TimeBudget(timer, replace(costs, finish=finish))
    state = train(
        nn.Linear(1, 1),
        torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.0),
        batches=Batches(),
        loss_fn=loss,
        evaluate=evaluate,
        config=TrainConfig(eval_interval=ROUND),
        callbacks=[MaxSteps(3 * ROUND), budget if share == 1.0 else budget.part(share)],
        clock=device.clock,
        wait=device.waiter,
    )
    device.spend(finish)
    return state


def first_evaluation_seconds(device, splits):
    """What an evaluation takes the first time, warming up included."""
    steps = ROUND * splits - 1 + device.first
    validations = MEMBERS - 1 + device.first
    return steps * device.seconds(STEP_ROWS) + validations * device.seconds(CONTEXT_ROWS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", [1.0, 5.0, 12.0, 60.0, 300.0])
@pytest.mark.parametrize("splits", [1, 4])
def test_the_limit_holds_and_what_fits_is_trained(kind, limit, splits, everything):
    """Whatever a device is like, and whatever a pass on it costs, next to nothing or too much."""
    shape, options = KINDS[kind]
    trained = 0
    most = 3.0 if shape(1) < 1 else 0.1  # what is never cheap cannot be tried on a small scale
    for share in np.geomspace(1e-5, most, 45 if everything else 15):
        unit = share * limit
        if options.get("first", 1.0) > 1:
            unit = min(unit, 0.01)  # nobody can foresee a first call that takes minutes
        device = Device(lambda rows, unit=unit: unit * shape(rows), **options)
        finish = 0.02 * limit
        state = fit(device, limit, finish, splits)
        assert device.now <= 1.05 * limit + 1, f"a pass of {unit:.3g} s"
        evaluations = len(state.history) - 1
        if first_evaluation_seconds(device, splits) + finish < limit / 3:
            assert evaluations >= 1, f"a pass of {unit:.3g} s"
            trained += 1
    assert trained or limit == 1.0  # of which a first call takes all


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_of_the_time_is_kept_to_as_well(kind):
    """As for the trials of learning rates."""
    shape, options = KINDS[kind]
    for unit in (0.001, 0.01, 0.1):
        device = Device(lambda rows, unit=unit: unit * shape(rows), **options)
        fit(device, 30.0, 0.5, share=0.3)
        assert device.now <= 1.05 * 30 + 1


def test_an_estimate_ends_no_run_in_the_first_half_of_the_time():
    """The square of the rows would be 24 s at most; a GPU takes .1 s for any number of them."""
    device = Device(lambda rows: 0.1)
    state = fit(device, 12.0, 0.5)
    assert state.stop_reason == "max_steps"


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_what_is_climbed_to_is_never_more_than_there_is(power):
    taken = []

    def run(rows):
        now[0] += 1e-3 * rows**power
        taken.append(1e-3 * rows**power)

    now = [0.0]
    watch = Stopwatch(clock=lambda: now[0])
    found = climb(run, 10_000, left=lambda: 10.0, watch=watch)
    assert max(taken) <= 5.0
    assert found.at_most(10_000) >= 1e-3 * 10_000**power * 0.999
    exact = climb(run, 10_000, left=lambda: 1e9, watch=watch, to_the_top=True)
    assert exact == Cost(10_000, pytest.approx(1e-3 * 10_000**power), exact.growth)


def test_a_first_call_is_told_from_work():
    device = Device(lambda rows: 0.01, first=100.0)
    watch = Stopwatch(clock=device.clock)
    found = climb(lambda rows: device.run("step", rows), 1000, left=lambda: 4.0, watch=watch)
    assert found.at_most(1000) <= 2.0


def test_a_device_that_works_on_its_own_is_waited_for_now_and_then():
    """Every pass counts, though none of the calls takes any time."""
    device = Device(lambda rows: 0.02, asynchronous=True)
    waits = []
    device_wait = device.wait
    device.wait = lambda: (waits.append(device.now), device_wait())
    state = fit(device, 60.0, 0.5)
    assert np.mean(state.step_seconds) == pytest.approx(0.02, rel=0.1)
    assert len(state.losses) == state.step == 3 * ROUND
    assert len(waits) < state.step


def test_large_tables_are_timed_as_they_are_deployed():
    device = Device(lambda rows: 1e-4 * rows)
    works = Works(
        step=lambda rows: device.run("step", rows),
        step_rows=STEP_ROWS,
        splits=1,
        passes=1,
        validation=lambda rows: device.run("validation", rows),
        validation_rows=CONTEXT_ROWS,
        as_deployed=lambda rows: device.run("validation", rows),
        deployed_rows=DEPLOYED_ROWS,
        members=MEMBERS,
    )
    costs = estimate(works, left=lambda: 60.0, watch=Stopwatch(clock=device.clock))
    assert costs.as_deployed == pytest.approx(MEMBERS * 0.5)
    watch = Stopwatch(clock=device.clock)
    planned = estimate(works, left=lambda: 60.0, watch=watch, to_the_top=True)
    assert planned.step == pytest.approx(0.1)
    assert planned.validation == pytest.approx(MEMBERS * 0.125)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seconds", [1.0, 24.0])
def test_rows_are_as_many_as_the_time_allows(kind, seconds):
    """As a preview asks before it predicts, which nothing can cut short."""
    shape, options = KINDS[kind]
    for share in np.geomspace(1e-4, 0.2, 12):
        unit = share * seconds / shape(500)
        if options.get("first", 1.0) > 1:
            unit = min(unit, 2e-4 * seconds)

        def cost(rows, unit=unit):
            return unit * shape(rows)

        device = Device(cost, **options)
        watch = Stopwatch(device.waiter, device.clock)
        rows = affordable_rows(
            lambda rows, device=device: device.run("predict", rows), 500, 10_000, seconds, watch
        )
        assert device.now <= 0.75 * seconds
        assert cost(rows) <= 1.5 * seconds
        if cost(10_000) < seconds / 40:
            assert rows == 10_000
        else:
            assert rows >= 500
