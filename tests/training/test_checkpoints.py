"""A killed fit goes on from its newest checkpoint and ends where it would have ended."""

import functools
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import time
import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_iris
from torch import nn

from finetune_tabpfn import Callback
from finetune_tabpfn._estimators import new_estimator
from finetune_tabpfn.training._callbacks import EarlyStopping, MaxSteps
from finetune_tabpfn.training._checkpoints import KEPT, FoldCheckpoints, is_over, unpack
from finetune_tabpfn.training._loop import TrainConfig, train
from finetune_tabpfn.training._state import Evaluation

X, Y = load_iris(return_X_y=True)
SETTINGS = {"base_model": "mini", "n_estimators": 2, "random_state": 0, "eval_interval": 2}
SETTINGS["precision"] = "fp32"  # what is measured on a busy machine may differ


def regressor(**parameters):
    return new_estimator("regression", parameters)


def classifier(**parameters):
    return new_estimator("classification", {"max_steps": 8, **SETTINGS, **parameters})


class InterruptAfter(Callback):
    """Somebody presses Ctrl-C."""

    def __init__(self, steps):
        self.steps = steps

    def after_step(self, state):
        if state.step == self.steps:
            raise KeyboardInterrupt


def interrupted(folder, steps=5, **parameters):
    callbacks = [InterruptAfter(steps)]
    with pytest.warns(UserWarning, match="interrupted"):
        return classifier(checkpoint=folder, callbacks=callbacks, **parameters).fit(X, Y)


@functools.cache
def whole_fit(**parameters):
    """Give a fit that nothing interrupted."""
    return classifier(**parameters).fit(X, Y)


@pytest.fixture(scope="module")
def left_by_an_interrupt(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interrupted") / "cut"
    interrupted(folder)
    return folder


@pytest.fixture
def cut(left_by_an_interrupt, tmp_path):
    """Give a folder of an interrupted fit, to go on from or to damage."""
    return shutil.copytree(left_by_an_interrupt, tmp_path / "cut")


def sugar():
    """Give some rows with a number to predict."""
    rows, target = load_diabetes(return_X_y=True)
    return rows[:120], target[:120]


def names(folder):
    return sorted(path.name for path in (folder / "fold-0").iterdir())


# --- the loop ---------------------------------------------------------------------------------


class Lines:
    """Batches that depend on the step alone."""

    def __call__(self, step):
        rng = np.random.default_rng(step)
        x = torch.from_numpy(rng.normal(size=(16, 3)).astype(np.float32))
        yield 1.0, (x, x.sum(1, keepdim=True) + 0.1 * float(rng.normal()))

    def shrink(self):
        return None


def loss(model, batch):
    return ((model(batch[0]) - batch[1]) ** 2).mean()


@torch.no_grad()
def score(model):
    value = -float(loss(model, next(Lines()(10**6))[1]))
    return Evaluation(value, {"half": value / 2}, [np.array([value])])


def run(checkpoints, saved=None, steps=60, callbacks=(), **config):
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    optimizer = torch.optim.AdamW(model.parameters(), 0.8)
    state = None if saved is None else unpack(saved, model, optimizer)
    return train(
        model,
        optimizer,
        batches=Lines(),
        loss_fn=loss,
        evaluate=score,
        config=TrainConfig(eval_interval=5, **{"ema_decay": 0.5, "plateau_patience": 2, **config}),
        callbacks=[MaxSteps(steps), *callbacks, *checkpoints.callbacks(optimizer, dict)],
        state=state,
    )


@pytest.mark.parametrize(
    "config", [{}, {"ema_decay": 0.0}, {"plateau_patience": 0}, {"precision": "fp16"}]
)
@pytest.mark.parametrize("steps", [5, 10, 20, 35, 55])
def test_a_training_goes_on_from_any_round_to_the_same_end(steps, config, tmp_path):
    whole = run(FoldCheckpoints(), **config)
    checkpoints = FoldCheckpoints(tmp_path)
    run(checkpoints, steps=steps, **config)
    resumed = run(FoldCheckpoints(), checkpoints.load()["state"], **config)
    assert resumed.model.weight.equal(whole.model.weight)
    assert resumed.best_weights["weight"].equal(whole.best_weights["weight"])
    for one, other in zip(resumed.history, whole.history, strict=True):
        assert (one.score, one.step, one.metrics) == (other.score, other.step, other.metrics)
    np.testing.assert_array_equal(resumed.best.predictions, whole.best.predictions)
    assert resumed.base == whole.base or resumed.base.score == whole.base.score


def test_a_training_that_had_come_to_its_end_is_over(tmp_path):
    checkpoints = FoldCheckpoints(tmp_path)
    state = run(checkpoints, steps=500, callbacks=[Enough()])
    assert state.stop_reason == "enough"
    assert is_over(checkpoints.load()["state"])
    for name, callbacks in (("cut", []), ("stopped early", [EarlyStopping(3)])):
        run(FoldCheckpoints(tmp_path / name), steps=60, callbacks=callbacks)
        assert not is_over(FoldCheckpoints(tmp_path / name).load()["state"])


class Enough(Callback):
    def after_evaluation(self, state):
        return "enough" if state.step >= 10 else None


def test_the_newest_few_are_kept_and_found_by_number(tmp_path):
    checkpoints = FoldCheckpoints(tmp_path)
    run(checkpoints, steps=110)
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {f"checkpoint-{step}.pt" for step in (100, 105, 110)}
    assert len(kept) == KEPT
    assert checkpoints.load()["state"]["step"] == 110  # as text, 105 ... 90 sort differently


def test_a_round_that_improves_is_written_whatever_the_interval(tmp_path):
    state = run(FoldCheckpoints(tmp_path, interval=1000), steps=40)
    steps = [int(path.stem.split("-")[1]) for path in tmp_path.iterdir()]
    assert max(steps) == state.best_step


# --- the estimators ---------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("steps", [4, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 7))])
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        pytest.param({"random_state": None}, marks=pytest.mark.slow),
        pytest.param({"tuning": "lora", "lora_dropout": 0.2}, marks=pytest.mark.slow),
        pytest.param({"batch_size": 2}, marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_fit_goes_on_to_the_same_end(steps, parameters, tmp_path):
    cut = interrupted(tmp_path / "cut", steps, **parameters)
    assert cut.stop_reason_ == "interrupted"
    resumed = classifier(checkpoint=tmp_path / "cut", resume=True, **parameters).fit(X, Y)
    seed = json.loads((tmp_path / "cut" / "fit.json").read_text())["seed"]
    whole = whole_fit(**{**parameters, "random_state": seed})
    np.testing.assert_array_equal(resumed.predict_proba(X), whole.predict_proba(X))
    columns = ["evaluation", "step", "score", "train_loss", "learning_rate"]
    assert resumed.history_[columns].equals(whole.history_[columns])
    assert resumed.n_steps_ == whole.n_steps_ == 8


@pytest.mark.slow
def test_a_rate_that_was_tried_out_is_not_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr("finetune_tabpfn.finetuning._fine_tune.PROBE_STEPS", 2)
    cut = interrupted(tmp_path / "cut", learning_rate="auto", steps=5)
    monkeypatch.setattr("finetune_tabpfn.finetuning._fine_tune.PROBED_RATES", ())
    resumed = classifier(
        checkpoint=tmp_path / "cut", resume=True, learning_rate="auto", max_steps=12
    ).fit(X, Y)
    assert resumed.learning_rate_ == cut.learning_rate_
    assert resumed.n_steps_ == 12  # how long it goes on may be changed


@pytest.mark.slow
def test_folds_go_on_each_from_its_own(tmp_path):
    with pytest.warns(UserWarning, match="interrupted"):
        # the second fold counts its steps anew
        classifier(n_folds=2, checkpoint=tmp_path, callbacks=[SecondFold()]).fit(X, Y)
    resumed = classifier(n_folds=2, checkpoint=tmp_path, resume=True).fit(X, Y)
    whole = classifier(n_folds=2).fit(X, Y)
    np.testing.assert_array_equal(resumed.predict_proba(X), whole.predict_proba(X))


class SecondFold(Callback):
    fold = -1

    def on_train_begin(self, state):
        self.fold += 1

    def after_step(self, state):
        if self.fold == 1 and state.step == 3:
            raise KeyboardInterrupt


def test_a_finished_fit_is_found_finished(tmp_path):
    data = sugar()
    settings = {**SETTINGS, "max_steps": 4, "checkpoint": tmp_path}
    first = regressor(**settings).fit(*data)
    again = regressor(**settings, resume=True, callbacks=[NoStep()]).fit(*data)
    np.testing.assert_array_equal(again.predict(data[0]), first.predict(data[0]))


@pytest.mark.slow
@pytest.mark.parametrize("more", [{"patience": 20}, {"patience": None}])
def test_a_fit_that_stopped_early_goes_on_with_more_patience(more, tmp_path):
    data = sugar()
    settings = {**SETTINGS, "max_steps": 4, "eval_interval": 1, "min_delta": 10.0}
    short = {"patience": 2, "checkpoint": tmp_path, "resume": True}
    first = regressor(**settings, **short).fit(*data)
    assert (first.stop_reason_, first.n_steps_) == ("early_stopping", 2)
    again = regressor(**settings, **short, callbacks=[NoStep()]).fit(*data)
    assert (again.stop_reason_, again.n_steps_) == ("early_stopping", 2)
    longer = regressor(**settings, **{**short, **more}).fit(*data)
    whole = regressor(**settings, **more).fit(*data)
    assert (longer.stop_reason_, longer.n_steps_) == ("max_steps", 4)
    assert longer.history_["score"].tolist() == whole.history_["score"].tolist()


class NoStep(Callback):
    def after_step(self, state):
        raise AssertionError("nothing was left to train")


# --- killed -----------------------------------------------------------------------------------


def fit_and_save(folder, out):
    """Fit in a process of its own, which may be killed at any moment."""
    torch.set_num_threads(1)
    model = classifier(max_steps=12, checkpoint=folder, resume=True).fit(X, Y)
    part = f"{out}.part.npy"
    np.save(part, model.predict_proba(X))
    os.replace(part, out)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kill_9_at_random_moments_changes_nothing(tmp_path, everything):
    wanted = 20 if everything else 4
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["finetune_tabpfn", "torch._dynamo"])
    rng = random.Random(0)

    def start(name):
        process = context.Process(
            target=fit_and_save, args=(str(tmp_path / name), str(tmp_path / f"{name}.npy"))
        )
        process.start()
        return process

    first = context.Process(target=os.getpid)  # waits until all is imported
    first.start()
    first.join()
    began = time.monotonic()
    whole = start("whole")
    whole.join()
    seconds = time.monotonic() - began
    kills = 0
    while kills < wanted:
        if (tmp_path / "cut.npy").exists():  # it was through: again from the beginning
            assert_same(tmp_path / "cut.npy", tmp_path / "whole.npy")
            (tmp_path / "cut.npy").unlink()
            shutil.rmtree(tmp_path / "cut")
        process = start("cut")
        process.join(rng.uniform(0.0, 1.0) * seconds)
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.join()
    last = start("cut")
    last.join()
    assert last.exitcode == 0
    assert_same(tmp_path / "cut.npy", tmp_path / "whole.npy")
    assert not list((tmp_path / "cut").rglob("*.part.*"))  # what killed writers left is gone


def assert_same(first, second):
    np.testing.assert_array_equal(np.load(first), np.load(second))


# --- what does not belong together ------------------------------------------------------------


@pytest.mark.slow
def test_checkpoints_of_something_else_are_refused_in_one_sentence(cut):
    again = {"checkpoint": cut, "resume": True}
    cases = [
        ({"learning_rate": 1e-5}, X, Y, "of a fit with learning_rate=None, not 1e-05"),
        ({"random_state": 1}, X, Y, "of a fit with random_state=0, not 1"),
        ({}, X + 1e-9, Y, "of another table"),
        ({}, X, Y[::-1], "of another table"),
        ({}, X[:-1], Y[:-1], "of another table"),
    ]
    before = names(cut)
    for parameters, rows, target, message in cases:
        with pytest.raises(ValueError, match=message) as caught:
            classifier(**again, **parameters).fit(rows, target)
        assert str(cut) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert names(cut) == before


def test_another_base_model_is_refused(tmp_path):
    cut = interrupted(tmp_path / "cut")
    other = cut.save_model(tmp_path / "other-v3.ckpt")
    with pytest.raises(ValueError, match="began with another base model"):
        classifier(checkpoint=tmp_path / "cut", resume=True, base_model=other).fit(X, Y)


@pytest.mark.slow
def test_auto_begins_anew_with_a_warning(cut):
    model = classifier(checkpoint=cut, resume="auto", learning_rate=1e-5)
    with pytest.warns(UserWarning, match="learning_rate=None, not 1e-05; the fit begins anew"):
        model.fit(X, Y)
    whole = whole_fit(learning_rate=1e-5)
    np.testing.assert_array_equal(model.predict_proba(X), whole.predict_proba(X))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, Y)  # its own now


def test_without_resume_a_folder_that_holds_something_is_left_alone(cut):
    before = names(cut)
    with pytest.raises(ValueError, match=r'resume=True\) or "auto" goes on from them'):
        classifier(checkpoint=cut).fit(X, Y)
    assert names(cut) == before


DAMAGES = ["cut off", "a flipped bit", "empty", "another format", "another file", "older"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_or_passed_over(damage, cut):
    newest = cut / "fold-0" / "checkpoint-4.pt"
    content = newest.read_bytes()
    middle = len(content) // 2
    flipped = bytes([content[middle] ^ 1])
    if damage == "another file":
        torch.save([1], newest)
    elif damage == "older":  # of a version of this package that wrote less
        saved = torch.load(newest)
        del saved["state"]["last_reduction"]
        torch.save(saved, newest)
    else:
        newest.write_bytes(
            {
                "cut off": content[:middle],
                "a flipped bit": content[:middle] + flipped + content[middle + 1 :],
                "empty": b"",
                "another format": b"not a checkpoint",
            }[damage]
        )
    with pytest.raises(ValueError, match=r"checkpoint-4.pt is damaged \(") as caught:
        classifier(checkpoint=cut, resume=True).fit(X, Y)
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)
    model = classifier(checkpoint=cut, resume="auto")
    with pytest.warns(UserWarning, match="checkpoint-4.pt is damaged"):
        model.fit(X, Y)
    np.testing.assert_array_equal(model.predict_proba(X), whole_fit().predict_proba(X))


@pytest.mark.slow
@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_damaged_description_is_refused_or_passed_over(content, cut):
    (cut / "fit.json").write_text(content)
    with pytest.raises(ValueError, match=r"a damaged fit.json"):
        classifier(checkpoint=cut, resume=True).fit(X, Y)
    with pytest.warns(UserWarning, match="begins anew"):
        classifier(checkpoint=cut, resume="auto").fit(X, Y)


def test_a_checkpoint_runs_no_code(cut, tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "was-here"),))

    torch.save({"state": Evil()}, cut / "fold-0" / "checkpoint-6.pt")
    with pytest.raises(ValueError, match="is damaged"):
        classifier(checkpoint=cut, resume=True).fit(X, Y)
    assert not (tmp_path / "was-here").exists()


# --- the disk ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_full_disk_warns_once_and_the_fit_goes_on(tmp_path):
    whole = whole_fit()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    model = classifier(checkpoint=tmp_path / "full")
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        with pytest.warns(UserWarning, match="A checkpoint could not be written") as caught:
            model.fit(X, Y)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert len(caught) == 1
    assert not names(tmp_path / "full")
    np.testing.assert_array_equal(model.predict_proba(X), whole.predict_proba(X))


def test_a_disk_that_fills_up_leaves_earlier_checkpoints_as_they_were(tmp_path):
    checkpoints = FoldCheckpoints(tmp_path)
    run(checkpoints, steps=10)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        with pytest.warns(UserWarning, match="could not be written"):
            run(checkpoints, checkpoints.load()["state"], steps=30)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_that_cannot_be_used_is_named_before_the_work_begins(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"checkpoint='.*file' cannot be written to"):
        classifier(checkpoint=tmp_path / "file").fit(X, Y)
    with pytest.raises(ValueError, match="resume=True needs the folder"):
        classifier(resume=True).fit(X, Y)
