"""What is deployed: when a gain on the hold-out is taken for one."""

import numpy as np
import pytest

from finetune_tabpfn._scoring import HoldOutScore
from finetune_tabpfn._tasks import Regression
from finetune_tabpfn.finetuning._problem import FineTuningProblem
from finetune_tabpfn.finetuning._selection import HoldOut
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
    assert hold_out.deployable(better, reference) == is_gain
    assert not hold_out.deployable(reference, better)


@pytest.mark.parametrize(
    ("n_rows", "min_gain_se", "trusted"), [(100, 0.5, True), (99, 0.5, False), (20, 0.0, True)]
)
def test_only_a_large_hold_out_speaks_for_the_best_round_itself(n_rows, min_gain_se, trusted):
    hold_out, *_ = scored(n_rows, 1.0, min_gain_se)
    assert hold_out.is_trusted == trusted


def test_without_standard_errors_whatever_scores_best_is_taken():
    hold_out, best, half = scored(20, 0.01, min_gain_se=0.0)
    assert hold_out.deployable(best, half)
