"""One base model, fine-tuned on several related tables."""

import json

import numpy as np
import pytest
from safetensors import safe_open
from sklearn.datasets import make_classification, make_friedman1
from sklearn.metrics import log_loss
from tabpfn import TabPFNClassifier

from finetune_tabpfn import FinetunedTabPFNClassifier, fine_tune_base_model
from plain import plain

SETTINGS = {
    "base_model": "mini",
    "n_estimators": 2,
    "random_state": 0,
    "eval_interval": 4,
    "precision": "fp32",
}


def cousin(seed, n_columns, n_classes=2, rows=260):
    """A table of one kind: the classes lie in clusters, two to each."""
    return make_classification(
        rows,
        n_columns,
        n_informative=4,
        n_redundant=0,
        n_classes=n_classes,
        n_clusters_per_class=2,
        class_sep=0.7,
        random_state=seed,
    )


@pytest.mark.slow
def test_a_base_model_for_tables_to_come(tmp_path):
    tables = [cousin(0, 5), cousin(1, 7, n_classes=3), cousin(2, 4)]
    found = fine_tune_base_model(
        tables, tmp_path / "kin-v3.safetensors", task="classification", max_steps=24, **SETTINGS
    )
    assert found.history["score"][0] == -1.0  # relative to the base
    assert {"score_0", "score_1", "score_2"} <= set(found.history.columns)
    assert len(found.base_scores) == len(found.scores) == 3
    mean = np.mean(np.divide(found.scores, np.abs(found.base_scores)))
    assert mean == pytest.approx(found.history["score"].max())
    assert found.stop_reason == "max_steps"
    with safe_open(found.path, framework="pt") as file:
        origin = json.loads(file.metadata()["finetune_tabpfn"])
    assert [table["rows"] for table in origin["tables"]] == [260, 260, 260]
    assert origin["licence"] == "Apache-2.0"
    X, y = cousin(3, 6)
    expected = plain(TabPFNClassifier, found.path, n_estimators=2).fit(X[:200], y[:200])
    assert log_loss(y[200:], expected.predict_proba(X[200:])) < 0.7
    model = FinetunedTabPFNClassifier(**{**SETTINGS, "base_model": found.path, "max_steps": 0})
    np.testing.assert_allclose(
        model.fit(X[:200], y[:200]).predict_proba(X[200:]),
        expected.predict_proba(X[200:]),
        atol=1e-6,
    )


@pytest.mark.slow
def test_tables_take_turns_and_all_are_learned_from(tmp_path):
    class Losses:
        steps = 0

        def after_step(self, state):
            self.steps += 1

    watch = Losses()
    tables = [make_friedman1(120, noise=1.0, random_state=seed) for seed in range(2)]
    found = fine_tune_base_model(
        tables,
        tmp_path / "friedman-v3.ckpt",
        task="regression",
        max_steps=6,
        callbacks=[watch],
        **SETTINGS,
    )
    assert watch.steps == 6
    assert found.path.is_file()
    again = fine_tune_base_model(
        tables, tmp_path / "again-v3.ckpt", task="regression", max_steps=6, **SETTINGS
    )
    assert again.history["score"].tolist() == found.history["score"].tolist()
    swapped = fine_tune_base_model(
        tables[::-1], tmp_path / "swapped-v3.ckpt", task="regression", max_steps=6, **SETTINGS
    )
    assert swapped.history["train_loss"].tolist()[1:] != found.history["train_loss"].tolist()[1:]


@pytest.mark.slow
def test_one_table_is_a_fit(tmp_path):
    X, y = cousin(0, 5)
    parameters = SETTINGS | {"max_steps": 8}
    found = fine_tune_base_model(
        [(X, y)], tmp_path / "one-v3.ckpt", task="classification", **parameters
    )
    model = FinetunedTabPFNClassifier(**parameters).fit(X, y)
    assert found.history["score"].tolist() == model.history_["score"].tolist()


@pytest.mark.parametrize(
    ("tables", "changes", "message"),
    [
        ([], {}, r"tables=\[\] holds no table"),
        (
            [(np.zeros((9, 2)), np.zeros(9))],
            {},
            r"tables\[0\] cannot be used: y holds a single class",
        ),
        ([5], {}, r"tables\[0\] cannot be used"),
        ([cousin(0, 5)], {"task": "ranking"}, "task='ranking' must be"),
        ([cousin(0, 5)], {"n_folds": 3}, "n_folds=3 is for a fit to one table"),
        ([cousin(0, 5)], {"verbose": True}, "verbose=True is for a fit to one table"),
        ([cousin(0, 5)], {"learning_rat": 1.0}, "learning_rat"),
        ([cousin(0, 5)], {"learning_rate": -1.0}, "learning_rate"),
        ([cousin(0, 5)], {"path": "model.bin"}, r"must end in .safetensors or .ckpt"),
    ],
)
def test_wrong_input_gets_one_sentence(tables, changes, message, tmp_path):
    arguments = {"path": tmp_path / "x-v3.ckpt", "task": "classification", **SETTINGS, **changes}
    with pytest.raises(ValueError, match=message):
        fine_tune_base_model(tables, **arguments)
    assert not list(tmp_path.iterdir())
