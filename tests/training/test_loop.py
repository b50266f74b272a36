"""The loop, on nn.Linear with a fake clock: no TabPFN, no scikit-learn, well under a second."""

import math

import pytest
import torch

from finetune_tabpfn.finetuning._budget import CostEstimate, TimeBudget, Timer
from finetune_tabpfn.training._callbacks import Callback, EarlyStopping, MaxSteps
from finetune_tabpfn.training._loop import TrainConfig, train
from finetune_tabpfn.training._state import improves, mix_weights
from straight_line import X, Y, line, score, squared_error


class Clock:
    """A clock that only moves when the work does."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Batches:
    """The whole line as one batch, in a number of passes; shrinks as often as it is told it may."""

    def __init__(self, passes=1, shrinks=0):
        self.passes, self.shrinks = passes, shrinks

    def __call__(self, step):
        for part in range(self.passes):
            rows = slice(part, None, self.passes)
            yield 1 / self.passes, (X[rows], Y[rows])

    def shrink(self):
        if not self.shrinks:
            return None
        self.shrinks -= 1
        return "smaller"


def run(model=None, *, steps=20, lr=0.1, evaluate=score, loss=squared_error, **options):
    model = model if model is not None else line()
    callbacks = [MaxSteps(steps), *options.pop("callbacks", ())]
    config = TrainConfig(**{"eval_interval": 5, **options.pop("config", {})})
    return train(
        model,
        torch.optim.SGD(model.parameters(), lr=lr),
        batches=options.pop("batches", Batches()),
        loss_fn=loss,
        evaluate=evaluate,
        config=config,
        callbacks=callbacks,
        **options,
    )


def test_it_learns_and_writes_a_row_per_round():
    state = run()
    assert [row.step for row in state.history] == [0, 5, 10, 15, 20]
    assert [row.evaluation for row in state.history] == [0, 1, 2, 3, 4]
    scores = [row.score for row in state.history]
    assert scores == sorted(scores)
    assert math.isnan(state.history[0].train_loss)
    assert state.base_score == scores[0]
    assert state.best_score == scores[-1]
    assert state.stop_reason == "max_steps"


def test_the_last_round_may_be_short_and_is_scored():
    state = run(steps=7)
    assert [row.step for row in state.history] == [0, 5, 7]


def test_an_evaluation_ends_when_one_is_due():
    state = run(config={"is_due": lambda state: state.step % 3 == 0})
    assert [row.step for row in state.history] == [0, 3, 6, 9, 12, 15, 18, 20]


def test_no_steps_leave_the_base_model():
    state = run(steps=0)
    assert state.step == 0
    assert len(state.history) == 1


@pytest.mark.parametrize("stop_early", [True, False])
def test_best_weights_are_kept_whatever_ends_the_run(stop_early):
    scores = iter([0.0, 1.0, 5.0, 2.0, 1.0, 0.0, 0.0])
    seen = {}

    def evaluate(model):
        value = next(scores)
        seen[value] = model.weight.item()
        return value

    state = run(
        evaluate=evaluate,
        steps=30 if not stop_early else 100,
        callbacks=[EarlyStopping(2)] if stop_early else (),
    )
    assert state.stop_reason == ("early_stopping" if stop_early else "max_steps")
    assert (state.best_step, state.best_score) == (10, 5.0)
    assert state.best_weights["weight"].item() == seen[5.0]
    assert state.model.weight.item() != seen[5.0]


def test_a_run_that_only_gets_worse_keeps_the_base():
    state = run(evaluate=lambda model: -abs(model.weight.item()))
    assert state.best_step == 0
    assert state.best_weights["weight"].item() == 0.0


def test_improvement_is_relative_to_the_size_of_the_score():
    for unit in (1e-6, 1.0, 1e6):
        assert improves(-0.98 * unit, -1.0 * unit, min_delta=0.01)
        assert not improves(-0.995 * unit, -1.0 * unit, min_delta=0.01)
    assert not improves(math.nan, -1.0, min_delta=0.0)


@pytest.mark.parametrize("passes", [2, 4])
def test_accumulation_gives_the_gradient_of_the_whole(passes):
    whole, parts = line(), line()
    run(whole, steps=3)
    run(parts, steps=3, batches=Batches(passes))
    torch.testing.assert_close(whole.weight, parts.weight)
    torch.testing.assert_close(whole.bias, parts.bias)


def test_gradients_are_clipped():
    model = line()
    run(model, steps=1, lr=1.0, config={"max_grad_norm": 0.5, "schedule": lambda step: 1.0})
    moved = torch.cat([model.weight.flatten(), model.bias])
    assert moved.norm().item() == pytest.approx(0.5, rel=1e-4)


def test_learning_rate_warms_up_and_stays_unless_told_otherwise():
    rates = []

    class Rates(Callback):
        def after_step(self, state):
            rates.append(state.learning_rate)

    run(lr=0.1, steps=7, callbacks=[Rates()])
    assert rates == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1, 0.1, 0.1])
    rates.clear()
    run(lr=0.1, steps=3, config={"schedule": lambda step: 1 / (step + 1)}, callbacks=[Rates()])
    assert rates == pytest.approx([0.1, 0.05, 0.1 / 3])


def test_a_run_continued_after_a_round_ends_where_an_uninterrupted_one_does():
    whole, parts = line(), line()
    uninterrupted = run(whole, steps=20, lr=0.05)
    halfway = run(parts, steps=10, lr=0.05)
    continued = run(parts, steps=20, lr=0.05, state=halfway)
    assert torch.equal(whole.weight, parts.weight)
    assert [row.score for row in continued.history] == [row.score for row in uninterrupted.history]
    assert continued.best_step == uninterrupted.best_step
    assert continued.stop_reason == "max_steps"


def test_the_average_of_the_weights_is_what_is_scored_and_kept():
    live, scored = [], []

    class Watch(Callback):
        def after_step(self, state):
            live.append(state.model.weight.item())

        def after_evaluation(self, state):
            scored.append(state.model.weight.item())

    model = line()
    state = run(model, steps=10, config={"ema_decay": 0.5}, callbacks=[Watch()])
    average = 0.0
    for step, weight in enumerate(live, 1):
        decay = min(0.5, step / (step + 4))
        average = decay * average + (1 - decay) * weight
        if step % 5 == 0:
            assert scored[step // 5] == pytest.approx(average, rel=1e-5)
    assert state.best_weights["weight"].item() == pytest.approx(average, rel=1e-5)
    assert model.weight.item() == live[-1]  # the update goes on from the weights themselves


def test_the_average_of_a_short_run_is_not_mostly_the_base():
    model = line()
    state = run(model, steps=5, config={"ema_decay": 0.95})
    scored, last = state.best_weights["weight"].item(), model.weight.item()
    assert 0.6 * last < scored < last  # a decay of .95 throughout would keep .77 of the base's 0


@pytest.mark.parametrize("average", [0.0, 0.5])
def test_a_rate_that_is_too_high_is_lowered_from_the_best_weights(average):
    # with this rate every step overshoots: the loss grows until the rate is a third
    config = {"max_grad_norm": None, "ema_decay": average, "schedule": lambda step: 1.0}
    stuck = run(lr=1.4, steps=40, config=config)
    state = run(lr=1.4, steps=40, config={**config, "plateau_patience": 2})
    assert stuck.best_evaluation == 0
    assert state.best_score > -1e-2
    rates = [round(row.learning_rate, 3) for row in state.history[1:5]]
    assert rates == [1.4, 1.4, 0.467, 0.467]


def test_a_continued_run_keeps_its_average():
    whole, first = line(), line()
    run(whole, steps=20, config={"ema_decay": 0.9})
    state = run(first, steps=10, config={"ema_decay": 0.9})
    run(first, steps=20, config={"ema_decay": 0.9}, state=state)
    again = run(line(), steps=20, config={"ema_decay": 0.9})
    assert state.best_weights["weight"].equal(again.best_weights["weight"])
    assert whole.weight.equal(first.weight)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_run_with_the_best_weights(bad):
    def breaks_at_step_12(model, batch):
        breaks_at_step_12.calls += 1
        return squared_error(model, batch) * (bad if breaks_at_step_12.calls == 12 else 1)

    breaks_at_step_12.calls = 0
    state = run(loss=breaks_at_step_12)
    assert state.stop_reason.startswith("diverged")
    assert "step 12" in state.stop_reason
    assert state.best_step == 10
    assert all(tensor.isfinite().all() for tensor in state.best_weights.values())


def test_predictions_that_are_not_finite_end_the_run():
    def evaluate(model):
        if model.weight.item() > 1:
            raise FloatingPointError("the predictions on the hold-out are not finite")
        return score(model)

    state = run(evaluate=evaluate)
    assert state.stop_reason.startswith("diverged: the predictions")
    assert math.isfinite(state.best_score)


def test_a_base_that_predicts_nonsense_is_an_error():
    def evaluate(model):
        raise FloatingPointError("not finite")

    with pytest.raises(FloatingPointError):
        run(evaluate=evaluate)


def test_ctrl_c_ends_the_run_cleanly():
    class Interrupts(Callback):
        ended = False

        def after_step(self, state):
            if state.step == 8:
                raise KeyboardInterrupt

        def on_train_end(self, state):
            self.ended = True

    callback = Interrupts()
    state = run(callbacks=[callback])
    assert state.stop_reason == "interrupted"
    assert state.best_step == 5
    assert callback.ended


def test_teardown_runs_on_an_error_too():
    class Teardown(Callback):
        ended = False

        def on_train_end(self, state):
            self.ended = True

    def breaks(model, batch):
        raise RuntimeError("broken on purpose")

    callback = Teardown()
    with pytest.raises(RuntimeError, match="on purpose"):
        run(loss=breaks, callbacks=[callback])
    assert callback.ended


def test_callbacks_hear_of_the_run_though_another_one_failed():
    class Fails(Callback):
        def after_evaluation(self, state):
            raise LookupError("mine")

    class Listens(Callback):
        heard = ()

        def after_evaluation(self, state):
            self.heard += (state.stop_reason,)

        def on_train_end(self, state):
            self.heard += ("end",)

    callback = Listens()
    with pytest.raises(LookupError, match="mine"):
        run(callbacks=[Fails(), callback])
    assert callback.heard == ("failed: LookupError", "end")


def test_any_callback_can_stop_and_the_first_reason_counts():
    class Stops:  # not a Callback: an object with one of the methods will do
        def __init__(self, reason):
            self.reason = reason

        def after_step(self, state):
            return self.reason if state.step == 3 else None

    state = run(callbacks=[Stops("enough"), Stops("late")])
    assert state.stop_reason == "enough"
    assert state.step == 3
    assert state.history[-1].step == 3  # what was trained is scored


def test_out_of_memory_asks_for_less_and_goes_on():
    def too_large_twice(model, batch):
        too_large_twice.calls += 1
        if too_large_twice.calls <= 2:
            raise torch.OutOfMemoryError("on purpose")
        return squared_error(model, batch)

    too_large_twice.calls = 0
    with pytest.warns(UserWarning, match="Out of memory on cpu: smaller") as caught:
        state = run(loss=too_large_twice, batches=Batches(shrinks=2))
    assert len(caught) == 2
    assert state.stop_reason == "max_steps"


def test_out_of_memory_for_good_keeps_the_best():
    def too_large(model, batch):
        raise torch.OutOfMemoryError("on purpose")

    state = run(loss=too_large)
    assert state.stop_reason == "out of memory"
    assert state.best_step == 0


def test_the_budget_is_asked_before_every_step():
    clock = Clock()

    def takes_a_second(model, batch):
        clock.now += 1
        return squared_error(model, batch)

    def takes_two(model):
        clock.now += 2
        return score(model)

    budget = TimeBudget(Timer(20, clock), CostEstimate(step=1, validation=2, finish=3))
    state = run(
        steps=1000, loss=takes_a_second, evaluate=takes_two, clock=clock, callbacks=[budget]
    )
    assert state.stop_reason == "time_limit"
    assert state.history[-1].step == state.step  # what was trained was scored in time
    assert 14 <= clock.now <= 17  # and three seconds are left to finish


def test_a_budget_too_small_for_a_round_deploys_the_base():
    clock = Clock()
    budget = TimeBudget(Timer(5, clock), CostEstimate(step=10, validation=1, finish=1))
    state = run(clock=clock, callbacks=[budget])
    assert (state.step, len(state.history), state.stop_reason) == (0, 1, "time_limit")


def test_a_budget_too_small_for_a_validation_scores_nothing():
    budget = TimeBudget(Timer(5, Clock()), CostEstimate(step=1, validation=10, finish=1))
    state = run(callbacks=[budget])
    assert (state.step, state.history, state.stop_reason) == (0, [], "time_limit")
    assert math.isnan(state.base_score)
    assert state.best_weights["weight"].item() == 0.0


def test_same_seed_same_run():
    first, second = run(), run()
    assert first.best_weights["weight"].equal(second.best_weights["weight"])


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_precisions_learn(precision):
    state = run(config={"precision": precision}, steps=40)
    assert state.best_score > -0.1
    assert state.model.weight.dtype == torch.float32


def test_mixed_weights_lie_between():
    first = {"w": torch.tensor([0.0, 2.0]), "n": torch.tensor([1, 2])}
    second = {"w": torch.tensor([4.0, 4.0]), "n": torch.tensor([5, 6])}
    mixed = mix_weights(first, second, 0.25)
    assert mixed["w"].tolist() == [1.0, 2.5]
    assert mixed["n"].tolist() == [1, 2]
