"""Every official architecture fine-tunes, from small random checkpoints of tabpfn's own classes."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_iris
from tabpfn import TabPFNClassifier, TabPFNRegressor
from tabpfn.architectures.shared import scaled_dot_product_attention as attention
from torch.nn.attention import SDPBackend

from finetune_tabpfn import FinetunedTabPFNClassifier, FinetunedTabPFNRegressor
from finetune_tabpfn._tabpfn import attention_for_many_shapes, load
from finetune_tabpfn.models._export import save_model
from plain import plain

VERSIONS = ["v2", "v2.5", "v2.6", "v3", "v3.5"]
TASKS = {
    "classification": (FinetunedTabPFNClassifier, TabPFNClassifier, load_iris),
    "regression": (FinetunedTabPFNRegressor, TabPFNRegressor, load_diabetes),
}


def predict(model, X):
    return model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(TASKS))
@pytest.mark.parametrize("version", VERSIONS)
def test_weights_move_and_predictions_stay_finite(version, kind, random_checkpoint, tmp_path):
    finetuned, theirs, data = TASKS[kind]
    X, y = data(return_X_y=True)
    path = random_checkpoint(version, kind)
    model = finetuned(
        base_model=path,
        max_steps=6,
        eval_interval=2,
        learning_rate=1e-3,
        n_estimators=2,
        batch_size=2,
        precision="fp32",
        scoring=_always_better(),  # so that the last evaluation is what is deployed
        training={"min_gain_se": 0.0},
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=RuntimeWarning)
        model.fit(X, y)
        expected = predict(model, X)
    assert model.deployed_weights_ in ("best", "interpolated")
    assert np.isfinite(expected).all()

    moved = _moved(path, kind, model)
    assert moved
    if version == "v3.5":  # one network for both tasks trains only what this task uses
        other = "many_class_decoder" if kind == "regression" else "output_projection"
        assert not [name for name in moved if name.startswith(other)]

    saved = save_model(model, tmp_path / f"tuned-{version}.ckpt")
    again = plain(theirs, saved, n_estimators=2, ignore_pretraining_limits=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=RuntimeWarning)
        again.fit(X, y)
        np.testing.assert_allclose(predict(again, X), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_lora_trains_every_architecture(version, random_checkpoint, tmp_path):
    X, y = load_iris(return_X_y=True)
    common = {
        "n_estimators": 1,
        "device": "cpu",
        "random_state": 0,
        "training": {"min_gain_se": 0.0},
    }
    model = FinetunedTabPFNClassifier(
        base_model=random_checkpoint(version, "classification"),
        tuning="lora", learning_rate=0.005, max_steps=4, eval_interval=2,
        scoring=_always_better(), **common,
    ).fit(X[::2], y[::2])  # fmt: skip
    base = FinetunedTabPFNClassifier(base_model=model.base_model, max_steps=0, **common)
    moved = model.predict_proba(X) - base.fit(X[::2], y[::2]).predict_proba(X)
    assert abs(moved).max() > 1e-3
    model.save_adapter(tmp_path)
    again = FinetunedTabPFNClassifier(base_model=tmp_path, max_steps=0, **common)
    np.testing.assert_allclose(
        again.fit(X[::2], y[::2]).predict_proba(X), model.predict_proba(X), atol=1e-5
    )


@pytest.mark.parametrize("tuning", ["head", "last_layers", "norm"])
@pytest.mark.parametrize("version", VERSIONS)
def test_only_the_chosen_weights_are_trained(version, tuning, random_checkpoint):
    X, y = load_iris(return_X_y=True)
    path = random_checkpoint(version, "classification")
    model = FinetunedTabPFNClassifier(
        base_model=path,
        tuning=tuning,
        max_steps=2,
        eval_interval=1,
        learning_rate=1e-3,
        n_estimators=1,
        precision="fp32",
        scoring=_always_better(),
        training={"min_gain_se": 0.0},
        random_state=0,
    ).fit(X, y)
    moved = _moved(path, "classification", model)
    assert moved
    parts = {
        "head": ["output_projection", "output_norm", "many_class_decoder", "heads"],
        "norm": ["norm", "_ln.", "bias"],
    }
    if tuning == "last_layers":  # the small networks have no more than two blocks
        assert any("blocks.0." in name for name in moved)
        assert not [name for name in moved if "embed" in name]
    else:
        assert all(any(part in name for part in parts[tuning]) for name in moved)
    assert all(weight.requires_grad for weight in model.predictor_.model_.parameters()) == all(
        weight.requires_grad for weight in load(path, "classification", "cpu").model.parameters()
    )


def _always_better():
    evaluations = iter(range(1000))
    return lambda estimator, X, y: float(next(evaluations))


def _moved(path, kind, model):
    before = load(path, kind, model.predictor_.devices_[0]).model.state_dict()
    after = model.predictor_.model_.state_dict()
    return [name for name in before if not before[name].equal(after[name])]


def test_many_shapes_do_without_the_attention_that_plans_for_each():
    before = list(attention._SDPA_BACKENDS)
    with attention_for_many_shapes(torch.device("cuda")):
        within = list(attention._SDPA_BACKENDS)
    assert within == [backend for backend in before if backend != SDPBackend.CUDNN_ATTENTION]
    assert SDPBackend.FLASH_ATTENTION in within
    assert before == attention._SDPA_BACKENDS
