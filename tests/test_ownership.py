"""A fitted estimator owns what it needs and nothing else; several can be fitted at once."""

import gc
import os
import pickle
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
import torch
from joblib._parallel_backends import ThreadingBackend
from sklearn.datasets import load_breast_cancer, load_iris

from finetune_tabpfn import FinetunedTabPFNClassifier, FinetunedTabPFNRegressor, LoRA
from finetune_tabpfn._tabpfn._network import _read

IRIS = load_iris(return_X_y=True)
CANCER = load_breast_cancer(return_X_y=True)
QUICK = {"base_model": "mini", "max_steps": 4, "eval_interval": 2, "n_estimators": 2}


def classifier(**parameters):
    return FinetunedTabPFNClassifier(**{**QUICK, "random_state": 0, **parameters})


def fitted_predictions(data):
    return classifier().fit(*data).predict_proba(data[0]).tobytes()


@pytest.mark.slow
def test_two_threads_fit_at_once_as_if_each_were_alone():
    alone = [fitted_predictions(IRIS), fitted_predictions(CANCER)]
    random_state = torch.get_rng_state()
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(fitted_predictions, [IRIS, CANCER]))
    assert together == alone
    assert torch.equal(torch.get_rng_state(), random_state)


@pytest.mark.slow
def test_two_processes_fit_at_once():
    code = (
        "from sklearn.datasets import load_iris\n"
        "from finetune_tabpfn import FinetunedTabPFNClassifier\n"
        "X, y = load_iris(return_X_y=True)\n"
        f"model = FinetunedTabPFNClassifier(**{QUICK!r}, random_state=0).fit(X, y)\n"
        "print(model.predict_proba(X).sum(axis=0).round(3).tolist())\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    first, second = (process.communicate()[0] for process in running)
    assert [process.returncode for process in running] == [0, 0]
    assert first == second != ""


@pytest.mark.slow
@pytest.mark.parametrize("n_folds", [1, 2])
def test_a_pickle_holds_the_network_and_the_prepared_rows_once(n_folds):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1500, 20))
    model = FinetunedTabPFNRegressor(**QUICK, n_folds=n_folds, random_state=0)
    model.fit(X, X[:, 0])
    network = sum(p.nbytes for p in model.predictor_.model_.parameters())
    rows = model.n_estimators * X.nbytes
    assert len(pickle.dumps(model)) < 1.3 * (network + rows)


@pytest.mark.slow
def test_one_fit_does_not_change_another():
    first = classifier().fit(*IRIS)
    before = first.predict_proba(IRIS[0])
    classifier(learning_rate=0.01, max_steps=8).fit(*IRIS)
    assert first.predict_proba(IRIS[0]).tobytes() == before.tobytes()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_what_was_fitted_on_a_gpu_predicts_on_a_machine_without(tmp_path):
    model = classifier(device="cuda", precision="fp32").fit(*CANCER)
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(model))
    code = (
        "import pickle, sys, numpy as np\n"
        "from sklearn.datasets import load_breast_cancer\n"
        "model = pickle.load(open(sys.argv[1], 'rb'))\n"
        "proba = model.predict_proba(load_breast_cancer(return_X_y=True)[0])\n"
        "np.save(sys.argv[2], proba)\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, tmp_path / "model.pkl", tmp_path / "proba.npy"],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        check=True,
    )
    expected = model.predict_proba(CANCER[0])
    np.testing.assert_allclose(np.load(tmp_path / "proba.npy"), expected, atol=1e-3)


def test_fitting_in_a_loop_leaves_no_warnings_filter_behind():
    filters = list(warnings.filters)
    for _ in range(2):
        classifier(max_steps=1).fit(*IRIS)
    assert warnings.filters == filters


class Counting(ThreadingBackend):
    """The threads of joblib, which note how often they are asked for."""

    calls = 0

    def configure(self, *args, **others):
        Counting.calls += 1
        return super().configure(*args, **others)


@pytest.mark.slow
def test_what_is_computed_inside_a_fit_does_not_go_to_the_users_workers():
    """Jobs of milliseconds would go round a cluster, with every fit and every prediction."""
    joblib.register_parallel_backend("counting", Counting)
    with joblib.parallel_config("counting", n_jobs=2):
        FinetunedTabPFNClassifier(**QUICK).fit(*IRIS).predict(IRIS[0][:3])
        FinetunedTabPFNRegressor(**QUICK).fit(*IRIS).predict(IRIS[0][:3])
        assert Counting.calls == 0
        joblib.Parallel()(joblib.delayed(int)() for _ in range(3))
        assert Counting.calls == 1


def test_a_process_that_fits_often_reads_the_base_model_once():
    classifier().fit(*IRIS)
    before = _read.cache_info().misses
    classifier().fit(*IRIS)
    assert _read.cache_info().misses == before


def tensors_in_memory():
    gc.collect()
    return sum(torch.is_tensor(found) for found in gc.get_objects())


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(classifier(n_folds=2, max_steps=2), marks=pytest.mark.slow),
        pytest.param(classifier(tuning=LoRA(rank=2), max_steps=1), marks=pytest.mark.slow),
        FinetunedTabPFNRegressor(**{**QUICK, "max_steps": 1}, validation=None),
    ],
    ids=["folds", "LoRA", "no hold-out"],
)
def test_a_process_can_fit_for_ever(model):
    """What the first pass of every fit had computed once stayed in memory."""
    model.fit(*IRIS).predict(IRIS[0])  # what is read once stays, and so does the model
    before = tensors_in_memory()
    model.fit(*IRIS).predict(IRIS[0])
    assert tensors_in_memory() == before
