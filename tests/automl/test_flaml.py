"""Fine-tuned TabPFN as a learner of FLAML: the real library, on small tables."""

import time

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_iris

from finetune_tabpfn import Callback

pytest.importorskip("flaml")
from flaml import AutoML
from flaml.automl.task.factory import task_factory

from finetune_tabpfn.automl import FinetunedTabPFNEstimator

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]
X, Y = load_iris(return_X_y=True, as_frame=True)
QUICK = {"max_steps": 2, "n_estimators": 1}


class Mini(FinetunedTabPFNEstimator):
    base_model = "mini"


class Few(Mini):
    """Few steps, so that a search has time for several settings."""

    @classmethod
    def search_space(cls, data_size, task, **params):
        space = super().search_space(data_size, task, **params)
        return {**space, **{name: {"domain": value} for name, value in QUICK.items()}}


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_search_among_other_learners(task, tmp_path):
    table = X.assign(word=pd.Categorical(np.where(X.iloc[:, 0] > 5.5, "long", "short")))
    automl = AutoML()
    automl.add_learner("ours", Few)
    began = time.monotonic()
    automl.fit(
        table,
        Y if task == "classification" else X.iloc[:, 2] ** 2,
        task=task,
        time_budget=25,
        max_iter=6,
        n_jobs=1,
        eval_method="holdout",
        retrain_full="budget",
        estimator_list=["ours", "lgbm"],
        log_file_name=str(tmp_path / "log"),
        verbose=0,
    )
    assert time.monotonic() - began < 1.1 * 25 + 1
    assert automl.best_config_per_estimator["ours"]["max_steps"] == 2
    assert np.isfinite(automl.best_loss_per_estimator["ours"])
    assert len(automl.predict(table)) == len(table)


def test_the_search_space_is_that_of_studies():
    space = Mini.search_space((150, 4), task_factory("multiclass"))
    assert {"learning_rate", "batch_size", "balanced_contexts", "max_steps"} <= set(space)
    assert (space["learning_rate"]["domain"].lower, space["learning_rate"]["domain"].upper) == (
        1e-4,
        2e-3,
    )
    assert "balanced_contexts" not in Mini.search_space((150, 4), task_factory("regression"))


def test_the_time_that_is_left_is_the_limit():
    model = Mini("multiclass", max_steps=10**5, patience=None, n_jobs=1)
    began = time.monotonic()
    seconds = model.fit(X, Y, budget=4)
    assert seconds <= time.monotonic() - began < 1.1 * 4 + 1
    assert model.estimator.stop_reason_ == "time_limit"


def test_a_budget_that_is_used_up_leaves_the_base_model():
    model = Mini("multiclass", **QUICK, n_jobs=1)
    with pytest.warns(UserWarning, match="the base model is deployed"):
        model.fit(X, Y, budget=-3.0)
    assert model.estimator.n_steps_ == 0
    assert model.predict_proba(X).shape == (150, 3)


class Threads(Callback):
    """Notes the threads of every step."""

    def __init__(self):
        self.seen = set()

    def after_step(self, state):
        self.seen.add(torch.get_num_threads())


def test_threads_are_those_given_and_go_back():
    before, watch = torch.get_num_threads(), Threads()
    Mini("multiclass", **QUICK, n_jobs=2, callbacks=[watch]).fit(X, Y)
    assert watch.seen == {2}
    assert torch.get_num_threads() == before


def test_weights_of_rows_are_used():
    models = [Mini("multiclass", **QUICK, n_jobs=1) for _ in range(2)]
    weight = np.where(np.arange(len(Y)) % 3, 1.0, 0.0)
    models[0].fit(X, Y)
    models[1].fit(X, Y, sample_weight=weight)
    assert not np.allclose(models[0].predict_proba(X), models[1].predict_proba(X))
