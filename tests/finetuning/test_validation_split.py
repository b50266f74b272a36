"""Several hold-outs: every row validates once, and the mean of all folds' networks predicts."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib import pyplot
from sklearn.datasets import make_classification, make_regression
from sklearn.model_selection import TimeSeriesSplit
from tabpfn import TabPFNClassifier

from finetune_tabpfn import (
    Callback,
    FinetunedTabPFNClassifier,
    FinetunedTabPFNRegressor,
    TrainingCurveDisplay,
)
from finetune_tabpfn._planning import plan_fit
from finetune_tabpfn.data._fit_input import read_input
from finetune_tabpfn.finetuning._budget import CostEstimate, TimeBudget, Timer
from finetune_tabpfn.finetuning._fit import _is_the_last
from finetune_tabpfn.finetuning._result import Trained
from finetune_tabpfn.training._state import HistoryRow, TrainState, copy_weights

QUICK = {
    "base_model": "mini",
    "max_steps": 4,
    "eval_interval": 2,
    "n_estimators": 1,
    "n_folds": 3,
    "random_state": 0,
}
X, Y = make_classification(150, 4, random_state=0)
NAMES = np.array(["no", "yes"])[Y]
TABLE, TARGET = make_regression(150, 4, noise=10, random_state=0)


@pytest.fixture(scope="module")
def classifier():
    return FinetunedTabPFNClassifier(**QUICK).fit(X, NAMES)


@pytest.fixture(scope="module")
def regressor():
    return FinetunedTabPFNRegressor(**QUICK).fit(TABLE, TARGET)


def test_the_folds_share_the_steps(classifier):
    assert classifier.history_["fold"].tolist() == [0] * 2 + [1] * 2 + [2] * 2
    assert classifier.n_steps_ == 6


def test_what_is_deployed_is_the_mean_of_the_folds_networks():
    class Kept(Callback):
        """Keeps the weights of every fold's last evaluation."""

        def __init__(self):
            self.weights = {}

        def after_evaluation(self, state):
            self.weights[state.fold] = copy_weights(state.model)

    kept = Kept()
    always = {"scoring": scorer_that_grows(), "training": {"min_gain_se": 0.0}}
    model = FinetunedTabPFNClassifier(**QUICK, **always, callbacks=[kept]).fit(X, NAMES)
    assert model.deployed_weights_ == "best"
    for name, weight in model.predictor_.model_.state_dict().items():
        parts = [weights[name] for weights in kept.weights.values()]
        assert len(parts) == 3
        if weight.is_floating_point():
            torch.testing.assert_close(weight, torch.stack(parts).mean(0))


def scorer_that_grows():
    calls = []

    def scorer(estimator, X, y):
        calls.append(1)
        return float(len(calls))

    return scorer


def test_every_row_is_held_out_once():
    held_out = []

    def scorer(estimator, X, y):
        if len(X) < 150 and not any(np.array_equal(X, other) for other in held_out):
            held_out.append(X)  # of the decision over all rows, all of them come at once
        return 0.0

    FinetunedTabPFNClassifier(**QUICK, scoring=scorer).fit(X, NAMES)
    np.testing.assert_allclose(np.sort(np.concatenate(held_out), axis=0), np.sort(X, axis=0))


def test_groups_stay_whole_in_every_fold():
    groups = np.repeat(np.arange(15), 10)
    seen = []

    def scorer(estimator, X, y):
        seen.append(set(X[:, -1]))
        return 0.0

    table = np.column_stack([X, groups])
    FinetunedTabPFNClassifier(**QUICK, scoring=scorer).fit(table, NAMES, groups=groups)
    folds = [seen[0], seen[2], seen[4]]  # two evaluations a fold
    assert set.union(*folds) == set(range(15))


def test_all_kinds_of_predictions(regressor):
    low, high = regressor.predict(TABLE, output_type="quantiles", quantiles=[0.1, 0.9])
    assert (low < high).all()
    full = regressor.predict(TABLE, output_type="full")
    assert {"mean", "median", "mode", "quantiles", "criterion", "logits"} <= set(full)
    np.testing.assert_allclose(full["median"], regressor.predict(TABLE, output_type="median"))


def test_the_curve_has_a_line_and_a_base_for_each_fold(classifier):
    display = TrainingCurveDisplay.from_estimator(classifier)
    assert len(display.lines_) == len(display.base_lines_) == 3
    assert len(display.deployed_marks_) == 3
    shown = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert shown[:4] == ["fold 0", "fold 1", "fold 2", "base model, in each fold"]
    pyplot.close(display.figure_)


def test_a_checkpoint_holds_what_is_deployed(classifier, tmp_path):
    path = classifier.save_model(tmp_path / "model-v3.safetensors")
    plain = TabPFNClassifier(
        model_path=path, n_estimators=1, random_state=0, device="cpu",
        inference_precision=torch.float32, ignore_pretraining_limits=True,
    ).fit(X, NAMES)  # fmt: skip
    np.testing.assert_allclose(classifier.predict_proba(X), plain.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize(
    ("rows", "parameters", "n_folds"),
    [
        (150, {}, 4),
        (150, {"max_steps": 199}, 1),  # too few to share
        (2000, {}, 4),
        (2001, {}, 1),
        (150, {"validation": 0.2}, 1),
        (150, {"validation": "time"}, 1),
        (150, {"validation": None}, 1),
        (150, {"learning_rate": "auto"}, 1),
        (6, {}, 1),  # of every class there are fewer than folds
    ],
)
def test_small_tables_are_divided_into_four_folds(rows, parameters, n_folds):
    parameters = {"base_model": "mini", **parameters}
    model = FinetunedTabPFNClassifier(**parameters)
    y = np.arange(rows) % 2
    given = read_input(np.arange(2.0 * rows).reshape(rows, 2), y, numeric=False)
    assert len(plan_fit(model, given, 0, Timer(None)).folds) == n_folds


def test_few_groups_are_not_divided_by_themselves():
    model = FinetunedTabPFNClassifier(base_model="mini")
    groups = np.repeat(np.arange(3), 50)
    given = read_input(X, NAMES, None, groups, numeric=False)
    assert len(plan_fit(model, given, 0, Timer(None)).folds) == 1


@pytest.mark.parametrize(
    ("step_seconds", "share"),
    [(0.1, 10.0), (0.3, 20.0), (0.7, 40.0), (2.0, 40.0)],  # of 4, 2 and 1 folds of 50 steps
)
def test_the_time_is_divided_among_as_many_folds_as_it_holds(step_seconds, share):
    timer = Timer(40.0, clock=lambda: 0.0)
    budget = TimeBudget(timer, CostEstimate(step_seconds, 0.0, 0.0), parts=4)
    state = TrainState(torch.nn.Linear(1, 1))
    for _ in range(3):
        assert budget.timer is timer  # nothing is known yet
        assert budget.before_step(state) is None
        state.step_seconds.append(step_seconds)
    budget.before_step(state)
    assert budget.timer.limit == share


def test_the_steps_of_a_fold_are_counted_with_their_validations():
    timer = Timer(40.0, clock=lambda: 0.0)
    costs = CostEstimate(step=0.1, validation=2.0, finish=0.0)
    budget = TimeBudget(timer, costs, parts=4, eval_interval=10)
    state = TrainState(torch.nn.Linear(1, 1))
    state.step_seconds += [0.1] * 3
    state.validation_seconds += [2.0]
    budget.before_step(state)
    assert budget.timer.limit == 20.0  # 50 steps and 5 validations take 15 to 18 seconds


@pytest.mark.parametrize(("left", "is_last"), [(4.0, False), (2.0, True)])
def test_what_is_left_for_a_fold_need_not_hold_all_the_steps_that_were_planned(left, is_last):
    history = [HistoryRow(6, 60, seconds=6.0, train_loss=0.1, score=-0.1, learning_rate=1e-4)]
    last = replace(Trained.untouched("time_limit"), history=history, n_steps=60)
    assert _is_the_last(Timer(left, clock=lambda: 0.0), last) == is_last  # 50 would take 5 seconds


@pytest.mark.slow
def test_folds_stay_within_the_time():
    parameters = {**QUICK, "max_steps": 10_000, "patience": None, "time_limit": 6}
    began = time.monotonic()
    model = FinetunedTabPFNClassifier(**parameters).fit(X, NAMES)
    assert time.monotonic() - began <= 1.05 * 6 + 1
    assert model.history_["seconds"].max() > 1


def test_ways_to_divide():
    model = FinetunedTabPFNClassifier(**QUICK, validation=TimeSeriesSplit(5))
    assert set(model.fit(X, NAMES).history_["fold"]) == {0, 1, 2}
    with pytest.raises(ValueError, match="n_folds=3 does not go with validation='time'"):
        FinetunedTabPFNClassifier(**QUICK, validation="time").fit(X, NAMES)
    with pytest.raises(ValueError, match="n_folds=3 does not go with X_val"):
        FinetunedTabPFNClassifier(**QUICK).fit(X, NAMES, X_val=X, y_val=NAMES)
    with pytest.raises(ValueError, match="n_folds=200 cannot divide the rows"):
        FinetunedTabPFNClassifier(**{**QUICK, "n_folds": 200}).fit(X, NAMES)
