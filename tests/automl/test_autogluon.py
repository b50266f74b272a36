"""Fine-tuned TabPFN inside AutoGluon: the real library, on small tables."""

import time

import numpy as np
import pandas as pd
import pytest
import torch

from finetune_tabpfn import Callback, _tabpfn

pytest.importorskip("autogluon.tabular")
from autogluon.core.utils.exceptions import NotEnoughMemoryError
from autogluon.tabular import TabularPredictor

from finetune_tabpfn.automl import FinetunedTabPFNModel

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]
QUICK = {"base_model": "mini", "max_steps": 4, "eval_interval": 2, "n_estimators": 1}


def table(n_rows=150, seed=0):
    """Return a table of every kind of column that AutoGluon hands over."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "number": rng.normal(size=n_rows),
            "gaps": np.where(rng.random(n_rows) < 0.2, np.nan, rng.normal(size=n_rows)),
            "flag": rng.integers(0, 2, n_rows).astype("int8"),
            "category": pd.Categorical(rng.choice(list("abc"), n_rows)),
        }
    )
    signal = X["number"] + (X["category"] == "a") + X["flag"]
    return X, signal


def classes(n_rows=150, seed=0):
    X, signal = table(n_rows, seed)
    return X, pd.qcut(signal, 3, labels=False)


def fitted(tmp_path, X, y, problem_type="multiclass", fit=None, **hyperparameters):
    """Fit the model as AutoGluon does."""
    model = FinetunedTabPFNModel(
        path=str(tmp_path),
        name="model",
        problem_type=problem_type,
        hyperparameters={**QUICK, **hyperparameters},
    )
    return model.fit(X=X, y=y, num_cpus=1, num_gpus=0, **(fit or {}))


def test_rows_to_validate_on_are_validated_on_and_never_context(tmp_path):
    (X, y), (X_val, y_val) = classes(), classes(60, seed=1)
    model = fitted(tmp_path, X, y, fit={"X_val": X_val, "y_val": y_val}, learning_rate=1e-3)
    assert _tabpfn.n_fitted_rows(model.model.predictor_) == len(X)
    other = fitted(
        tmp_path, X, y, fit={"X_val": X_val, "y_val": y_val[::-1].reset_index(drop=True)}
    )
    assert other.model.base_score_ < model.model.base_score_


def test_a_label_to_validate_on_that_no_row_trains(tmp_path):
    X, y = classes()
    model = fitted(tmp_path, X[y > 0], y[y > 0], fit={"X_val": X, "y_val": y, "num_classes": 3})
    assert model.predict_proba(X).shape == (150, 3)
    assert (model.predict_proba(X)[:, 0] == 0).all()


def test_the_time_limit_holds_whatever_the_user_asks_for(tmp_path):
    X, y = classes(400)
    fitted(tmp_path, X, y)  # what is loaded once
    began = time.monotonic()
    limits = {"X_val": X[:50], "y_val": y[:50], "time_limit": 6}
    model = fitted(tmp_path, X, y, fit=limits, max_steps=10**5, patience=None, time_limit=99)
    assert time.monotonic() - began < 1.1 * 6 + 1
    assert model.model.stop_reason_ == "time_limit"


class Threads(Callback):
    """Notes the threads of every step."""

    seen: set[int] = set()  # noqa: RUF012 - AutoGluon copies hyperparameters

    def after_step(self, state):
        self.seen.add(torch.get_num_threads())


def test_threads_are_those_given_and_go_back(tmp_path):
    before = torch.get_num_threads()
    X, y = classes(60)
    model = FinetunedTabPFNModel(
        path=str(tmp_path),
        name="model",
        problem_type="multiclass",
        hyperparameters={**QUICK, "callbacks": [Threads()]},
    )
    model.fit(X=X, y=y, num_cpus=2, num_gpus=0)
    assert Threads.seen == {2}
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("max_steps", [0, 4])
def test_a_fit_to_all_rows_makes_as_many_steps_as_were_best(max_steps, tmp_path):
    X, y = classes()
    settings = {"learning_rate": 1e-3, "min_gain_se": 0.0, "max_steps": max_steps}
    model = fitted(tmp_path, X[30:], y[30:], fit={"X_val": X[:30], "y_val": y[:30]}, **settings)
    again = model.convert_to_refit_full_template()
    again.fit(X=X, y=y, num_cpus=1, num_gpus=0)
    assert again.model.n_steps_ == model.model.best_step_
    assert bool(again.model.n_steps_) == bool(max_steps)
    assert again.model.deployed_weights_ == ("last" if max_steps else "base")
    assert _tabpfn.n_fitted_rows(again.model.predictor_) == len(X)


def test_where_the_base_was_best_a_fit_to_all_rows_trains_nothing(tmp_path):
    X, y = classes()
    given = {"X_val": X[:30], "y_val": y[:30]}
    model = fitted(tmp_path, X[30:], y[30:], fit=given, min_gain_se=99.0, n_folds=1)
    again = model.convert_to_refit_full_template()
    again.fit(X=X, y=y, num_cpus=1, num_gpus=0)
    assert again.model.n_steps_ == 0


def test_a_saved_model_predicts_the_same(tmp_path):
    X, y = classes()
    model = fitted(tmp_path, X, y)
    again = FinetunedTabPFNModel.load(model.save())
    np.testing.assert_array_equal(model.predict_proba(X), again.predict_proba(X))
    assert again.get_device() == "cpu"


def test_what_training_stops_by(tmp_path):
    X, y = classes()
    given = {"X_val": X[:40], "y_val": y[:40]}
    assert fitted(tmp_path, X, y, fit=given).model.scoring_ == "neg_log_loss"
    accuracy = fitted(tmp_path, X, y, fit=given, **{"ag.stopping_metric": "accuracy"}).model
    assert accuracy.scoring_ == "accuracy"
    assert 0 <= accuracy.base_score_ <= 1
    binary = (y > 0).astype(int)
    given = {"X_val": X[:40], "y_val": binary[:40]}
    area = fitted(tmp_path, X, binary, "binary", given, **{"ag.stopping_metric": "roc_auc"}).model
    assert 0.5 <= area.base_score_ <= 1


def test_memory_is_estimated_before_the_fit(tmp_path):
    X, y = classes()
    estimates = [
        FinetunedTabPFNModel.estimate_memory_usage_static(
            X=X, y=y, problem_type=problem_type, num_classes=n, hyperparameters=QUICK
        )
        for problem_type, n in (("multiclass", 3), ("binary", 2), ("regression", None))
    ]
    assert all(4e8 < estimate < 8e8 for estimate in estimates)
    with pytest.raises(NotEnoughMemoryError):
        fitted(tmp_path, X, y, **{"ag.max_memory_usage_ratio": 1e-6})


def test_an_unknown_hyperparameter_is_said_in_one_sentence(tmp_path):
    with pytest.raises(TypeError, match=r"'max_step', which is unknown; did you mean 'max_steps'"):
        fitted(tmp_path, *classes(), max_step=3)


@pytest.mark.parametrize("task", ["multiclass", "binary", "regression"])
def test_bagged_beside_other_models_and_refitted(task, tmp_path):
    X, signal = table(200)
    target = {"multiclass": pd.qcut(signal, 3, labels=list("xyz")), "binary": signal > 0}
    data = X.assign(word=np.where(X["flag"], "on", "off"), y=target.get(task, signal))
    began = time.monotonic()
    predictor = TabularPredictor("y", path=str(tmp_path), verbosity=0).fit(
        data,
        num_bag_folds=2,
        num_cpus=1,
        num_gpus=0,
        time_limit=60,
        hyperparameters={FinetunedTabPFNModel: QUICK, "RF": {"n_estimators": 10}},
    )
    assert time.monotonic() - began < 60
    names = predictor.model_names()
    assert {"FinetunedTabPFN_BAG_L1", "RandomForest_BAG_L1", "WeightedEnsemble_L2"} <= set(names)
    full = predictor.refit_full("FinetunedTabPFN_BAG_L1")["FinetunedTabPFN_BAG_L1"]
    assert full.endswith("_FULL")
    predicted = predictor.predict(data, model=full)
    assert len(predicted) == len(data)
    board = predictor.leaderboard(data)
    assert np.isfinite(board["score_test"]).all()
