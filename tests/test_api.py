"""The function from a table to a checkpoint."""

import json
import logging

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from sklearn.datasets import load_diabetes, load_iris
from tabpfn import TabPFNClassifier, TabPFNRegressor

from finetune_tabpfn import FinetunedTabPFNClassifier, fine_tune_tabpfn
from finetune_tabpfn._api import scorer_of
from plain import plain

QUICK = {"max_steps": 2, "n_estimators": 1}
IRIS = load_iris(return_X_y=True)


def fine_tune(path, X, y, config=(), **arguments):
    return fine_tune_tabpfn(
        path_to_base_model="mini",
        save_path_to_fine_tuned_model=path,
        finetuning_config={**QUICK, **dict(config)},
        X_train=X,
        y_train=y,
        random_seed=0,
        **arguments,
    )


def test_a_checkpoint_that_plain_tabpfn_uses(tmp_path):
    X, y = IRIS
    path = fine_tune(tmp_path / "iris-v3.safetensors", X, y, {"learning_rate": 1e-4})
    assert path == tmp_path / "iris-v3.safetensors"
    again = plain(TabPFNClassifier, path, n_estimators=1)
    tuned = FinetunedTabPFNClassifier(base_model="mini", learning_rate=1e-4, random_state=0)
    tuned.set_params(**QUICK, scoring="neg_log_loss").fit(X, y)
    np.testing.assert_allclose(
        again.fit(X, y).predict_proba(X), tuned.predict_proba(X), rtol=1e-4, atol=1e-6
    )


def test_regression_with_validation_rows_and_a_curve(tmp_path):
    X, y = load_diabetes(return_X_y=True)
    path = fine_tune(
        tmp_path / "sugar-v3.ckpt",
        X[:300],
        y[:300],
        X_val=X[300:],
        y_val=y[300:],
        validation_metric="mae",
        show_training_curve=True,
        time_limit=60,
    )
    assert (tmp_path / "sugar-v3.png").read_bytes().startswith(b"\x89PNG")
    assert TabPFNRegressor(model_path=str(path), device="cpu").fit(X, y).predict(X[:2]).shape == (
        2,
    )


def test_what_was_asked_for_is_what_was_done(tmp_path):
    X, y = IRIS
    path = fine_tune(
        tmp_path / "iris-v3.safetensors",
        X,
        y,
        {"batch_size": 2, "learning_rate": 1e-5},
        validation_metric="accuracy",
        categorical_features_index=[3],
        task_type="multiclass",
    )
    with safe_open(path, "pt") as file:
        made = json.loads(file.metadata()["finetune_tabpfn"])
    asked = {"batch_size": 2, "learning_rate": 1e-5, "scoring": "accuracy", "random_state": 0}
    assert asked.items() <= made["parameters"].items()
    assert made["parameters"]["categorical_features"] == [3]


def test_nothing_global_is_touched(tmp_path, capsys):
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    before = np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    levels = logging.getLogger().level, logging.getLogger("finetune_tabpfn").level
    handlers = list(logging.getLogger("finetune_tabpfn").handlers)
    fine_tune(tmp_path / "iris-v3.safetensors", *IRIS, logger_level="INFO")
    assert np.random.get_state()[1].tolist() == before[0]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])
    assert (logging.getLogger().level, logging.getLogger("finetune_tabpfn").level) == levels
    assert logging.getLogger("finetune_tabpfn").handlers == handlers
    assert capsys.readouterr().out == ""


def test_messages_at_the_level_asked_for(tmp_path, caplog):
    fine_tune(tmp_path / "a-v3.safetensors", *IRIS)
    assert not caplog.records
    fine_tune(tmp_path / "a-v3.safetensors", *IRIS, logger_level="INFO")
    assert "evaluation" in caplog.text


def test_a_name_without_the_version_is_warned_of(tmp_path):
    with pytest.warns(UserWarning, match=r"'iris-v3.safetensors' would do"):
        fine_tune(tmp_path / "iris.safetensors", *IRIS)


@pytest.mark.slow
def test_wandb_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    pytest.importorskip("wandb").teardown()  # another test's: it has read the variables
    fine_tune(tmp_path / "iris-v3.safetensors", *IRIS, use_wandb=True)
    assert list(tmp_path.glob("**/*.wandb"))


@pytest.mark.parametrize(
    ("metric", "n_classes", "scorer"),
    [
        (None, 2, None),
        ("log_loss", 3, "neg_log_loss"),
        ("roc_auc", 2, "roc_auc"),
        ("roc_auc", 3, "roc_auc_ovr"),
        ("f1_macro", 3, "f1_macro"),
        ("accuracy", 2, "accuracy"),
        ("root_mean_squared_error", 0, "neg_root_mean_squared_error"),
        ("rmse", 0, "neg_root_mean_squared_error"),
        ("mae", 0, "neg_mean_absolute_error"),
        ("r2", 0, "r2"),
        ("neg_mean_absolute_error", 0, "neg_mean_absolute_error"),
    ],
)
def test_names_of_metrics(metric, n_classes, scorer):
    assert scorer_of(metric, n_classes) == scorer


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": "model.pt"}, "save_path_to_fine_tuned_model='model.pt' must end in"),
        ({"config": {"lerning_rate": 1e-5}}, "did you mean 'learning_rate'"),
        ({"config": {"time_limit": 5}}, "'time_limit', which is the argument time_limit"),
        ({"config": {"batch_size": 0}}, "The 'batch_size' parameter"),
        ({"validation_metric": "rmse"}, "validation_metric='rmse' is not for classification"),
        ({"validation_metric": "loglos"}, "is not a name that scikit-learn knows"),
        ({"task_type": "binary"}, "needs two classes and y_train holds 3"),
        ({"task_type": "ranking"}, "task_type='ranking' must be one of"),
        ({"logger_level": "LOUD"}, "logger_level='LOUD' is not a level"),
        ({"X_val": IRIS[0]}, "X_val and y_val go together"),
    ],
)
def test_wrong_input_is_one_sentence_before_any_training(arguments, message, tmp_path):
    path = arguments.pop("path", tmp_path / "m-v3.safetensors")
    with pytest.raises(ValueError) as error:
        fine_tune(path, *IRIS, **arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("y", "kind"),
    [
        (["a", "b"] * 20, TabPFNClassifier),
        ([True, False] * 20, TabPFNClassifier),
        (np.arange(40) % 3, TabPFNClassifier),
        (np.arange(40), TabPFNRegressor),
        (np.linspace(0, 1, 40), TabPFNRegressor),
        (pd.Series(np.arange(40) % 2, dtype="Int64"), TabPFNClassifier),
        (pd.DataFrame({"y": np.arange(40) % 2}), TabPFNClassifier),
    ],
)
@pytest.mark.filterwarnings("ignore:A column-vector y")
def test_the_task_follows_from_the_target(y, kind, tmp_path):
    X = np.random.default_rng(0).normal(size=(40, 3))
    path = fine_tune(tmp_path / "m-v3.safetensors", X, y, {"max_steps": 0})
    kind(model_path=str(path), device="cpu").fit(X, np.arange(40) % 2)
