"""What only a CUDA card can show; `make test-gpu` runs it, elsewhere it is skipped."""

import json
import pickle
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

from finetune_tabpfn import Callback, FinetunedTabPFNClassifier, FinetunedTabPFNRegressor
from finetune_tabpfn.pretraining.__main__ import main as pretraining
from finetune_tabpfn.training._optimizer import AdamW

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA card"),
]
two_cards = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are not two CUDA cards")
DIGITS = load_digits(return_X_y=True)
CANCER = load_breast_cancer(return_X_y=True)
CLOSE = {"rtol": 0, "atol": 1e-3}  # of a probability


def classifier(**changes):
    return FinetunedTabPFNClassifier(base_model="mini", random_state=0, **changes)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"precision": "fp32"},
        {"precision": "bf16"},
        {"precision": "fp16"},
        {"tuning": "lora"},
        {"n_folds": 2},
        {"fit_mode": "fit_with_cache"},
        {"learning_rate": "auto"},
    ],
    ids=str,
)
def test_a_time_limit_leaves_room_for_training(change):
    X, y = DIGITS
    started = time.monotonic()
    model = classifier(time_limit=12, max_steps=10**6, **change).fit(X[:1257], y[:1257])
    assert time.monotonic() - started <= 1.05 * 12 + 1
    assert model.n_steps_ >= 10
    assert len(model.history_) >= 2


@pytest.fixture(scope="module")
def two_folds():
    X, y = CANCER
    return classifier(max_steps=20, n_folds=2, training={"min_gain_se": 0.0}).fit(
        X[:400], y[:400]
    ), X[400:]


def test_a_copy_stays_on_the_card_and_predicts_alike(two_folds):
    model, rows = two_folds
    copy = pickle.loads(pickle.dumps(model))
    assert copy.predictor_.devices_[0].type == "cuda"
    np.testing.assert_allclose(copy.predict_proba(rows), model.predict_proba(rows), **CLOSE)
    assert model.predictor_.devices_[0].type == "cuda"  # as it was


def test_rows_are_predicted_alike_in_parts_and_in_one_piece(two_folds):
    model, rows = two_folds
    parts = [model.predict_proba(rows[n : n + 7]) for n in range(0, len(rows), 7)]
    np.testing.assert_allclose(np.concatenate(parts), model.predict_proba(rows), **CLOSE)


def test_what_a_card_fitted_the_cpu_predicts(two_folds):
    model, rows = two_folds
    elsewhere = pickle.loads(pickle.dumps(model)).set_params(device="cpu")
    on_cpu = pickle.loads(pickle.dumps(elsewhere))
    assert on_cpu.predictor_.devices_[0].type == "cpu"
    np.testing.assert_allclose(on_cpu.predict_proba(rows), model.predict_proba(rows), **CLOSE)


def test_a_small_network_predicts_in_float32(two_folds):
    model, _ = two_folds
    assert not model.predictor_.use_autocast_


def test_a_regressor_trains():
    X, y = load_diabetes(return_X_y=True)
    model = FinetunedTabPFNRegressor(base_model="mini", max_steps=30, random_state=0)
    model.fit(X[:350], y[:350])
    assert model.n_steps_ == 30
    assert model.best_score_ >= model.base_score_


def test_small_splits_share_a_step_and_the_optimizer_is_fused():
    class Looks(Callback):
        def on_train_begin(self, state):
            state.model.register_forward_pre_hook(self.look)
            self.splits = []

        def look(self, model, arguments):
            if torch.is_grad_enabled():
                self.splits.append(arguments[0].shape[1])

    looks = Looks()
    X, y = CANCER
    classifier(max_steps=4, callbacks=[looks]).fit(X[:400], y[:400])
    assert max(looks.splits) == 8
    weight = torch.nn.Parameter(torch.ones(2, device="cuda"))
    assert AdamW([weight], 0.1, fused=True).defaults["fused"]


def test_losses_are_read_without_waiting_at_every_step():
    waits = []

    class Counts(Callback):
        def after_step(self, state):
            waits.append(len(state.unread))

    X, y = CANCER
    model = classifier(max_steps=60, eval_interval=30, callbacks=[Counts()]).fit(X[:400], y[:400])
    assert max(waits) > 1  # some steps were made before the losses of earlier ones were read
    assert np.isfinite(model.history_["train_loss"][1:]).all()


@pytest.mark.parametrize("share", [0.1, 0.03])
def test_little_memory_asks_for_less_and_trains_all_the_same(share):
    X = np.random.default_rng(0).normal(size=(10_000, 50))
    y = (X[:, :3].sum(axis=1) > 0).astype(int)
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(share)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says what it asks less of
            model = classifier(max_steps=5, patience=None).fit(X, y)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert model.n_steps_ == 5


def test_a_recipe_continues_a_mini_model_within_its_seconds(tmp_path):
    out = tmp_path / "more-v3.safetensors"
    started = time.monotonic()
    assert pretraining(["--recipe", "mini-regressor", "--seconds", "40", "--out", str(out)]) == 0
    assert time.monotonic() - started <= 40
    rows = [json.loads(line) for line in out.with_suffix(".jsonl").read_text().splitlines()]
    assert rows[-1]["step"] >= 5
    assert rows[-1]["score"] > rows[0]["score"] - 0.1


@two_cards
@pytest.mark.parametrize("fit_mode", ["fit_preprocessors", "fit_with_cache"])
def test_two_cards_validate_and_predict_what_one_does(fit_mode):
    X, y = CANCER
    settings = {"max_steps": 20, "n_folds": 1, "precision": "fp32", "fit_mode": fit_mode}
    one = classifier(device="cuda:0", **settings).fit(X[:400], y[:400])
    torch.cuda.reset_peak_memory_stats("cuda:1")
    two = classifier(device=["cuda:0", "cuda:1"], **settings).fit(X[:400], y[:400])
    assert torch.cuda.max_memory_allocated("cuda:1") > 0
    np.testing.assert_allclose(two.history_["score"], one.history_["score"], rtol=0, atol=1e-2)
    np.testing.assert_allclose(two.predict_proba(X[400:]), one.predict_proba(X[400:]), atol=0.02)


@two_cards
def test_a_copy_of_what_two_cards_fitted_finds_both_or_the_one_that_is_there():
    X, y = CANCER
    model = classifier(device=["cuda:0", "cuda:1"], max_steps=0).fit(X[:400], y[:400])
    copy = pickle.loads(pickle.dumps(model))
    assert [device.index for device in copy.predictor_.devices_] == [0, 1]
    np.testing.assert_allclose(copy.predict_proba(X[400:]), model.predict_proba(X[400:]), **CLOSE)
    alone = pickle.loads(pickle.dumps(copy.set_params(device="cuda:1")))
    assert [device.index for device in alone.predictor_.devices_] == [1]
    np.testing.assert_allclose(alone.predict_proba(X[400:]), model.predict_proba(X[400:]), **CLOSE)


@two_cards
def test_two_processes_with_a_card_each_come_to_what_one_comes_to(tmp_path):
    """A program of its own for torchrun: CUDA cannot be used in processes that are forked."""
    program = tmp_path / "train.py"
    program.write_text(TRAIN.format(folder=str(tmp_path)))
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    for size in ("1", "2"):
        subprocess.run([*start, size, program], check=True, timeout=300)
    alone, first, second = (np.load(tmp_path / f"{name}.npy") for name in ("1-0", "2-0", "2-1"))
    np.testing.assert_allclose(first, alone, rtol=0, atol=0.02)
    np.testing.assert_allclose(second, first, **CLOSE)


TRAIN = """
import os
import numpy as np
from sklearn.datasets import load_breast_cancer
from finetune_tabpfn import FinetunedTabPFNClassifier

X, y = load_breast_cancer(return_X_y=True)
model = FinetunedTabPFNClassifier(
    base_model="mini", random_state=0, max_steps=20, n_folds=1, batch_size=2, precision="fp32"
).fit(X[:400], y[:400])
size, rank = os.environ["WORLD_SIZE"], os.environ["RANK"]
np.save("{folder}/" + size + "-" + rank + ".npy", model.predict_proba(X[400:]))
"""
