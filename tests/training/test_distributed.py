"""Several processes that share the steps of a training, on nn.Linear; then whole fits."""

import math
import os
import signal
import time
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import make_friedman1
from sklearn.metrics import get_scorer

from finetune_tabpfn import Callback, Checkpoint, FinetunedTabPFNRegressor
from finetune_tabpfn.training._callbacks import MaxSteps
from finetune_tabpfn.training._distributed import ALONE
from finetune_tabpfn.training._loop import TrainConfig
from finetune_tabpfn.training._meeting import wait_seconds
from finetune_tabpfn.training._torchrun import processes_of_fit
from finetune_tabpfn.utils._workers import LostProcessError, OtherProcessError
from several_processes import together
from straight_line import X, Y, line, score, squared_error

CPU = torch.device("cpu")


class Batches:
    """Four passes of a step, dealt out to processes; a pass may run out of memory, once."""

    def __init__(self, processes, runs_out_in=None):
        self.processes, self.runs_out = processes, processes.rank == runs_out_in
        self.shrunk = 0

    def __call__(self, step):
        for part in self.processes.own(range(4)):
            rows = slice(part, None, 4)
            yield 0.25, (X[rows], Y[rows])
            if self.runs_out and step == 3:
                self.runs_out = False
                raise torch.OutOfMemoryError

    def shrink(self):
        self.shrunk += 1
        return "smaller"


def train(processes, *callbacks, batches=None, loss=squared_error, evaluate=score):
    model = line()
    state = processes.train(
        model,
        torch.optim.SGD(model.parameters(), 0.1),
        batches=batches or Batches(processes),
        loss_fn=loss,
        evaluate=evaluate,
        config=TrainConfig(eval_interval=5),
        callbacks=[MaxSteps(20), *callbacks],
    )
    weights = torch.cat([weight.detach().ravel() for weight in model.parameters()])
    return state.step, state.stop_reason, weights, state.losses, state.best_score


def in_two(work):
    """Return what `work(processes)` returns in both of two processes."""

    def in_one(rank):
        with processes_of_fit(CPU) as processes:
            return work(processes)

    return in_one


class At(Callback):
    """Does something after a step."""

    def __init__(self, step, do):
        self.step, self.do = step, do

    def after_step(self, state):
        return self.do() if state.step == self.step else None


def test_two_processes_come_to_what_one_comes_to():
    _, reason, weights, losses, best = train(ALONE)
    for found in together(in_two(train)):
        assert found[:2] == (20, reason)
        assert torch.allclose(found[2], weights, atol=1e-6)
        assert found[3] == pytest.approx(losses, rel=1e-5)
        assert found[4] == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("who", [0, 1])
def test_one_stops_and_so_all_do_for_its_reason(who):
    def work(processes):
        return train(processes, At(7, lambda: "enough" if processes.rank == who else None))

    first, second = together(in_two(work))
    assert first[:2] == second[:2] == (7, "enough")
    assert torch.equal(first[2], second[2])


def test_ctrl_c_in_one_stops_all_at_the_same_step():
    def work(processes):
        def press():
            if processes.rank == 1:
                os.kill(os.getpid(), signal.SIGINT)

        return train(processes, At(7, press))

    assert [found[:2] for found in together(in_two(work))] == [(7, "interrupted")] * 2


def test_memory_that_runs_out_in_one_is_asked_less_of_in_all():
    def work(processes):
        batches = Batches(processes, runs_out_in=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return *train(processes, batches=batches), batches.shrunk

    expected = train(ALONE)
    for found in together(in_two(work)):
        assert found[-1] == 1
        assert torch.allclose(found[2], expected[2], atol=1e-6)


def test_a_loss_that_is_no_number_in_one_ends_all():
    def work(processes):
        def loss(model, batch):
            found = squared_error(model, batch)
            loss.calls += 1
            return found * torch.nan if processes.rank == 1 and loss.calls > 12 else found

        loss.calls = 0
        return train(processes, loss=loss)

    for step, reason, *_ in together(in_two(work)):
        assert step == 6
        assert reason.startswith("diverged")


def test_what_fails_in_one_is_named_in_the_others():
    def work(processes):
        def fail():
            if processes.rank == 1:
                raise KeyError("nothing there")

        return train(processes, At(7, fail))

    first, second = together(in_two(work))
    assert isinstance(first, OtherProcessError)
    assert str(first) == "process 1 of 2 ended the fit: KeyError: 'nothing there'"
    assert isinstance(second, KeyError)


def test_a_process_that_dies_ends_the_others_at_once_in_one_sentence():
    def work(processes):
        def die():
            if processes.rank == 1:
                os._exit(9)

        return train(processes, At(7, die))

    began = time.monotonic()
    first, second = together(in_two(work), wait=200)
    assert time.monotonic() - began < 30
    assert second is None
    assert isinstance(first, LostProcessError)
    assert str(first).startswith("Another of the 2 processes of this fit has ended or does not ans")


@pytest.mark.slow
def test_a_process_that_hangs_ends_the_others_when_they_have_waited_long_enough():
    def work(processes):
        def hang():
            if processes.rank == 1:
                time.sleep(6)
                os._exit(9)

        return train(processes, At(7, hang))

    first, _ = together(in_two(work), wait=2)
    assert isinstance(first, LostProcessError)
    assert "each waits 2 s at most" in str(first)


def test_only_the_first_process_warns_and_has_callbacks():
    def work(processes):
        return processes.for_first(["a logger"]), processes.on_first(lambda: 1, elsewhere=2)

    assert together(in_two(work)) == [(["a logger"], 1), ((), 2)]


TABLE = make_friedman1(120, 5, random_state=0)
SETTINGS = {
    "base_model": "mini",
    "max_steps": 12,
    "eval_interval": 3,
    "n_estimators": 2,
    "batch_size": 2,
    "n_folds": 1,
    "random_state": 0,
    "precision": "fp32",
    "training": {"min_gain_se": 0.0},
}


def regressor(**parameters):
    return FinetunedTabPFNRegressor(**{**SETTINGS, **parameters})


def weights_of(model):
    return {name: its.numpy() for name, its in model.predictor_.models_[0].state_dict().items()}


def outcome(model):
    history = model.history_.drop(columns="seconds")
    return model.deployed_weights_, history, weights_of(model), model.predict(TABLE[0][:5])


class Told(Callback):
    """Notes when it is told of an evaluation."""

    def __init__(self):
        self.steps = []

    def after_evaluation(self, state):
        self.steps.append(state.step)


class Rmse:
    """The usual score; the process that it stands in ends with a certain one."""

    def __init__(self, dies_at=math.inf):
        self.calls, self.dies_at = 0, dies_at

    def __call__(self, model, X, y):
        self.calls += 1
        if self.calls == self.dies_at:
            os._exit(9)
        return get_scorer("neg_root_mean_squared_error")(model, X, y)

    def __repr__(self):
        return "Rmse()"


@pytest.mark.slow
def test_the_fit_of_two_processes_is_that_of_one(tmp_path):
    """With folds, a hold-out whose members are dealt out, and files that the first one writes."""

    def work(rank):
        told = Told()
        files = {"loggers": "jsonl", "log_dir": tmp_path, "checkpoint": tmp_path / "kept"}
        model = regressor(n_folds=2, callbacks=[told], **files).fit(*TABLE)
        return *outcome(model), told.steps

    # the same passes one after the other: their gradients are the same to the bit
    two_passes = {"min_gain_se": 0.0, "gradient_accumulation_steps": 2}
    alone = regressor(n_folds=2, training=two_passes).fit(*TABLE)
    deployed, history, weights, predicted = outcome(alone)
    assert deployed == "best"
    found = together(work)
    for its_deployed, its_history, its_weights, its_predicted, _ in found:
        assert its_deployed == deployed
        pd.testing.assert_frame_equal(its_history, history, rtol=1e-5)
        for name, weight in weights.items():
            np.testing.assert_allclose(its_weights[name], weight, atol=1e-7, err_msg=name)
        np.testing.assert_allclose(its_predicted, predicted, rtol=1e-5)
    assert [its[-1] for its in found] == [[0, 3, 6] * 2, []]
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) > 6


@pytest.mark.slow
def test_a_fit_whose_second_process_dies_goes_on_from_the_last_checkpoint(tmp_path):
    def dies(rank):
        scoring = Rmse(dies_at=4 if rank else math.inf)
        return regressor(scoring=scoring, checkpoint=tmp_path).fit(*TABLE)

    whole = regressor(scoring=Rmse()).fit(*TABLE)
    first, second = together(dies)
    assert second is None
    assert isinstance(first, LostProcessError)
    assert "with Checkpoint(folder, resume=True) it goes on from the last checkpoint" in str(first)
    resumed = regressor(scoring=Rmse(), checkpoint=Checkpoint(tmp_path, resume=True)).fit(*TABLE)
    assert resumed.n_steps_ == 12
    assert resumed.history_["score"].tolist() == pytest.approx(
        whole.history_["score"].tolist(), rel=1e-4
    )


@pytest.mark.slow
def test_processes_that_are_given_other_rows_or_parameters_are_told():
    def work(rank):
        X, y = TABLE
        return regressor(max_steps=1).fit(X, y + rank)

    for found in together(work):
        assert isinstance(found, ValueError)
        assert str(found).startswith("process 1 of 2 was given other rows than process 0; all")

    def other_work(rank):
        return regressor(max_steps=1, batch_size=2 + rank).fit(*TABLE)

    assert "was given other batch_size than" in str(together(other_work)[0])


def test_a_seed_of_none_is_that_of_the_first_process():
    def work(rank):
        model = regressor(max_steps=1, validation=None, random_state=None).fit(*TABLE)
        return model.predict(TABLE[0][:5])

    np.testing.assert_array_equal(*together(work))


def test_fewer_splits_than_processes_are_refused():
    def work(rank):
        return regressor(max_steps=1, batch_size=1).fit(*TABLE)

    assert str(together(work)[0]) == (
        "batch_size=1 leaves some of the 2 processes of this fit without a split; "
        '2 or "auto" would do.'
    )


def test_processes_may_have_a_fit_each():
    def work(rank):
        return regressor(max_steps=rank, n_estimators=1).fit(*TABLE).n_steps_

    assert together(work, FINETUNE_TABPFN_SHARE="0") == [0, 1]


@pytest.mark.parametrize("asked", ["long", "0", "-5", "nan", "inf"])
def test_a_wait_that_is_no_time_is_refused(asked, monkeypatch):
    monkeypatch.setenv("FINETUNE_TABPFN_WAIT", asked)
    with pytest.raises(ValueError, match=rf"FINETUNE_TABPFN_WAIT='{asked}' must be a number"):
        wait_seconds()
