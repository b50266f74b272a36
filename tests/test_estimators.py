"""The promises of the estimators, as a user would notice them."""

import logging
import os
import pickle
import random
import socket
import time
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context, get_config
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    make_classification,
    make_friedman1,
)
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tabpfn import TabPFNClassifier, TabPFNRegressor

from finetune_tabpfn import (
    Callback,
    Checkpoint,
    FinetunedTabPFNClassifier,
    FinetunedTabPFNRegressor,
    LoRA,
    _tabpfn,
    fine_tune_base_model,
    fine_tune_tabpfn,
)
from finetune_tabpfn._estimators import new_estimator

IRIS = load_iris(return_X_y=True)
DIABETES = load_diabetes(return_X_y=True)
QUICK = {
    "base_model": "mini",
    "max_steps": 4,
    "eval_interval": 2,
    "n_estimators": 2,
    "random_state": 0,
}


LUCK = {"min_gain_se": 0.0}  # what scored best is deployed, be it luck


def classifier(**parameters):
    return FinetunedTabPFNClassifier(**{**QUICK, **parameters})


def searched(model):
    return GridSearchCV(model, {"n_estimators": [1]}, cv=2)


def regressor(**parameters):
    return FinetunedTabPFNRegressor(**{**QUICK, **parameters})


# --- what comes out ---------------------------------------------------------------------------


@pytest.mark.slow
def test_fine_tuning_improves_a_real_table_on_rows_it_never_saw():
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, train_size=1200, test_size=500, stratify=y, random_state=0
    )
    parameters = {"max_steps": 20, "eval_interval": 10, "n_estimators": 4}
    tuned = classifier(**parameters).fit(X_train, y_train)
    base = classifier(**{**parameters, "max_steps": 0}).fit(X_train, y_train)
    assert base.n_steps_ == 0
    assert base.deployed_weights_ == "base"
    assert tuned.best_score_ > tuned.base_score_
    loss = log_loss(y_test, tuned.predict_proba(X_test))
    assert loss < 0.98 * log_loss(y_test, base.predict_proba(X_test))


def test_fitted_attributes_of_the_classifier():
    X, y = IRIS
    model = classifier().fit(pd.DataFrame(X, columns=list("abcd")), np.array(list("xyz"))[y])
    assert model.classes_.tolist() == ["x", "y", "z"]
    assert model.feature_names_in_.tolist() == list("abcd")
    assert model.n_features_in_ == 4
    columns = ["fold", "evaluation", "step", "seconds", "train_loss", "score", "learning_rate"]
    assert model.history_.columns.tolist() == [
        *columns, "log_loss", "accuracy", "roc_auc", "is_deployed"
    ]  # fmt: skip
    assert model.history_["step"].tolist() == [0, 2, 4]
    assert model.history_["score"][0] == model.base_score_
    assert model.best_score_ >= model.base_score_
    assert model.best_step_ in (0, 2, 4)
    assert model.n_steps_ == 4
    assert model.stop_reason_ == "max_steps"
    assert model.base_model_.name == "mini"
    assert model.scoring_ == "neg_log_loss"
    assert isinstance(model.predictor_, TabPFNClassifier)
    assert model.predictor_.n_train_samples_ == len(X)  # refitted on all rows
    assert is_classifier(model)


def test_predictions_of_the_classifier():
    X, y = IRIS
    labels = np.array(["setosa", "versicolor", "virginica"])[y]
    model = classifier().fit(X, labels)
    proba = model.predict_proba(X)
    assert proba.shape == (150, 3)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)
    assert model.predict(X).tolist() == model.classes_[proba.argmax(axis=1)].tolist()
    assert model.score(X, labels) > 0.9
    np.testing.assert_array_equal(proba, model.predictor_.predict_proba(X))


def test_predictions_of_the_regressor():
    X, y = DIABETES
    model = regressor().fit(X, y)
    assert is_regressor(model)
    assert isinstance(model.predictor_, TabPFNRegressor)
    for output_type in ("mean", "median", "mode"):
        assert model.predict(X[:5], output_type=output_type).shape == (5,)
    low, high = model.predict(X[:5], output_type="quantiles", quantiles=[0.1, 0.9])
    assert (low < high).all()
    full = model.predict(X[:5], output_type="full")
    assert {"mean", "median", "mode", "quantiles", "criterion", "logits"} <= set(full)
    np.testing.assert_allclose(full["mean"], model.predict(X[:5]))
    assert model.scoring_ == "neg_root_mean_squared_error"
    assert model.score(X, y) > 0.4
    with pytest.raises(ValueError, match="output_type='variance' must be one of mean, median"):
        model.predict(X[:5], output_type="variance")
    for wrong in ([1.5], ["low"]):
        with pytest.raises(ValueError, match=r"quantiles=.* must be numbers from 0 to 1"):
            model.predict(X[:5], output_type="quantiles", quantiles=wrong)
    with pytest.raises(ValueError, match="of no use to output_type='mean'"):
        model.predict(X[:5], quantiles=[0.1, 0.9])


@pytest.mark.slow
def test_embeddings_come_from_the_fine_tuned_network():
    X, y = DIABETES
    model, base = (
        regressor(training={"min_gain_se": 0.0}).fit(X, y),
        regressor(max_steps=0).fit(X, y),
    )
    embedded = model.get_embeddings(X[:7])
    assert embedded.shape[:2] == (2, 7)
    assert np.isfinite(embedded).all()
    assert np.abs(embedded - base.get_embeddings(X[:7])).max() > 1e-3
    X, y = IRIS
    assert classifier(n_estimators=1).fit(X, y).get_embeddings(X[:3]).shape[:2] == (1, 3)


@pytest.mark.parametrize("labels", [[True, False], [1.0, 2.0], [10, -3], ["b", "a"]])
def test_labels_of_any_kind_come_back_as_they_were(labels):
    X, y = IRIS
    y = np.array(labels)[(y > 0).astype(int)]
    model = classifier(max_steps=1).fit(X, y)
    assert model.predict(X).dtype == y.dtype
    assert (model.predict(X) == y).mean() > 0.9


@pytest.mark.slow
def test_every_kind_of_column(mixed_table):
    X, labels, amount = mixed_table
    assert (classifier().fit(X, labels).predict(X) == labels).mean() > 0.7
    assert np.isfinite(regressor().fit(X, amount).predict(X)).all()


def test_categorical_features_by_name(mixed_table):
    X, labels, _ = mixed_table
    model = classifier(max_steps=1, categorical_features=["text"]).fit(X, labels)
    assert model.predictor_.categorical_features_indices == [4]


@pytest.mark.slow
@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_the_unit_of_the_target_does_not_matter(unit):
    X, y = (part[:150] for part in DIABETES)
    y = np.exp(y / 50)  # skewed
    plain, scaled = regressor().fit(X, y), regressor().fit(X, y * unit)
    assert scaled.best_step_ == plain.best_step_
    assert scaled.base_score_ == pytest.approx(plain.base_score_ * unit, rel=1e-3)
    np.testing.assert_allclose(scaled.predict(X[:20]), plain.predict(X[:20]) * unit, rtol=1e-2)


def test_rare_classes_are_trained_and_scored():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 3))
    y = np.array(
        ["common"] * 60 + ["other"] * 50 + ["four"] * 4 + ["three"] * 3 + ["two"] * 2 + ["one"]
    )
    model = classifier().fit(X, y)
    assert len(model.classes_) == 6
    assert np.isfinite(model.history_["score"]).all()
    assert model.n_steps_ == 4


# --- time ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:time_limit left no room")  # on a busy machine
def test_fit_ends_within_its_time_limit():
    X, y = make_classification(1000, 10, random_state=0)
    classifier(max_steps=1).fit(X[:50], y[:50])  # what a process does once is not the question
    started = time.monotonic()
    model = classifier(time_limit=10, max_steps=100_000, patience=None).fit(X, y)
    assert time.monotonic() - started < 1.05 * 10 + 1
    assert model.stop_reason_ == "time_limit"
    assert model.n_steps_ > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("usual", "load", "chosen"),
    [
        (1e-4, load_breast_cancer, 1e-3),  # a random network learns faster at ten times the rate
        (1e-9, load_iris, 1e-9),  # nothing moves: nothing is better
    ],
)
def test_auto_finds_a_learning_rate_that_is_clearly_better(
    usual, load, chosen, random_checkpoint, monkeypatch
):
    X, y = load(return_X_y=True)
    monkeypatch.setattr("finetune_tabpfn.finetuning._defaults.learning_rate", lambda n, rows: usual)
    monkeypatch.setattr("finetune_tabpfn.finetuning._fine_tune.PROBED_RATES", (0.1, 10.0))
    monkeypatch.setattr("finetune_tabpfn.finetuning._fine_tune.PROBE_STEPS", 8)
    # in bf16, which tabpfn predicts in on some processors, the least change of a weight may show
    base = random_checkpoint("v3", "classification")
    model = classifier(base_model=base, learning_rate="auto", n_estimators=1, precision="fp32")
    model.fit(X, y)
    assert model.learning_rate_ == pytest.approx(chosen)
    assert model.history_["learning_rate"].max() <= model.learning_rate_
    assert model.n_steps_ == 4  # the trials are not counted


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:time_limit left no room")  # on a machine that is busy
def test_auto_keeps_the_usual_learning_rate_without_time_to_try():
    model = classifier(learning_rate="auto", time_limit=4, max_steps=1000).fit(*IRIS)
    assert model.learning_rate_ == classifier(max_steps=1).fit(*IRIS).learning_rate_


@pytest.mark.slow
def test_a_slow_scorer_does_not_break_the_time_limit():
    def slow(estimator, X, y):
        time.sleep(0.03)
        return estimator.score(X, y)

    X, y = load_breast_cancer(return_X_y=True)
    started = time.monotonic()
    classifier(scoring=slow, time_limit=8, max_steps=10_000, patience=None).fit(X, y)
    assert time.monotonic() - started <= 1.05 * 8 + 1


def test_no_time_deploys_the_base_and_says_so():
    X, y = make_classification(1500, 20, random_state=0)
    with pytest.warns(UserWarning, match="time_limit left no room"):
        model = classifier(time_limit=0.01).fit(X, y)
    assert (model.stop_reason_, model.deployed_weights_) == ("time_limit", "base")
    assert model.predict(X[:3]).shape == (3,)


# --- never worse, nothing lost -------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("make", [classifier, regressor])
def test_an_absurd_learning_rate_does_no_harm(make):
    X, y = IRIS
    parameters = {
        "learning_rate": 0.99,
        "training": {"max_grad_norm": None},
        "max_steps": 30,
        "eval_interval": 5,
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Fine-tuning diverged")
        model = make(**parameters).fit(X, y)
    assert model.best_score_ >= model.base_score_
    assert np.isfinite(model.predict(X).astype(float)).all()


def test_a_broken_gradient_ends_with_one_warning_and_the_best_weights():
    class Breaks(Callback):
        def after_step(self, state):
            if state.step == 3:
                with torch.no_grad():
                    next(iter(state.model.parameters())).fill_(float("nan"))

    X, y = IRIS
    with pytest.warns(UserWarning, match="Fine-tuning diverged") as caught:
        model = classifier(max_steps=20, callbacks=[Breaks()]).fit(X, y)
    assert len(caught) == 1
    assert model.stop_reason_.startswith("diverged")
    assert model.best_step_ in (0, 2)
    assert np.isfinite(model.predict_proba(X)).all()


def test_ctrl_c_deploys_the_best_so_far():
    class Interrupts(Callback):
        def after_step(self, state):
            if state.step == 3:
                raise KeyboardInterrupt

    X, y = IRIS
    with pytest.warns(UserWarning, match="interrupted"):
        model = classifier(callbacks=[Interrupts()]).fit(X, y)
    assert model.stop_reason_ == "interrupted"
    assert model.predict(X).shape == (150,)


@pytest.mark.parametrize(
    "moment",
    [
        "finetune_tabpfn.finetuning._problem._tabpfn.prepare",
        "finetune_tabpfn.finetuning._fine_tune.step_batches",
        "finetune_tabpfn.finetuning._cost.estimate_costs",
        "finetune_tabpfn.finetuning._fine_tune.new_state",
    ],
)
def test_ctrl_c_while_preparing_deploys_the_base_model(moment, monkeypatch):
    monkeypatch.setattr(moment, press_ctrl_c)
    with pytest.warns(UserWarning, match=r"interrupted before its first step; the base model is"):
        model = classifier(time_limit=60).fit(*IRIS)
    assert (model.stop_reason_, model.deployed_weights_) == ("interrupted", "base")
    assert (model.n_steps_, model.scoring_, len(model.history_)) == (0, "neg_log_loss", 0)
    monkeypatch.undo()
    base = classifier(max_steps=0).fit(*IRIS)
    np.testing.assert_array_equal(model.predict_proba(IRIS[0]), base.predict_proba(IRIS[0]))


def press_ctrl_c(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "moment", ["models._base_models.BaseModel.load", "_tabpfn.Blueprint.deploy"]
)
def test_ctrl_c_where_nothing_can_be_deployed_raises(moment, monkeypatch):
    monkeypatch.setattr(f"finetune_tabpfn.{moment}", press_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        classifier().fit(*IRIS)


def test_ctrl_c_while_choosing_deploys_the_best_round_as_it_was_scored(monkeypatch):
    monkeypatch.setattr("finetune_tabpfn.finetuning._selection.Comparison.objection", press_ctrl_c)
    with pytest.warns(UserWarning, match="interrupted; the model half-way from the base"):
        model = classifier(**LEARNS, scoring=scorer_that()).fit(*IRIS)
    assert (model.stop_reason_, model.n_steps_) == ("interrupted", 12)


def test_ctrl_c_while_preparing_a_second_fold_keeps_the_first(monkeypatch):
    prepare, calls = _tabpfn.prepare, []

    def second_time(*arguments, **named):
        calls.append(1)
        return prepare(*arguments, **named) if len(calls) < 2 else press_ctrl_c()

    monkeypatch.setattr("finetune_tabpfn.finetuning._problem._tabpfn.prepare", second_time)
    with pytest.warns(UserWarning, match="interrupted"):
        model = classifier(n_folds=3).fit(*IRIS)
    assert (model.stop_reason_, model.n_steps_) == ("interrupted", 2)  # of 4, shared by folds
    assert np.isfinite(model.best_score_)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
        MemoryError("Unable to allocate 8 GiB"),
    ],
)
def test_running_out_of_memory_halves_the_work_and_goes_on(error):
    class Crowded(Callback):
        """Takes the place of a device on which nothing above sixty rows fits."""

        def on_train_begin(self, state):
            state.model.register_forward_pre_hook(self.refuse)

        @staticmethod
        def refuse(model, arguments):
            if torch.is_grad_enabled() and len(arguments[0]) > 60:
                raise error

    X, y = IRIS
    with pytest.warns(UserWarning, match="Out of memory") as caught:
        model = classifier(callbacks=[Crowded()]).fit(X, y)
    assert model.n_steps_ == 4
    own = [warning for warning in caught if "memory" in str(warning.message)]  # torch has its own
    assert {warning.filename for warning in own} == {__file__}


def test_a_validation_that_runs_out_of_memory_shows_fewer_rows_and_the_training_goes_on():
    class Crowded(Callback):
        """Takes the place of a device on which nothing above a hundred rows fits."""

        def on_train_begin(self, state):
            self.hook = state.model.register_forward_pre_hook(self.refuse)

        def refuse(self, model, arguments):
            if len(arguments[0]) > 100:
                raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.warns(UserWarning, match="Out of memory"):
        model = classifier(callbacks=[Crowded()]).fit(*IRIS)
    assert model.n_steps_ == 4
    assert np.isfinite(model.base_score_)


def test_another_error_of_torch_is_not_taken_for_a_lack_of_memory():
    class Breaks(Callback):
        def on_train_begin(self, state):
            state.model.register_forward_pre_hook(self.refuse)

        @staticmethod
        def refuse(model, arguments):
            if torch.is_grad_enabled():
                raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        classifier(callbacks=[Breaks()]).fit(*IRIS)


@pytest.mark.parametrize("around", [lambda model: model, make_pipeline, searched])
def test_a_warning_names_the_line_of_the_user(around):
    X, y = [[0.0], [1.0], [2.0], [3.0]] * 2, ["a", "b", "a", "b"] * 2
    with pytest.warns(UserWarning, match="too few rows") as caught:
        around(classifier()).fit(X, y)
    assert {warning.filename for warning in caught} == {__file__}


@pytest.mark.slow
def test_the_deployed_weights_are_the_ones_that_scored_best():
    X, y = DIABETES
    model = regressor(
        max_steps=20, learning_rate=1e-3, precision="fp32", training={"min_gain_se": 0.0}
    )
    model.fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:])
    rmse = np.sqrt(np.mean((model.predict(X[300:]) - y[300:]) ** 2))
    assert -rmse == pytest.approx(model.best_score_, rel=1e-5)
    assert model.best_score_ >= model.history_["score"].max() - 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("time_limit", [None, pytest.param(30, marks=pytest.mark.slow)])
def test_a_large_table_is_decided_with_the_context_that_is_deployed(time_limit, monkeypatch):
    monkeypatch.setattr(
        "finetune_tabpfn.finetuning._defaults.validation_context", lambda device: 100
    )
    X, y = make_friedman1(400, random_state=0)
    exact = {"precision": "fp32", "training": {"min_gain_se": 0.0}, "time_limit": time_limit}
    model = regressor(max_steps=20, learning_rate=1e-3, **exact)
    model.fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:])
    rmse = np.sqrt(np.mean((model.predict(X[300:]) - y[300:]) ** 2))
    assert -rmse == pytest.approx(model.best_score_, rel=1e-5)
    assert model.best_score_ > model.base_score_
    assert model.history_["score"][0] != pytest.approx(model.base_score_, rel=1e-3)  # fewer rows


@pytest.mark.slow
def test_a_large_table_without_time_for_that_is_decided_by_its_rounds(monkeypatch):
    class Impatient(Callback):
        def after_evaluation(self, state):
            if state.step == 10:
                raise KeyboardInterrupt

    monkeypatch.setattr(
        "finetune_tabpfn.finetuning._defaults.validation_context", lambda device: 100
    )
    model = regressor(
        max_steps=20, learning_rate=1e-3, training={"min_gain_se": 0.0}, callbacks=[Impatient()]
    )
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(*make_friedman1(400, random_state=0))
    assert model.stop_reason_ == "interrupted"
    assert model.base_score_ == model.history_["score"][0]
    assert model.best_score_ == model.history_["score"].max()


@pytest.mark.slow
def test_a_gain_that_may_be_luck_is_not_deployed():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(120, 3)), rng.integers(0, 2, 120)  # nothing to learn
    options = {"max_steps": 20, "eval_interval": 2, "learning_rate": 1e-3}
    lucky = classifier(training={"min_gain_se": 0.0}, **options).fit(X, y)
    careful = classifier(training={"min_gain_se": 3.0}, **options).fit(X, y)
    assert lucky.best_score_ > lucky.base_score_
    assert careful.deployed_weights_ == "base"
    pd.testing.assert_series_equal(lucky.history_["score"], careful.history_["score"])


def test_validation_rows_of_the_user_never_become_context():
    X, y = DIABETES
    model = regressor().fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:])
    assert model.predictor_.n_train_samples_ == 300


@pytest.mark.slow
def test_scoring_by_another_metric_is_never_worse_there():
    X, y = load_breast_cancer(return_X_y=True)
    model = classifier(scoring="roc_auc", max_steps=6).fit(X, y)
    assert model.scoring_ == "roc_auc"
    assert model.best_score_ >= model.base_score_


@pytest.mark.slow
def test_probabilities_do_not_get_worse_whatever_is_scored():
    def perverse(estimator, X, y):
        return log_loss(y, estimator.predict_proba(X))

    X, y = load_breast_cancer(return_X_y=True)
    parts = {"X": X[:200], "y": y[:200], "X_val": X[200:300], "y_val": y[200:300]}
    wild = {"learning_rate": 0.1, "training": {"ema_decay": 0.0}, "max_steps": 6}
    model = classifier(scoring=perverse, **wild).fit(**parts)
    base = classifier(max_steps=0).fit(**parts)
    assert model.history_["score"].max() > model.base_score_ + 0.01  # what was asked for
    losses = [log_loss(y[200:300], fitted.predict_proba(X[200:300])) for fitted in (model, base)]
    assert losses[0] <= losses[1] + 1e-6


# --- small tables -------------------------------------------------------------------------------


def test_a_table_too_small_to_train_on_deploys_the_base():
    with pytest.warns(UserWarning, match="too few rows"):
        model = classifier().fit([[0.0], [1.0], [2.0], [3.0]], ["a", "b", "a", "b"])
    assert model.stop_reason_ == "too few rows"
    assert len(model.history_) == 0
    assert model.predict([[0.5]]).shape == (1,)


def test_a_constant_target_is_predicted():
    with pytest.warns(UserWarning, match="constant target"):
        model = regressor().fit(np.arange(40.0)[:, None], np.full(40, 3.5))
    assert model.predict([[1.0]]).tolist() == [3.5]


ODD_ONE = {
    "a number": np.arange(40.0) == 3,
    "text": np.where(np.arange(40) == 3, "rare", "usual"),
    "a date": pd.Series(pd.Timestamp("2024-01-01"), range(40)).mask(
        np.arange(40) == 3, pd.Timestamp("2025-02-03")
    ),
    "a value among missing ones": np.where(np.arange(40) == 3, 1.0, np.nan),
}


@pytest.mark.parametrize("kind", ODD_ONE)
def test_columns_that_vary_in_the_hold_out_alone_deploy_the_base(kind):
    X, y = pd.DataFrame({"only": ODD_ONE[kind]}), np.arange(40) % 2
    first_rows = StratifiedKFold()  # holds out rows 0 to 7
    with pytest.warns(UserWarning, match="fine-tune on .constant columns") as caught:
        model = classifier(validation=first_rows).fit(X, y)
    assert len(caught) == 1
    assert (model.stop_reason_, model.n_steps_) == ("constant columns", 0)
    assert model.predict(X).shape == (40,)


@pytest.mark.parametrize("column", [7.0, np.nan, "x", None, pd.Timestamp("2024-01-01")])
@pytest.mark.parametrize("make", [classifier, regressor])
def test_a_table_of_which_nothing_varies_is_refused_in_one_sentence(column, make):
    X = pd.DataFrame({"one": [column] * 20, "two": [1] * 20})
    with pytest.raises(
        ValueError, match=r"^All columns of X \(2\) are constant or missing through"
    ):
        make().fit(X, np.arange(20) % 2)


@pytest.mark.parametrize("make", [classifier, regressor])
@pytest.mark.parametrize("cell", [1.5, np.nan])
def test_rows_to_predict_of_which_nothing_varies_are_predicted(make, cell):
    model = make(max_steps=0).fit(*IRIS)
    found = model.predict(np.full((3, 4), cell))
    np.testing.assert_allclose(model.predict(np.full((1, 4), cell)), found[:1], rtol=1e-5)
    np.testing.assert_allclose(found, found[0], rtol=1e-5)


# --- reproducible, self-contained ----------------------------------------------------------------


@pytest.mark.parametrize("make", [classifier, regressor])
def test_the_same_seed_gives_bitwise_the_same_predictions(make):
    X, y = IRIS
    first, second = make().fit(X, y), make().fit(X, y)
    other = make(random_state=1).fit(X, y)
    predict = "predict_proba" if is_classifier(first) else "predict"
    expected = getattr(first, predict)(X)
    assert getattr(second, predict)(X).tobytes() == expected.tobytes()
    assert getattr(other, predict)(X).tobytes() != expected.tobytes()
    pd.testing.assert_frame_equal(
        first.history_.drop(columns="seconds"), second.history_.drop(columns="seconds")
    )


def test_nothing_global_is_touched(monkeypatch, tmp_path):
    def state():
        return (
            random.getstate(),
            repr(np.random.get_state()),  # noqa: NPY002 - this is what must not change
            torch.get_rng_state().tolist(),
            dict(os.environ),
            list(warnings.filters),
            logging.getLogger().handlers[:],
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
        )

    monkeypatch.chdir(tmp_path)
    before = state()
    classifier(random_state=None).fit(*IRIS).predict(IRIS[0])
    assert state() == before
    assert os.listdir(tmp_path) == []


def test_fitting_a_local_model_never_touches_the_network(monkeypatch):
    def refuse(*arguments, **keywords):
        raise AssertionError("somebody asked the network")

    for name in ("connect", "connect_ex", "bind"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    classifier().fit(*IRIS).predict(IRIS[0])


def test_fit_is_silent_and_leaves_parameters_alone(capsys):
    model = classifier(random_state=np.random.RandomState(3), callbacks=[])
    before = {key: repr(value) for key, value in model.get_params().items()}
    before.pop("random_state")  # drawing a seed from the user's own generator advances it
    model.fit(*IRIS)
    after = {key: repr(value) for key, value in model.get_params().items()}
    after.pop("random_state")
    assert before == after
    assert capsys.readouterr() == ("", "")


def test_progress_when_verbose(capsys):
    classifier(verbose=True).fit(*IRIS)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "fine-tuning (max_steps)" in shown.err


def test_one_line_per_round_in_the_log(caplog):
    with caplog.at_level(logging.INFO, logger="finetune_tabpfn"):
        classifier().fit(*IRIS)
    *evaluations, decision = [record.message for record in caplog.records]
    assert [line.split(",")[0] for line in evaluations] == [
        "evaluation 0",
        "evaluation 1",
        "evaluation 2",
    ]
    assert decision.endswith("is deployed")


@pytest.mark.slow
def test_fit_twice_leaves_nothing_behind(mixed_table):
    X, labels, _ = mixed_table
    model = classifier().fit(X, labels).fit(*IRIS)
    fresh = classifier().fit(*IRIS)
    assert not hasattr(model, "feature_names_in_")
    assert model.predict_proba(IRIS[0]).tobytes() == fresh.predict_proba(IRIS[0]).tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("make", [classifier, regressor])
def test_a_cached_context_predicts_the_same(make, tmp_path):
    X, y = IRIS
    plain = make(precision="fp32").fit(X, y)
    cached = make(precision="fp32", fit_mode="fit_with_cache").fit(X, y)
    assert len(pickle.dumps(cached)) > len(pickle.dumps(plain))
    joblib.dump(cached, tmp_path / "cached.joblib")
    for model in (cached, joblib.load(tmp_path / "cached.joblib")):
        predict = "predict_proba" if is_classifier(plain) else "predict"
        np.testing.assert_allclose(
            getattr(model, predict)(X[:9]), getattr(plain, predict)(X[:9]), atol=1e-5
        )


@pytest.mark.slow
def test_in_bf16_a_cached_context_rounds_otherwise_but_little():
    X, y = load_digits(return_X_y=True)
    found = [
        classifier(max_steps=0, precision=precision, fit_mode=mode)
        .fit(X[:200], y[:200])
        .predict_proba(X[200:300])
        for precision in ("fp32", "bf16")
        for mode in ("fit_preprocessors", "fit_with_cache")
    ]
    np.testing.assert_allclose(found[1], found[0], atol=1e-5)
    differences = np.abs(found[3] - found[2])
    assert 0 < differences.max() < 0.05
    assert differences.mean() < 0.002


# --- scikit-learn -------------------------------------------------------------------------------


def test_clone_and_parameters():
    model = classifier(learning_rate=1e-4)
    copy = clone(model.fit(*IRIS))
    assert not hasattr(copy, "predictor_")
    assert copy.get_params() == model.get_params()
    assert copy.set_params(patience=3).patience == 3
    assert "learning_rate=0.0001" in repr(copy)


@pytest.mark.slow
@pytest.mark.parametrize("make", [classifier, regressor])
def test_pickle_and_joblib_after_fit(make, tmp_path):
    model = make().fit(*IRIS)
    expected = model.predict(IRIS[0])
    data = pickle.dumps(model)
    np.testing.assert_array_equal(pickle.loads(data).predict(IRIS[0]), expected)
    joblib.dump(model, tmp_path / "model.joblib")
    np.testing.assert_array_equal(joblib.load(tmp_path / "model.joblib").predict(IRIS[0]), expected)
    network = sum(
        t.numel() * t.element_size() for t in model.predictor_.model_.state_dict().values()
    )
    assert len(data) < 1.3 * network  # one copy of the weights


@pytest.mark.slow
def test_grid_search_over_the_learning_rate_in_a_pipeline():
    X, y = IRIS
    labels = np.array(["s", "c", "g"])[y]
    pipeline = make_pipeline(StandardScaler(), classifier(max_steps=2))
    grid = {"finetunedtabpfnclassifier__learning_rate": [1e-5, 1e-3]}
    search = GridSearchCV(pipeline, grid, cv=2, scoring="neg_log_loss").fit(X, labels)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.predict(X).shape == (150,)


# --- what else is set when a fit begins ---------------------------------------------------------


@pytest.fixture(scope="module")
def words_and_dates():
    X = load_iris(as_frame=True).data
    numbers = np.arange(len(X))
    X["word"] = pd.Series([f"word {n} {7 * n % 13}" for n in numbers], dtype="string")
    X["kind"] = np.where(numbers % 3, "a", "b")
    X["day"] = pd.date_range("2024-01-01", periods=len(X))
    return X


@pytest.mark.slow
@pytest.mark.parametrize("output", ["pandas", pytest.param("polars", marks=pytest.mark.slow)])
@pytest.mark.parametrize("make", [classifier, regressor])
def test_the_users_output_of_transformers_is_none_of_a_fits_business(make, output, words_and_dates):
    plain = make(max_steps=2).fit(words_and_dates, IRIS[1])
    expected = plain.predict(words_and_dates), plain.get_embeddings(words_and_dates)
    with config_context(transform_output=output):
        model = make(max_steps=2).fit(words_and_dates, IRIS[1])
        found = model.predict(words_and_dates), model.get_embeddings(words_and_dates)
        assert get_config()["transform_output"] == output
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("tuning", ["full", pytest.param("lora", marks=pytest.mark.slow)])
def test_a_fit_trains_where_torch_records_no_gradients(mode, tuning):
    if tuning == "lora":
        pytest.importorskip("peft")
    parameters = LEARNS | {"max_steps": 3, "training": {"min_gain_se": 0}, "tuning": tuning}
    with mode():
        model = classifier(**parameters, scoring=scorer_that()).fit(*IRIS)
        found = model.predict_proba(IRIS[0])
        assert not torch.is_grad_enabled()
    assert (model.n_steps_, model.deployed_weights_) == (3, "best")
    again = classifier(**parameters, scoring=scorer_that()).fit(*IRIS)
    np.testing.assert_array_equal(again.predict_proba(IRIS[0]), found)


# --- what a callback or a scorer does to a fit ---------------------------------------------------


class FailsAt(Callback):
    """Raises in a hook from some step on."""

    def __init__(self, hook, step):
        setattr(self, hook, lambda state: self.fail() if state.step >= step else None)

    def fail(self):
        raise ZeroDivisionError("a callback of mine")


LEARNS = {"max_steps": 12, "eval_interval": 3, "learning_rate": 3e-4}


def scorer_that(ends=None, after=1000):
    """Return a scorer that is better with every call, and of no use after some."""
    calls = []

    def accuracy(estimator, X, y):
        calls.append(1)
        return ends() if len(calls) > after else len(calls) / 100

    return accuracy


@pytest.mark.parametrize("hook", ["after_step", "after_evaluation", "before_evaluation"])
def test_a_callback_that_raises_reaches_the_user_and_loses_nothing(hook):
    model = classifier(**LEARNS, scoring=scorer_that(), callbacks=[FailsAt(hook, 9)])
    with pytest.raises(ZeroDivisionError, match="a callback of mine") as raised:
        model.fit(*IRIS)
    assert raised.value.best_so_far is model
    assert model.stop_reason_ == "failed: ZeroDivisionError"
    assert model.deployed_weights_ == "best"
    assert model.best_score_ == model.history_["score"].max() > model.base_score_
    assert model.predict(IRIS[0]).shape == IRIS[1].shape


@pytest.mark.slow
def test_a_callback_that_raises_leaves_a_checkpoint_to_go_on_from(tmp_path):
    parameters = LEARNS | {"checkpoint": Checkpoint(tmp_path, resume=True)}
    with pytest.raises(ZeroDivisionError):
        classifier(**parameters, callbacks=[FailsAt("after_evaluation", 6)]).fit(*IRIS)
    mended, whole = classifier(**parameters).fit(*IRIS), classifier(**LEARNS).fit(*IRIS)
    assert mended.history_["step"].tolist() == [0, 3, 6, 9, 12]
    np.testing.assert_array_equal(mended.predict_proba(IRIS[0]), whole.predict_proba(IRIS[0]))


def test_a_callback_that_raises_before_anything_got_better_leaves_nothing():
    with pytest.raises(ZeroDivisionError) as raised:
        classifier(callbacks=[FailsAt("on_train_begin", 0)]).fit(*IRIS)
    assert not hasattr(raised.value, "best_so_far")


def test_a_scorer_that_raises_reaches_the_user_and_loses_nothing():
    def ends():
        raise KeyError("no such column")

    with pytest.raises(KeyError, match="no such column") as raised:
        classifier(**LEARNS, scoring=scorer_that(ends, after=3)).fit(*IRIS)
    model = raised.value.best_so_far
    assert (model.best_step_, model.deployed_weights_) == (6, "best")
    assert model.predict(IRIS[0]).shape == IRIS[1].shape


def test_a_scorer_that_raises_only_in_the_choice_loses_nothing():
    def ends():
        raise KeyError("no such column")

    evaluations = 1 + LEARNS["max_steps"] // LEARNS["eval_interval"]
    with pytest.raises(KeyError) as raised:
        classifier(**LEARNS, scoring=scorer_that(ends, after=evaluations)).fit(*IRIS)
    assert raised.value.best_so_far.deployed_weights_ == "best"


def test_a_scorer_without_a_number_is_named():
    with pytest.warns(UserWarning, match="ended with no score: scoring=.* returned nan") as caught:
        model = classifier(**LEARNS, scoring=scorer_that(lambda: float("nan"), after=3)).fit(*IRIS)
    assert "learning_rate" not in str(caught[0].message)
    assert model.n_steps_ == 9
    with pytest.raises(ValueError, match=r"scoring=.*accuracy.* returned nan for finite predict"):
        classifier(scoring=scorer_that(lambda: float("nan"), after=0)).fit(*IRIS)


@pytest.mark.parametrize("answer", [True, 1, np.True_, "enough"])
def test_whatever_is_true_of_a_callback_stops_the_fit(answer):
    class Enough:
        def after_step(self, state):
            return answer if state.step == 2 else None

    model = classifier(callbacks=[Enough()]).fit(*IRIS)
    assert model.n_steps_ == 2
    assert model.stop_reason_ == (answer if answer == "enough" else "Enough")


def test_callbacks_see_the_run():
    class Notes(Callback):
        def __init__(self):
            self.heard = []

        def after_evaluation(self, state):
            self.heard.append(state.history[-1].step)
            return "heard enough" if state.step == 2 else None

    notes = Notes()
    model = classifier(callbacks=[notes]).fit(*IRIS)
    assert notes.heard == [0, 2]
    assert model.stop_reason_ == "heard enough"


# --- wrong input gets one sentence --------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"learning_rate": -1e-3}, "The 'learning_rate' parameter of FinetunedTabPFNClassifier"),
        ({"callbacks": "progress"}, "callbacks='progress' must be a list of objects.*loggers"),
        ({"callbacks": (Callback() for _ in "a")}, "callbacks=<generator .* must be a list of"),
        (
            {"callbacks": [Callback(), 5]},
            "callbacks holds 5, which is not an object with a method of",
        ),
        ({"callbacks": [Callback]}, "callbacks holds <class .* not an object with a method"),
        (
            {"validation": 0.1, "n_folds": 3},
            "n_folds=3 holds out 1/3 .* which validation=0.1 contr",
        ),
        ({"learning_rate": float("nan")}, "The 'learning_rate' parameter"),
        ({"learning_rate": 1e6}, "The 'learning_rate' parameter"),
        ({"time_limit": 0}, "The 'time_limit' parameter"),
        ({"time_limit": -5}, "The 'time_limit' parameter"),
        ({"max_steps": -1}, "The 'max_steps' parameter"),
        ({"max_steps": 2.5}, "The 'max_steps' parameter"),
        ({"batch_size": 0}, "The 'batch_size' parameter"),
        ({"eval_interval": 0}, "The 'eval_interval' parameter"),
        ({"patience": 0}, "The 'patience' parameter"),
        ({"training": {"min_delta": -1}}, "The 'min_delta' parameter of Training"),
        ({"training": {"min_dleta": 1}}, "did you mean 'min_delta'"),
        ({"tuning": LoRA(rank=0)}, "The 'rank' parameter of LoRA"),
        ({"checkpoint": Checkpoint("here", every=0)}, "The 'every' parameter of Checkpoint"),
        ({"validation": "last"}, "The 'validation' parameter"),
        ({"validation": 1.5}, "The 'validation' parameter"),
        ({"class_weight": "even"}, "The 'class_weight' parameter"),
        ({"class_weight": {0: -1}}, "class_weight={0: -1} must hold positive numbers"),
        ({"n_estimators": 0}, "The 'n_estimators' parameter"),
        ({"context_size": 0}, "The 'context_size' parameter"),
        ({"training": {"query_size": -1}}, "The 'query_size' parameter"),
        ({"training": {"weight_decay": -1}}, "The 'weight_decay' parameter"),
        ({"training": {"max_grad_norm": 0}}, "The 'max_grad_norm' parameter"),
        (
            {"training": {"gradient_accumulation_steps": 0}},
            "The 'gradient_accumulation_steps' parameter",
        ),
        ({"precision": "fp8"}, "The 'precision' parameter"),
        ({"random_state": "seed"}, "The 'random_state' parameter"),
        ({"callbacks": 3}, "callbacks=3 must be a list"),
        ({"scoring": "log_los"}, "scoring='log_los' is not a name"),
        ({"scoring": "roc_auc"}, "scoring='roc_auc' cannot score"),  # three classes
        ({"device": "warp"}, "device='warp' is no name of a device"),
        ({"device": "xpu"}, "device='xpu' cannot be used here"),
        ({"base_model": "v7"}, "base_model='v7' is neither a file nor one of auto, mini"),
        ({"categorical_features": [9]}, "categorical_features=9 is not a column of X"),
    ],
)
def test_wrong_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        classifier(**parameters).fit(*IRIS)


X4, Y4 = np.arange(80.0).reshape(20, 4), np.array(["a", "b"] * 10)
X40 = np.arange(480.0).reshape(120, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X4[:0], Y4[:0]), r"0 sample\(s\)"),
        ((X4[:1], Y4[:1]), "minimum of 2 is required"),
        ((X4, Y4[:5]), "X has 20 rows but y has 5"),
        ((None, Y4), "X is of the type NoneType; a DataFrame would be a table"),
        (({"a": range(20)}, Y4), r"X is of the type dict; pd.DataFrame\(X\) would be a table"),
        ((X4, "label"), r"y='label' is a text; .* X.pop\('label'\) takes it out"),
        ((X4, np.full(20, "a")), "y holds a single class"),
        ((X4, [None, *Y4[1:]]), "Input y contains NaN"),
        ((X4, np.linspace(0, 1, 20)), "Unknown label type"),
        (
            (X40, np.arange(120) % 40),
            r"y holds 40 classes \(0, 1, 2, \.\.\.\), but base_model='mini' can tell at most 32",
        ),
    ],
)
def test_wrong_tables(arguments, message):
    with pytest.raises(ValueError, match=message):
        classifier().fit(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"X_val": X4}, "y_val is None; X_val and y_val go together"),
        ({"y_val": Y4}, "X_val is None; X_val and y_val go together"),
        ({"X_val": X4[:, :3], "y_val": Y4}, "X_val has 3 columns and X has 4"),
        ({"X_val": X4[:2], "y_val": ["a", "z"]}, "y_val holds the label 'z'"),
        ({"sample_weight": "balanced"}, "sample_weight='balanced' must hold a number for each row"),
        ({"sample_weight": np.ones(5)}, r"sample_weight has the shape \(5,\); X has 20 rows"),
        ({"sample_weight": -np.ones(20)}, "sample_weight must hold finite numbers"),
        ({"sample_weight": np.zeros(20)}, "sample_weight is zero for all rows"),
        ({"groups": [1, 2]}, "groups has 2 entries but X has 20 rows"),
        ({"groups": [None, *range(19)]}, "groups has missing values"),
    ],
)
def test_wrong_metadata(arguments, message):
    with pytest.raises(ValueError, match=message):
        classifier().fit(X4, Y4, **arguments)


def misspelt(call):
    return {
        "constructor": lambda: regressor(lerning_rate=1e-4),
        "set_params": lambda: regressor().set_params(lerning_rate=1e-4),
        "search": lambda: GridSearchCV(regressor(), {"lerning_rate": [1]}).fit(X4, range(20)),
        "fit": lambda: regressor().fit(X4, range(20), sample_wieght=range(20)),
        "function": lambda: fine_tune_tabpfn(X_train=X4, y_trian=Y4),
        "its configuration": lambda: fine_tune_tabpfn(X_train=X4, y_train=Y4, lerning_rate=1),
        "related": lambda: fine_tune_base_model(
            [(X4, Y4)], "a-v3.ckpt", task="classification", lerning_rate=1
        ),
    }[call]()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            "constructor",
            TypeError,
            "FinetunedTabPFNRegressor is given 'lerning_rate'.*'learning_rate'",
        ),
        (
            "set_params",
            ValueError,
            "FinetunedTabPFNRegressor is given 'lerning_rate'.*'learning_rate'",
        ),
        ("search", ValueError, "FinetunedTabPFNRegressor is given 'lerning_rate'.*'learning_rate'"),
        (
            "fit",
            TypeError,
            r"FinetunedTabPFNRegressor.fit is given 'sample_wieght'.*'sample_weight'",
        ),
        ("function", TypeError, "fine_tune_tabpfn is given 'y_trian'.*did you mean 'y_train'"),
        (
            "its configuration",
            TypeError,
            "fine_tune_tabpfn is given 'lerning_rate'.* finetuning_config={'learning_rate': ...}",
        ),
        ("related", ValueError, "fine_tune_base_model is given 'lerning_rate'.*'learning_rate'"),
    ],
)
def test_a_name_that_does_not_exist_suggests_the_nearest(call, error, message):
    with pytest.raises(error, match=message):
        misspelt(call)


@pytest.mark.parametrize(
    ("name", "said"),
    [("lr", "'learning_rate'"), ("epochs", "'max_steps'"), ("n_jobs", "known are")],
)
def test_a_name_from_elsewhere_leads_to_ours(name, said):
    with pytest.raises(TypeError, match=f"is given '{name}', which is unknown; .*{said}"):
        FinetunedTabPFNClassifier(**{name: 1})


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: classifier().fit(X4), r"Classifier.fit takes X, y, .*missing.* argument: 'y'"),
        (lambda: fine_tune_tabpfn(X4, Y4), "fine_tune_tabpfn takes X_train, .*too many positional"),
    ],
)
def test_a_call_with_too_few_or_too_many_arguments_names_those_there_are(call, said):
    with pytest.raises(TypeError, match=said):
        call()


def test_labels_in_another_order_than_the_rows_are_warned_of():
    X, y = pd.DataFrame(X4), pd.Series(Y4)
    with pytest.warns(UserWarning, match=r"same index in another order.*y\.loc\[X\.index\]"):
        classifier(max_steps=0).fit(X, y[::-1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier(max_steps=0).fit(X[::-1], y[::-1])
        classifier(max_steps=0).fit(X, y.set_axis(range(5, 25)))


def test_rows_without_names_are_remarked_on_once():
    X = pd.DataFrame({"a": range(12), "b": [0.5, 1.5] * 6})
    model = FinetunedTabPFNClassifier(base_model="mini", max_steps=0, n_estimators=1)
    model.fit(X, [0, 1] * 6)
    with pytest.warns(UserWarning, match="FinetunedTabPFNClassifier was fitted with") as said:
        proba = model.predict_proba(X.to_numpy())
    assert len(said) == 1
    np.testing.assert_array_equal(proba, model.predict_proba(X))


def test_parameters_are_given_by_name():
    with pytest.raises(TypeError, match="FinetunedTabPFNClassifier takes its parameters by name"):
        FinetunedTabPFNClassifier("mini")


def test_a_regressor_needs_numbers():
    with pytest.raises(ValueError, match="y holds values that are not numbers"):
        regressor().fit(X4, Y4)


def test_a_regressor_has_no_classes_to_weigh():
    with pytest.raises(ValueError, match="class_weight='balanced' is for classification"):
        new_estimator("regression", {"class_weight": "balanced"}).fit(*DIABETES)
    with pytest.raises(ValueError, match="balanced_contexts=True is for classification"):
        new_estimator("regression", {"balanced_contexts": True}).fit(*DIABETES)


@pytest.mark.parametrize("content", [b"", b"no checkpoint at all", b"PK\x03\x04 half a zip"])
@pytest.mark.parametrize("name", ["broken.ckpt", "broken-v3.safetensors"])
def test_a_damaged_checkpoint(content, name, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read as a TabPFN checkpoint") as caught:
        classifier(base_model=path).fit(*IRIS)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)


class Code:
    def __reduce__(self):
        return (print, ("it ran",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": Code()}, "it holds more than tensors, numbers and text"),
        ({"weights": 1}, r"it holds something else \(KeyError: 'state_dict'\)"),
        ([1], "it holds something else"),
    ],
)
def test_a_file_of_torchs_that_is_no_checkpoint(content, message, tmp_path, capsys):
    torch.save(content, tmp_path / "other-v3.ckpt")
    with pytest.raises(ValueError, match=message) as caught:
        classifier(base_model=tmp_path / "other-v3.ckpt").fit(*IRIS)
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)
    assert capsys.readouterr().out == ""


def test_a_checkpoint_with_a_flipped_bit_is_not_fitted_to(random_checkpoint, tmp_path):
    content = bytearray(random_checkpoint("v2", "classification").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "flipped.ckpt").write_bytes(content)
    with pytest.raises(ValueError, match=r"for classification: the checksum of .* is wrong"):
        classifier(base_model=tmp_path / "flipped.ckpt").fit(*IRIS)


def test_a_checkpoint_of_the_other_task(random_checkpoint):
    message = "cannot be read as a TabPFN checkpoint for regression: it is one for classification"
    with pytest.raises(ValueError, match=message):
        regressor(base_model=random_checkpoint("v2", "classification")).fit(*DIABETES)


def test_predict_checks_its_rows():
    model = classifier()
    with pytest.raises(AttributeError, match="not fitted"):
        model.predict(IRIS[0])
    model.fit(*IRIS)
    with pytest.raises(ValueError, match="X has 3 features, but FinetunedTabPFNClassifier"):
        model.predict(IRIS[0][:, :3])


@pytest.mark.slow
@pytest.mark.parametrize(("held_out", "share"), [(60, 0.5), (140, 1.0)])
def test_few_held_out_rows_speak_for_half_of_the_way_only(held_out, share, random_checkpoint):
    X = np.random.default_rng(0).normal(size=(340, 3))
    y = (X[:, 0] > 1.3).astype(int)  # one in ten, which random weights do not know
    train, val = slice(0, 200), slice(200, 200 + held_out)

    def weights(**parameters):
        model = classifier(
            base_model=random_checkpoint("v2", "classification"), eval_interval=10, **parameters
        ).fit(X[train], y[train], X_val=X[val], y_val=y[val])
        return model.deployed_weights_, model.predictor_.model_.state_dict()

    _, base = weights(max_steps=0)
    _, best = weights(max_steps=20, training={"min_gain_se": 0.0})
    name, deployed = weights(max_steps=20)
    assert name == ("interpolated" if share < 1 else "best")
    assert any(not best[key].equal(base[key]) for key in base)
    for key, weight in deployed.items():
        torch.testing.assert_close(weight, torch.lerp(base[key], best[key], share))


@pytest.mark.slow
def test_every_setting_is_reached_by_a_search_and_survives_cloning():
    model = classifier(tuning="lora", checkpoint="here")
    model.set_params(training__ema_decay=0.5, training__min_delta=0.1, tuning__rank=3)
    model.set_params(checkpoint__every=2)
    assert model.training == {"ema_decay": 0.5, "min_delta": 0.1}
    assert model.tuning == LoRA(rank=3)
    assert model.checkpoint == Checkpoint("here", every=2)
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    with pytest.raises(ValueError, match=r"given 'ema_deacy'.*did you mean 'ema_decay'"):
        model.set_params(training__ema_deacy=0.5)
    grid = {"training__ema_decay": [0.0, 0.9], "training__plateau_patience": [1]}
    search = GridSearchCV(classifier(max_steps=2), grid, cv=2).fit(*IRIS)
    assert search.best_params_["training__plateau_patience"] == 1
    assert search.best_estimator_.training == {
        "ema_decay": search.best_params_["training__ema_decay"],
        "plateau_patience": 1,
    }


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("lora_rank", r"did you mean tuning=LoRA\(rank=...\)"),
        ("ema_decay", r"did you mean training=\{'ema_decay': ...\}"),
        ("resume", r"did you mean checkpoint=Checkpoint\(folder, resume=...\)"),
        ("early_stopping", "did you mean patience=None"),
        ("class_weight", "is for classification; leave it out"),
    ],
)
def test_a_setting_that_stands_elsewhere_says_where(given, meant):
    with pytest.raises(TypeError, match=f"FinetunedTabPFNRegressor is given '{given}'.* {meant}"):
        regressor(**{given: 1})
    if given in ("ema_decay", "lora_rank"):
        with pytest.raises(TypeError, match=f"did you mean finetuning_config={{'{given}': ...}}"):
            fine_tune_tabpfn(X_train=X4, y_train=Y4, **{given: 1})
