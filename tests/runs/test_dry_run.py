"""A dry run: what a fit would do, measured without training."""

import numpy as np
import pytest

from finetune_tabpfn._tasks import Classification, Regression
from finetune_tabpfn.data._validation import LabelledTable
from finetune_tabpfn.runs._config import load_config
from finetune_tabpfn.runs._dry_run import dry_run
from finetune_tabpfn.runs._run import make_estimator
from finetune_tabpfn.runs._tables import Tables

SETTINGS = {"base_model": "mini", "finetuning.n_estimators": 2, "finetuning.max_steps": 10}


def planned(tmp_path, tables, **finetuning):
    """DryRun the fit of a configuration."""
    (tmp_path / "a.yaml").write_text("data: {path: a.csv, target: y}")
    over = {f"finetuning.{name}": value for name, value in finetuning.items()}
    config = load_config(tmp_path / "a.yaml", {**SETTINGS, **over})
    estimator = make_estimator(config, tables)
    before = estimator.get_params()
    result = dry_run(estimator, tables)
    assert estimator.get_params() == before
    assert not hasattr(estimator, "predictor_")  # nothing was fitted
    return result


def classes(n_rows, validation=None):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(n_rows, 4)), np.arange(n_rows) % 3
    return Tables(Classification(np.arange(3)), LabelledTable(X, y), validation, None)


def test_sizes_are_those_of_the_fit(tmp_path):
    found = planned(tmp_path, classes(100), batch_size=2, query_size=16, context_size=32)
    assert found.rows == {"train": 80, "hold-out": 20}
    assert (found.columns, found.n_classes) == (4, 3)
    assert (found.context_rows, found.query_rows, found.batch_size) == (32, 16, 2)
    assert (found.base_model, found.licence, found.device) == ("mini", "Apache-2.0", "cpu")


def test_rows_to_validate_on_are_not_held_out(tmp_path):
    validation = classes(30).train
    found = planned(tmp_path, classes(60, validation))
    assert found.rows["train"] == 60
    assert found.rows["hold-out"] == 30


def test_more_steps_take_longer_until_the_time_limit(tmp_path):
    for n in (10, 1000):
        found = planned(tmp_path, classes(60), max_steps=n)
        assert n * found.step_seconds < found.most_seconds
    assert planned(tmp_path, classes(60), max_steps=1000, time_limit=7.0).most_seconds == 7.0
    probing = planned(tmp_path, classes(60), max_steps=10, learning_rate="auto")
    assert (10 + 3 * 20) * probing.step_seconds < probing.most_seconds


def test_regression_in_folds(tmp_path):
    X = np.random.default_rng(0).normal(size=(90, 3))
    tables = Tables(Regression(), LabelledTable(X, X[:, 0]), None, None)
    found = planned(tmp_path, tables, n_folds=3)
    assert found.rows == {"train": 60, "hold-out": 30}
    assert (found.task, found.n_classes, found.n_folds) == ("regression", 0, 3)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (classes(6), "too few rows"),
        (
            Tables(Regression(), LabelledTable(np.eye(40), np.ones(40)), None, None),
            "constant target",
        ),
    ],
)
def test_where_there_is_nothing_to_train_on(tables, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        planned(tmp_path, tables)
