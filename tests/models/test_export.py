"""Models on disk."""

import json
import os
import pickle

import joblib
import numpy as np
import pytest
from safetensors import safe_open
from sklearn.datasets import load_iris
from tabpfn import TabPFNClassifier

from finetune_tabpfn import FinetunedTabPFNClassifier
from finetune_tabpfn.models._export import load_fitted, save_model
from finetune_tabpfn.utils._files import save_whole
from plain import plain

X, Y = load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def fitted():
    return FinetunedTabPFNClassifier(
        base_model="mini", max_steps=4, eval_interval=2, n_estimators=2, random_state=0
    ).fit(X, Y)


@pytest.mark.parametrize("name", ["tuned-v3.safetensors", "tuned-v3.ckpt"])
def test_plain_tabpfn_predicts_the_same_from_the_saved_model(fitted, name, tmp_path):
    path = fitted.save_model(tmp_path / "folder" / name)
    again = plain(TabPFNClassifier, path, n_estimators=2).fit(X, Y)
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    assert os.listdir(path.parent) == [name]


def test_a_saved_model_says_where_it_comes_from(fitted, tmp_path):
    path = save_model(fitted, tmp_path / "tuned-v3.safetensors")
    with safe_open(path, framework="pt") as file:
        metadata = json.loads(file.metadata()["finetune_tabpfn"])
    assert metadata["licence"] == "Apache-2.0"
    assert metadata["base_model"]["name"] == "mini"
    assert metadata["base_model"]["sha256"] == fitted.base_model_.sha256
    assert metadata["best_score"] == fitted.best_score_
    assert metadata["parameters"]["max_steps"] == 4
    assert set(metadata["versions"]) == {"tabpfn", "torch", "scikit-learn"}


def test_a_saved_model_is_a_base_model(fitted, tmp_path):
    path = save_model(fitted, tmp_path / "tuned-v3.safetensors")
    again = FinetunedTabPFNClassifier(
        base_model=path, max_steps=0, n_estimators=2, random_state=0
    ).fit(X, Y)
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    assert again.base_model_.licence == "Apache-2.0"  # inherited


def test_an_ending_that_tabpfn_does_not_know(fitted, tmp_path):
    with pytest.raises(ValueError, match=r"must end in .safetensors or .ckpt"):
        save_model(fitted, tmp_path / "model.bin")


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "kept.txt"
    save_whole(path, lambda part: part.write_text("whole"))

    def breaks(part):
        part.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        save_whole(path, breaks)
    assert path.read_text() == "whole"
    assert os.listdir(tmp_path) == ["kept.txt"]


def test_fitted_estimators_load(fitted, tmp_path):
    joblib.dump(fitted, tmp_path / "model.joblib")
    np.testing.assert_array_equal(
        load_fitted(tmp_path / "model.joblib").predict(X), fitted.predict(X)
    )


def test_fits_of_tabpfn_itself_load(fitted, tmp_path):
    theirs = plain(TabPFNClassifier, fitted.base_model_.path, n_estimators=1).fit(X, Y)
    theirs.save_fit_state(tmp_path / "plain.tabpfn_fit")
    loaded = load_fitted(tmp_path / "plain.tabpfn_fit")
    np.testing.assert_array_equal(loaded.predict(X), theirs.predict(X))


@pytest.mark.parametrize("name", ["no.joblib", "empty.joblib", "text.joblib", "text.tabpfn_fit"])
def test_files_that_are_no_fitted_estimator(name, tmp_path):
    (tmp_path / "empty.joblib").write_bytes(b"")
    (tmp_path / "text.joblib").write_text("a,b\n1,2\n")
    (tmp_path / "text.tabpfn_fit").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=name):
        load_fitted(tmp_path / name)


def test_other_pickles_are_no_fitted_estimator(tmp_path):
    (tmp_path / "dict.joblib").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ValueError, match="is not a fitted estimator"):
        load_fitted(tmp_path / "dict.joblib")


def test_a_network_without_rows_says_what_to_do(fitted, tmp_path):
    path = save_model(fitted, tmp_path / "tuned-v3.safetensors")
    with pytest.raises(ValueError, match=r"holds a network without the rows.*--max-steps 0"):
        load_fitted(path)
