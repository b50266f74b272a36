"""Stopping rules, on lists of numbers."""

import pytest
from torch import nn

from finetune_tabpfn.finetuning._budget import CostEstimate, TimeBudget, Timer
from finetune_tabpfn.training._callbacks import DivergenceGuard, EarlyStopping, MaxSteps
from finetune_tabpfn.training._state import HistoryRow, TrainState


def state_after(scores, best_evaluation):
    rows = [HistoryRow(i, 10 * i, float(i), 0.5, score, 1e-3) for i, score in enumerate(scores)]
    return TrainState(
        nn.Linear(1, 1), step=rows[-1].step, history=rows, best_evaluation=best_evaluation
    )


@pytest.mark.parametrize(
    ("evaluations", "best_evaluation", "stops"),
    [(3, 0, False), (4, 0, True), (13, 10, False), (14, 10, False), (15, 10, True)],
)
def test_patience_grows_with_the_best_round(evaluations, best_evaluation, stops):
    stopping = EarlyStopping(patience=4, growth=0.5)
    reason = stopping.after_evaluation(state_after([0.0] * (evaluations + 1), best_evaluation))
    assert bool(reason) is stops


def test_max_steps():
    state = TrainState(nn.Linear(1, 1), step=9)
    assert MaxSteps(10).before_step(state) is None
    assert MaxSteps(9).before_step(state) == "max_steps"


def reasons(losses):
    guard, state, given = DivergenceGuard(), TrainState(nn.Linear(1, 1)), []
    for loss in losses:
        state.losses.append(loss)
        given.append(guard.after_step(state))
    return given


def test_an_exploding_loss_is_noticed_before_it_overflows():
    given = reasons([0.7] * 10 + [2.0**i for i in range(20)])
    first = next(i for i, reason in enumerate(given) if reason)
    assert given[first].startswith("diverged: the training loss rose from 0.7")
    assert first < 17


@pytest.mark.parametrize(
    "losses",
    [
        [0.7, 0.9, 0.5, 1.3, 0.6] * 10,  # noise
        [-2.0, -1.5, -3.0, -0.5, -2.5] * 10,  # a likelihood of densities is often negative
        [300.0, 280.0, 310.0, 260.0, 290.0] * 4,  # far off at the start
    ],
)
def test_noise_is_no_explosion(losses):
    assert not any(reasons(losses))


def at(now, limit=100.0):
    """The timer of a fit that began at 0, read at a moment."""
    return Timer(limit, clock=lambda: now, started=0.0)


def after_rounds(n):
    """The state of a run whose step took 5 s and validation 30 s, after so many evaluations."""
    state = state_after([0.0] * (n + 1), 0)
    state.step_seconds, state.validation_seconds = [5.0] * 5, [30.0] * 5
    return state


def test_the_budget_believes_what_it_measured_over_what_was_estimated():
    budget = TimeBudget(at(60.0), CostEstimate(step=50, validation=30, finish=10))
    state = TrainState(nn.Linear(1, 1))
    assert budget.before_step(state) == "time_limit"
    state.step_seconds, state.validation_seconds = [9.0, 1.0, 1.0, 1.0], [2.0]
    assert budget.before_step(state) is None
    assert budget.validation(state) == pytest.approx(2.5)
    assert budget.time_for(30.0)
    assert not budget.time_for(30.1)


def test_the_first_of_a_kind_also_warms_up():
    budget = TimeBudget(at(0.0), CostEstimate(step=1.0, validation=1.0, finish=0.0))
    state = TrainState(nn.Linear(1, 1))
    cases = [([9.0], 1.25), ([0.8], 1.0), ([9.0, 0.4], 0.5), ([9.0, 2.0, 2.0, 2.0], 2.2)]
    for measured, expected in cases:
        state.validation_seconds = measured
        assert budget.validation(state) == pytest.approx(expected)


def test_an_estimate_alone_ends_nothing_in_the_first_half():
    costs = CostEstimate(step=40, validation=50, finish=5)
    state = TrainState(nn.Linear(1, 1))
    assert TimeBudget(at(40.0), costs).before_step(state) is None  # there is time for the step
    assert TimeBudget(at(49.0), costs).before_step(state) == "time_limit"  # not for that either
    state.step_seconds = [40.0, 40.0]
    assert TimeBudget(at(10.0), costs).before_step(state) == "time_limit"  # now it is measured


def test_the_budget_keeps_what_turns_out_to_be_needed_later():
    later = [0.0]
    budget = TimeBudget(at(30.0), CostEstimate(1, 1, 10), reserve=lambda: later[0])
    assert budget.time_for(60.0)
    later[0] = 20.0
    assert budget.time_for(40.0)
    assert not budget.time_for(40.1)


@pytest.mark.parametrize(("keep", "reason"), [(True, "time_limit"), (False, None)])
def test_the_budget_keeps_time_to_compare_what_may_be_deployed(keep, reason):
    budget = TimeBudget(at(30.0), CostEstimate(5, 30, 10), final_check=25, keep_check=keep)
    assert budget.before_step(after_rounds(1)) == reason
    assert (
        budget.before_step(after_rounds(0)) is None
    )  # before an evaluation there is nothing to compare
    assert budget.time_for(budget.final_check)  # training over, it is not counted twice


@pytest.mark.parametrize(("keep", "reason"), [(True, "time_limit"), (False, None)])
def test_the_budget_keeps_time_to_score_half_way(keep, reason):
    budget = TimeBudget(at(30.0), CostEstimate(5, 30, 10), keep_validation=keep)
    assert budget.before_step(after_rounds(1)) == reason
    assert budget.before_step(after_rounds(0)) is None


def test_shares_of_the_time_that_is_left():
    timer = at(40.0)
    assert timer.share(3).limit == pytest.approx(20.0)
    assert timer.share(3).remaining == pytest.approx(20.0)
    assert timer.is_early
    assert not at(51.0).is_early
    part = TimeBudget(timer, CostEstimate(1, 1, finish=20)).part(0.5)
    assert part.timer.remaining == pytest.approx(20.0)


def test_without_a_limit_there_is_always_time():
    budget = TimeBudget(at(1e9, limit=None), CostEstimate(1, 1, 1))
    assert budget.before_step(TrainState(nn.Linear(1, 1))) is None
