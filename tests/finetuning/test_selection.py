"""What is deployed: when a gain on the hold-out is taken for one."""

import dataclasses

import numpy as np
import pytest
import torch

from finetune_tabpfn._scoring import HoldOutScore, join_predictions, join_scores
from finetune_tabpfn._tasks import Classification, Regression
from finetune_tabpfn.finetuning._hold_out import Comparison, HoldOut
from finetune_tabpfn.finetuning._problem import FineTuningProblem
from finetune_tabpfn.finetuning._result import Trained
from finetune_tabpfn.finetuning._selection import select
from finetune_tabpfn.training._state import Evaluation


def scored(n_rows, standard_errors, min_gain_se=0.5):
    """Return a hold-out, and two evaluations that lie so many standard errors apart."""
    noise = np.random.default_rng(0).normal(size=n_rows)
    noise = (noise - noise.mean()) / noise.std()
    gain = 0.2 * (noise + standard_errors / np.sqrt(n_rows))
    score = HoldOutScore(
        Regression(), "neg_mean_squared_error", np.zeros((n_rows, 1)), np.zeros(n_rows)
    )
    better, reference = np.ones(n_rows), np.sqrt(1 + gain)
    evaluations = [Evaluation(score(its), predictions=[its]) for its in (better, reference)]
    return HoldOut([FineTuningProblem(None, score)], min_gain_se), *evaluations


@pytest.mark.parametrize(
    ("n_rows", "standard_errors", "is_gain"),
    [(2000, 0.8, True), (2000, 0.2, False), (40, 0.8, False), (40, 2.0, True)],
)
def test_a_small_hold_out_must_show_a_larger_gain(n_rows, standard_errors, is_gain):
    hold_out, better, reference = scored(n_rows, standard_errors)
    assert (hold_out.comparison.objection(better, reference) is None) == is_gain
    assert "nothing scored above" in hold_out.comparison.objection(reference, better)


@pytest.mark.parametrize(
    ("n_rows", "min_gain_se", "trusted"), [(100, 0.5, True), (99, 0.5, False), (20, 0.0, True)]
)
def test_only_a_large_hold_out_speaks_for_the_best_round_itself(n_rows, min_gain_se, trusted):
    hold_out, *_ = scored(n_rows, 1.0, min_gain_se)
    assert hold_out.is_trusted == trusted


def test_without_standard_errors_whatever_scores_best_is_taken():
    hold_out, best, half = scored(20, 0.01, min_gain_se=0.0)
    assert hold_out.comparison.objection(best, half) is None


def training(name, weight, rows, found, base, **more):
    """Return what a fold came to: one weight, and what its networks predict for its rows."""
    score = HoldOutScore(Regression(), "neg_mean_squared_error", rows[:, None], np.zeros(len(rows)))
    base, found = (Evaluation(score(its), predictions=[its]) for its in (base, found))
    return Trained(
        name=name,
        base_weights={"w": torch.zeros(1)},
        weights={"w": torch.tensor([weight])},
        base=base,
        found=found,
        comparison=Comparison([score], [1.0], 0.5),
        history=[],
        best_step=3,
        n_steps=5,
        stop_reason="max_steps",
        **more,
    )


def test_folds_are_averaged_where_the_rows_of_all_speak_for_it():
    rows = np.arange(50.0)
    wrong, right = np.ones(50) + rows / 100, np.full(50, 0.5)
    folds = [training("best", 1.0, rows, right, wrong), training("best", 3.0, rows, right, wrong)]
    result = select(folds)
    assert (result.deployed, result.weights["w"].item()) == ("best", 2.0)
    assert result.score == -0.25
    what = "the mean of the 2 folds' best models"
    assert result.why == f"a gain of 1.3 over 100 rows: {what} is deployed"
    assert result.n_steps == 10


@pytest.mark.parametrize(("mean_that_holds", "deployed"), [(2.0, "best"), (3.0, "base")])
def test_a_mean_that_predicts_worse_than_each_fold_is_not_deployed(mean_that_holds, deployed):
    rows = np.arange(50.0)
    wrong, right = np.ones(50) + rows / 100, np.full(50, 0.5)
    first = training("best", 1.0, rows, right, wrong)
    last = training("best", 3.0, rows, right, wrong, holds=lambda w: w["w"] == mean_that_holds)
    result = select([first, last])
    assert result.deployed == deployed
    assert any("n_folds=1 may help" in its for its in result.warnings) == (deployed == "base")


def test_a_scorer_that_fails_in_the_decision_leaves_the_fold_that_gained_most():
    rows = np.arange(50.0)
    wrong, right = np.ones(50) + rows / 100, np.full(50, 0.5)

    folds = [training("best", 1.0, rows, wrong, wrong), training("best", 3.0, rows, right, wrong)]
    folds[1] = dataclasses.replace(folds[1], error=RuntimeError("no score"), as_scored=True)
    result = select(folds)
    assert (result.deployed, result.weights["w"].item()) == ("best", 3.0)
    assert str(result.error) == "no score"


def test_what_one_fold_gains_and_another_loses_is_no_gain():
    rows = np.arange(50.0)
    wrong, right = np.ones(50) + rows / 100, np.full(50, 0.5)
    folds = [training("best", 1.0, rows, right, wrong), training("best", 3.0, rows, wrong, right)]
    result = select(folds)
    assert (result.deployed, result.weights["w"].item()) == ("base", 0.0)
    assert result.score == result.base_score
    assert result.why.endswith("the base model is deployed")


def test_a_fold_that_kept_the_base_is_part_of_the_mean():
    rows = np.arange(50.0)
    wrong, right = np.ones(50) + rows / 100, np.full(50, 0.5)
    folds = [training("best", 1.0, rows, right, wrong), training("base", 0.0, rows, wrong, wrong)]
    result = select(folds)
    assert (result.deployed, result.weights["w"].item()) == ("best", 0.5)


def test_a_class_that_a_fold_lacks_has_no_probability_there():
    folds = [np.array(["a", "b"]), np.array(["a", "b", "c"])]
    scores = [
        HoldOutScore(Classification(classes), None, np.zeros((2, 1)), classes[:2])
        for classes in folds
    ]
    parts = [np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]])]
    joined = join_predictions(scores, parts)
    np.testing.assert_allclose(joined[:, 2], [0, 0, 0.2, 0.1])
    expected = np.mean([score(part) for score, part in zip(scores, parts, strict=True)])
    assert join_scores(scores)(joined) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("n_steps", "said"),
    [(0, "left no room for fine-tuning"), (12, "left no room to score the 12 steps of training")],
)
def test_a_time_limit_that_was_too_short_says_what_it_was_too_short_for(n_steps, said):
    ended = dataclasses.replace(Trained.untouched("time_limit"), n_steps=n_steps)
    assert ended.warning("base") == (
        f"time_limit {said}; the base model is deployed. A longer one will do."
    )
