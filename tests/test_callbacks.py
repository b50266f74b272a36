"""Stopping rules, on lists of numbers."""

import math

import pytest
from torch import nn

from finetune_tabpfn.callbacks import DivergenceGuard, EarlyStopping, Forecast, MaxSteps, TimeBudget
from finetune_tabpfn.training import Round, TrainState


def state_after(scores, best_round):
    rows = [Round(i, 10 * i, float(i), 0.5, score, 1e-3) for i, score in enumerate(scores)]
    return TrainState(nn.Linear(1, 1), step=rows[-1].step, history=rows, best_round=best_round)


@pytest.mark.parametrize(
    ("rounds", "best_round", "stops"),
    [(3, 0, False), (4, 0, True), (13, 10, False), (14, 10, False), (15, 10, True)],
)
def test_patience_grows_with_the_best_round(rounds, best_round, stops):
    stopping = EarlyStopping(patience=4, growth=0.5)
    reason = stopping.after_round(state_after([0.0] * (rounds + 1), best_round))
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


def test_the_budget_believes_what_it_measured_over_what_was_forecast():
    budget = TimeBudget(100, Forecast(step=50, validation=30, finish=10), clock=lambda: 30.0)
    state = TrainState(nn.Linear(1, 1))
    assert budget.before_step(state) == "time_limit"
    state.step_seconds, state.validation_seconds = [9.0, 1.0, 1.0, 1.0], [2.0]
    assert budget.before_step(state) is None
    assert budget.validation(state) == pytest.approx(2.2)
    assert budget.time_for(60.0)
    assert not budget.time_for(60.1)


def test_the_budget_keeps_what_turns_out_to_be_needed_later():
    later = [0.0]
    budget = TimeBudget(100, Forecast(1, 1, 10), clock=lambda: 30.0, reserve=lambda: later[0])
    assert budget.time_for(60.0)
    later[0] = 20.0
    assert budget.time_for(40.0)
    assert not budget.time_for(40.1)


@pytest.mark.parametrize(("keep", "reason"), [(True, "time_limit"), (False, None)])
def test_the_budget_keeps_time_to_compare_what_may_be_deployed(keep, reason):
    clock = {"clock": lambda: 30.0}
    budget = TimeBudget(100, Forecast(5, 5, 10), **clock, final_check=55, keep_check=keep)
    assert budget.before_step(TrainState(nn.Linear(1, 1))) == reason
    assert budget.time_for(budget.final_check)  # training over, it is not counted twice


@pytest.mark.parametrize(("keep", "reason"), [(True, "time_limit"), (False, None)])
def test_the_budget_keeps_time_to_score_half_way(keep, reason):
    budget = TimeBudget(100, Forecast(10, 30, 10), clock=lambda: 30.0, keep_validation=keep)
    assert budget.before_step(TrainState(nn.Linear(1, 1))) == reason


def test_without_a_limit_there_is_always_time():
    budget = TimeBudget(math.inf, Forecast(1, 1, 1))
    assert budget.before_step(TrainState(nn.Linear(1, 1))) is None
