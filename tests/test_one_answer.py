"""One model, one answer: in parts or whole, pickled or not, on a busy machine or an idle one."""

import io
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.model_selection import train_test_split
from tabpfn import TabPFNClassifier

from finetune_tabpfn import FinetunedTabPFNClassifier, FinetunedTabPFNRegressor
from finetune_tabpfn._tabpfn import copied_to_cpu

SHORT = {"base_model": "mini", "max_steps": 12, "eval_interval": 4, "random_state": 0}
EXACT = {"rtol": 0, "atol": 1e-5}  # of a probability; of a number, in its standard deviations


def halves(load):
    """Some rows to fit on and a few to predict."""
    return train_test_split(*load(return_X_y=True), train_size=200, test_size=10, random_state=0)


@pytest.fixture(scope="module")
def models():
    """Fitted with the default precision, whatever processor this is, and rows to predict."""
    fitted = {}
    for kind, load, n_folds in (
        (FinetunedTabPFNClassifier, load_breast_cancer, 1),
        (FinetunedTabPFNRegressor, load_diabetes, 2),
    ):
        X, rows, y, _ = halves(load)
        fitted[kind] = kind(**SHORT, training={"min_gain_se": 0.0}, n_folds=n_folds).fit(X, y), rows
    return fitted


KINDS = [FinetunedTabPFNClassifier, FinetunedTabPFNRegressor]


def answers(model, rows):
    """Probabilities, or predictions in standard deviations of the target."""
    if hasattr(model, "predict_proba"):
        return model.predict_proba(rows)
    return model.predict(rows) / model.predictor_.y_train_std_


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 7])
def test_rows_are_predicted_alike_in_parts_and_in_one_piece(models, kind, size):
    model, rows = models[kind]
    parts = [answers(model, rows[n : n + size]) for n in range(0, len(rows), size)]
    np.testing.assert_allclose(np.concatenate(parts), answers(model, rows), **EXACT)


def through_joblib(model):
    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    buffer.seek(0)
    return joblib.load(buffer)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("copy", [lambda model: pickle.loads(pickle.dumps(model)), through_joblib])
def test_a_copy_predicts_alike(models, kind, copy):
    model, rows = models[kind]
    np.testing.assert_allclose(answers(copy(model), rows), answers(model, rows), **EXACT)


def test_a_saved_network_predicts_alike(models, tmp_path):
    model, rows = models[FinetunedTabPFNClassifier]
    X, _, y, _ = halves(load_breast_cancer)
    path = model.save_model(tmp_path / "tuned-v3.safetensors")
    again = FinetunedTabPFNClassifier(**{**SHORT, "base_model": path, "max_steps": 0}).fit(X, y)
    # float16 in the shipped file, float32 in the one that is saved: nothing is lost
    np.testing.assert_allclose(answers(again, rows), answers(model, rows), **EXACT)


def test_validation_is_in_the_precision_of_prediction(models):
    """What was scored is what is deployed, on every processor: float32 unless asked otherwise."""
    model, _ = models[FinetunedTabPFNClassifier]
    assert not model.predictor_.use_autocast_
    X, y = load_breast_cancer(return_X_y=True)
    asked = FinetunedTabPFNClassifier(**{**SHORT, "max_steps": 0}, precision="bf16").fit(X, y)
    plain = TabPFNClassifier(model_path=model.base_model_.path, device="cpu").fit(X[:50], y[:50])
    assert asked.predictor_.use_autocast_ == plain.use_autocast_


def test_a_copy_on_the_cpu_shares_nothing_and_predicts_alike(models):
    model, rows = models[FinetunedTabPFNRegressor]
    one, other = copied_to_cpu(model.predictor_), model.predictor_
    weights, others = (list(its.models_[0].parameters()) for its in (one, other))
    assert {weight.data_ptr() for weight in weights}.isdisjoint(w.data_ptr() for w in others)
    np.testing.assert_array_equal(one.predict(rows), other.predict(rows))


def test_a_gpu_that_is_not_here_is_replaced_by_the_cpu_with_one_warning(models):
    model, rows = models[FinetunedTabPFNClassifier]
    elsewhere = pickle.loads(pickle.dumps(model)).set_params(device="cuda:7")
    with pytest.warns(UserWarning, match="device='cuda:7' is not on this machine") as caught:
        loaded = pickle.loads(pickle.dumps(elsewhere))
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(answers(loaded, rows), answers(model, rows), **EXACT)
    assert loaded.device == "cuda:7"  # the parameter is the user's


def keep_busy(stop):
    while not stop.is_set():
        sum(range(10_000))


@pytest.mark.slow
def test_a_busy_machine_changes_nothing(models):
    model, rows = models[FinetunedTabPFNClassifier]
    X, _, y, _ = halves(load_breast_cancer)
    context = multiprocessing.get_context("fork")
    stop = context.Event()
    neighbours = [context.Process(target=keep_busy, args=(stop,)) for _ in range(os.cpu_count())]
    for neighbour in neighbours:
        neighbour.start()
    try:
        busy = FinetunedTabPFNClassifier(**SHORT, training={"min_gain_se": 0.0}).fit(X, y)
    finally:
        stop.set()
        for neighbour in neighbours:
            neighbour.join()
    np.testing.assert_array_equal(busy.predict_proba(rows), model.predict_proba(rows))
    columns = ["step", "train_loss", "score"]
    assert busy.history_[columns].equals(model.history_[columns])


def what_was_chosen():
    model = FinetunedTabPFNClassifier(base_model="mini", max_steps=10, random_state=0)
    model.fit(*load_wine(return_X_y=True))
    return [model.history_["step"].tolist(), model.n_steps_, model.stop_reason_]


@pytest.mark.slow
def test_processors_round_differently_but_choose_alike():
    """This one, and one without the vector instructions of the last ten years."""
    there = (
        f"import json, sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); "
        "import test_one_answer; print(json.dumps(test_one_answer.what_was_chosen()))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", there],
        env={**os.environ, "ATEN_CPU_CAPABILITY": "default"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == what_was_chosen()
