"""The score of predictions on the hold-out."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, log_loss, make_scorer, roc_auc_score

from finetune_tabpfn._scoring import HoldOutScore
from finetune_tabpfn._tasks import Classification, Regression
from finetune_tabpfn.training._loop import NoScoreError

LABELS = np.array(["no", "yes"])
Y = np.array(["no", "yes", "yes", "no"])
PROBA = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]])
X = np.zeros((4, 1))


def score(scoring, task=None, y=Y, predictions=PROBA):
    return HoldOutScore(task or Classification(LABELS), scoring, X, y)(predictions)


def test_names_of_scikit_learn():
    assert score(None) == pytest.approx(-log_loss(Y, PROBA))
    assert score("neg_log_loss") == score(None)
    assert score("roc_auc") == roc_auc_score(Y == "yes", PROBA[:, 1])
    assert score("accuracy") == 0.75
    mean = np.array([1.0, 2.0, 3.0, 5.0])
    y = np.array([1.0, 2.0, 3.0, 4.0])
    assert score(None, Regression(), y, mean) == pytest.approx(-0.5)
    assert score("r2", Regression(), y, mean) == pytest.approx(0.8)


def test_scorers_and_plain_functions():
    assert score(make_scorer(f1_score, pos_label="yes")) == pytest.approx(0.8)
    assert score(lambda estimator, X, y: float((estimator.predict(X) == y).sum())) == 3


def test_a_class_that_the_hold_out_lacks():
    task = Classification(np.array(["a", "b", "c"]))
    y = np.array(["a", "b", "a", "b"])
    proba = np.array([[0.6, 0.2, 0.2], [0.1, 0.8, 0.1], [0.5, 0.1, 0.4], [0.2, 0.3, 0.5]])
    expected = np.mean(np.log([0.6, 0.8, 0.5, 0.3]))
    assert score("neg_log_loss", task, y, proba) == pytest.approx(expected)
    assert score("roc_auc_ovr", task, y, proba) == 1.0


def test_an_unknown_name():
    with pytest.raises(ValueError, match="scoring='log_los' is not a name that scikit-learn"):
        score("log_los")
    with pytest.raises(ValueError, match="did you mean 'roc_auc'"):
        score("auc")


def test_a_scorer_that_does_not_fit_the_task():
    task = Classification(np.array(["a", "b", "c"]))
    proba = np.full((3, 3), 1 / 3)
    with pytest.raises(ValueError, match="scoring='roc_auc' cannot score this hold-out of 3"):
        score("roc_auc", task, np.array(["a", "b", "c"]), proba)
    with pytest.raises(ValueError, match="scoring='r2' cannot score"):
        score("r2")
    with pytest.raises(ValueError, match="make_scorer makes a scorer of a metric"):
        score(f1_score)


def test_what_is_not_finite_is_never_a_score():
    with pytest.raises(FloatingPointError, match="predictions"):
        score(None, predictions=PROBA * np.nan)
    with pytest.raises(FloatingPointError, match="score"):
        score(lambda estimator, X, y: np.inf)
    with pytest.raises(NoScoreError, match=r"scoring=<function .* returned nan"):
        score(lambda estimator, X, y: np.nan)


def test_the_error_of_a_gain_is_that_of_the_paired_difference():
    rng = np.random.default_rng(1)
    y = rng.normal(size=400)
    reference = y + rng.normal(size=400)
    better = y + 0.9 * (reference - y) + 0.02 * rng.normal(size=400)
    hold_out = HoldOutScore(Regression(), "neg_mean_squared_error", np.zeros((400, 1)), y)
    gains = (reference - y) ** 2 - (better - y) ** 2
    expected = gains.std() / np.sqrt(400)
    assert hold_out.gain_error(better, reference) == pytest.approx(expected, rel=0.3)
    assert hold_out.gain_error(reference, reference) == 0


def test_resamples_without_a_class_do_not_count():
    y = np.array(["no"] * 9 + ["yes"])
    proba = np.column_stack([np.linspace(0.1, 0.9, 10), np.linspace(0.9, 0.1, 10)])
    hold_out = HoldOutScore(Classification(LABELS), "roc_auc", np.zeros((10, 1)), y)
    assert np.isfinite(hold_out.gain_error(proba[::-1], proba))


def test_a_better_ranking_is_no_excuse_for_worse_probabilities():
    y = np.array(["no", "yes"] * 50)
    truth = (y == "yes").astype(float)
    hold_out = HoldOutScore(Classification(LABELS), "roc_auc", np.zeros((100, 1)), y)
    noise = np.random.default_rng(0).normal(size=100)
    honest, ranked = 0.5 + 0.2 * (truth - 0.5) + 0.05 * noise, 0.98 + 0.01 * truth
    honest, ranked = (np.column_stack([1 - p, p]) for p in (honest, ranked))
    assert hold_out(ranked) > hold_out(honest)
    assert not hold_out.as_calibrated(ranked, honest)
    assert hold_out.as_calibrated(honest, ranked)
    log_loss = HoldOutScore(Classification(LABELS), None, np.zeros((100, 1)), y)
    assert log_loss.as_calibrated(ranked, honest)  # then the score itself decides
