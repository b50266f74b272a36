"""Members that predict on several devices: torch counts CPUs too, "cpu:1" is the second card."""

import pickle
import threading
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, make_friedman1
from torch.nn.modules.module import register_module_forward_pre_hook

from finetune_tabpfn import Callback, FinetunedTabPFNClassifier, FinetunedTabPFNRegressor

TWO = ["cpu", "cpu:1"]
CANCER = load_breast_cancer(return_X_y=True)
NUMBERS = make_friedman1(120, 5, random_state=0)
CLOSE = {"rtol": 0, "atol": 1e-5}


def classifier(**changes):
    settings = {"base_model": "mini", "n_estimators": 3, "random_state": 0, "max_steps": 0}
    return FinetunedTabPFNClassifier(**{**settings, **changes}).fit(CANCER[0][:60], CANCER[1][:60])


def regressor(**changes):
    settings = {"base_model": "mini", "n_estimators": 2, "random_state": 0, "n_folds": 1}
    return FinetunedTabPFNRegressor(**{**settings, **changes}).fit(*NUMBERS)


@contextmanager
def noted(model):
    """Note which networks are asked, and by which threads."""
    kind, networks, threads = type(model.predictor_.models_[0]), set(), set()

    def note(module, _):
        if isinstance(module, kind):
            networks.add(module)  # held, so that the next one is not taken for it
            threads.add(threading.current_thread())

    handle = register_module_forward_pre_hook(note)
    try:
        yield networks, threads
    finally:
        handle.remove()


@pytest.fixture(scope="module")
def one():
    return classifier(device="cpu")


@pytest.fixture(scope="module")
def two():
    return classifier(device=TWO)


@pytest.mark.parametrize("fit_mode", ["fit_preprocessors", "fit_with_cache"])
def test_two_devices_predict_what_one_predicts(one, fit_mode):
    rows = CANCER[0][60:90]
    two = classifier(device=TWO, fit_mode=fit_mode)
    with noted(two) as (networks, threads):
        predicted = two.predict_proba(rows)
    assert len(networks) == len(threads) == 2
    np.testing.assert_allclose(predicted, one.predict_proba(rows), **CLOSE)
    np.testing.assert_allclose(two.get_embeddings(rows), one.get_embeddings(rows), atol=1e-4)


def test_validations_and_what_is_deployed_are_those_of_one_device():
    settings = {"max_steps": 2, "eval_interval": 1, "training": {"min_gain_se": 0.0}}
    one = regressor(device="cpu", **settings)
    with noted(one) as (networks, threads):
        two = regressor(device=TWO, **settings)
    assert len(networks) > 2  # a copy for each validation
    assert len(threads) > 2
    assert two.deployed_weights_ == one.deployed_weights_
    columns = one.history_.columns.drop("seconds")
    pd.testing.assert_frame_equal(two.history_[columns], one.history_[columns], rtol=1e-4)
    rows = NUMBERS[0][:7]
    for wanted in ("mean", "quantiles"):
        np.testing.assert_allclose(
            two.predict(rows, output_type=wanted), one.predict(rows, output_type=wanted), rtol=1e-4
        )


def test_a_pickle_holds_one_network_and_finds_both_devices(one, two):
    kept = pickle.dumps(two)
    assert len(kept) < 1.05 * len(pickle.dumps(one))
    copy = pickle.loads(kept)
    with noted(copy) as (networks, _):
        predicted = copy.predict_proba(CANCER[0][:5])
    assert len(networks) == 2
    np.testing.assert_array_equal(predicted, two.predict_proba(CANCER[0][:5]))


def test_a_machine_with_fewer_devices_predicts_on_those_it_has(two):
    elsewhere = pickle.loads(pickle.dumps(two)).set_params(device=["cpu:1", "cuda:7"])
    with pytest.warns(UserWarning, match=r"'cuda:7'\] is not on this machine; .* on cpu:1\."):
        copy = pickle.loads(pickle.dumps(elsewhere))
    np.testing.assert_allclose(
        copy.predict_proba(CANCER[0][:5]), two.predict_proba(CANCER[0][:5]), **CLOSE
    )


class Hooked(Callback):
    """Notes the networks of validations, by a hook that holds what cannot be copied."""

    def __init__(self):
        self.lock, self.networks = threading.Lock(), set()

    def on_train_begin(self, state):
        self.handle = state.model.register_forward_pre_hook(self.note)

    def on_train_end(self, state):
        self.handle.remove()

    def note(self, model, _):
        with self.lock:
            self.networks.add(model)


def test_a_hook_on_the_network_is_called_on_both_devices():
    hooked = Hooked()
    regressor(device=TWO, max_steps=1, callbacks=[hooked])
    assert len(hooked.networks) >= 2


@pytest.mark.parametrize(
    ("asked", "fault"),
    [
        ([], r"device=\[\] names no device"),
        (["cpu", "cpu"], r"device=\['cpu', 'cpu'\] names a device twice"),
        (["cpu", "meta"], r"device=\['cpu', 'meta'\] mixes kinds of devices"),
        (["cpu", 1], r"device=\['cpu', 1\] holds something that names no device"),
        (["cpu", "warp"], "device='warp' is no name of a device"),
    ],
)
def test_devices_that_cannot_be_used_together_are_refused(asked, fault):
    with pytest.raises(ValueError, match=fault):
        classifier(device=asked)
