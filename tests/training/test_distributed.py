"""Several processes that share the steps of a training, on nn.Linear; then whole fits."""

import os
import signal
import time
import warnings

import pytest
import torch
from torch import nn

from finetune_tabpfn import Callback
from finetune_tabpfn.training._callbacks import MaxSteps
from finetune_tabpfn.training._distributed import ALONE, processes_of_fit
from finetune_tabpfn.training._loop import TrainConfig
from finetune_tabpfn.utils._workers import LostProcessError, OtherProcessError
from several_processes import together

X = torch.linspace(-1, 1, 32)[:, None]
Y = 3 * X + 1
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


def squared_error(model, batch):
    x, y = batch
    return ((model(x) - y) ** 2).mean()


def score(model):
    with torch.no_grad():
        return -float(squared_error(model, (X, Y)))


def line():
    model = nn.Linear(1, 1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    return model


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
