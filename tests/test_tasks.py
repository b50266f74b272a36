"""Targets and losses of the two tasks."""

import warnings

import numpy as np
import pytest
import torch

from finetune_tabpfn._losses import IGNORED, Targets, cross_entropy
from finetune_tabpfn._tasks import Classification, Regression, task_of


def targets(*values):
    return np.array(values, dtype=np.float32)


def test_classes_of_the_context_become_dense_in_a_random_order():
    task = Classification(np.array(["a", "b", "c", "d"]))
    context, query = targets(0, 3, 3, 0), targets(3, 0, 1)
    seen = set()
    for seed in range(20):
        split = task.split_targets(context, query, seed)
        shown, asked = split.context, split.query
        assert set(shown) == {0, 1}
        assert asked[0] == shown[1]
        assert asked[1] == shown[0]
        assert asked[2] == IGNORED  # class 1 is not in the context
        seen.add(shown[0])
    assert seen == {0, 1}


def loss_of(logits, context, query, weight=None):
    return cross_entropy(logits, Targets(context, query, weight))


def test_cross_entropy_is_over_the_classes_of_the_context():
    logits = torch.tensor([[1.0, 2.0, 50.0], [0.0, 1.0, 50.0]])[:, None]  # the third is no class
    context, query = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [0.0]])
    expected = torch.nn.functional.cross_entropy(logits[:, 0, :2], torch.tensor([1, 0]))
    torch.testing.assert_close(loss_of(logits, context, query), expected)


def test_codes_of_the_context_need_not_be_dense():
    logits = torch.tensor([[9.0, 1.0, 9.0, 9.0, 2.0]])[:, None]  # only codes 1 and 4 are shown
    loss = loss_of(logits, torch.tensor([[1.0], [4.0]]), torch.tensor([[4.0]]))
    assert loss.item() == pytest.approx(np.log1p(np.exp(-1)))


def test_splits_weigh_the_same_however_many_rows_are_ignored():
    logits = torch.zeros(4, 2, 2)
    logits[:, 1, 0] = 3.0
    context = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    query = torch.tensor([[0.0, 0.0], [1.0, 0.0], [IGNORED, 0.0], [IGNORED, 0.0]])
    first, second = np.log(2), np.log1p(np.exp(-3))
    assert loss_of(logits, context, query).item() == pytest.approx((first + second) / 2)


def test_all_rows_ignored_is_no_loss():
    query = torch.full((3, 1), float(IGNORED))
    loss = loss_of(torch.zeros(3, 1, 2), torch.tensor([[0.0], [1.0]]), query)
    assert loss.item() == 0.0


def test_a_regression_split_is_standardised_by_its_context():
    split = Regression().split_targets(targets(1, 3, 5), targets(7), seed=0)
    context, query = split.context, split.query
    assert context.mean() == pytest.approx(0, abs=1e-6)
    assert context.std() == pytest.approx(1)
    assert query[0] == pytest.approx((7 - 3) / np.std([1, 3, 5]))
    split = Regression().split_targets(targets(2, 2), targets(3), seed=0)
    assert np.isfinite(split.context).all()
    assert np.isfinite(split.query).all()


def test_labels_that_make_no_task():
    with pytest.raises(ValueError, match="y holds a single class"):
        Classification.of(np.array(["a", "a"]))
    with pytest.raises(ValueError, match="cannot be sorted"):
        Classification.of(np.array(["a", 1, 2.5], dtype=object))
    with pytest.raises(ValueError, match="Unknown label type"):
        Classification.of(np.array([0.1, 0.2, 0.3]))


def test_too_many_classes_names_the_models_that_can():
    with pytest.raises(ValueError, match=r"y holds 19 classes.*'mini'.*at most 10.*\"v3\""):
        Classification(np.arange(19)).check_network(10, "mini")


def test_weighted_rows_count_as_often_as_they_weigh():
    logits = torch.randn(3, 1, 2, generator=torch.Generator().manual_seed(0))
    context, query = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [1.0], [1.0]])
    weighted = loss_of(logits, context, query, torch.tensor([[2.0], [1.0], [0.0]]))
    repeated = loss_of(logits[[0, 0, 1]], context, query[[0, 0, 1]])
    torch.testing.assert_close(weighted, repeated)


def test_class_weights_are_an_offset_in_the_loss_and_a_factor_of_the_probabilities():
    task = Classification.of(np.array(["a", "b", "b", "c"]), {"a": 4.0, "c": 0.5})
    assert task.weights.tolist() == [4.0, 1.0, 0.5]
    split = task.split_targets(targets(0, 2), targets(2), seed=3)
    assert split.offset[int(split.context[0])] == pytest.approx(np.log(4))
    assert split.offset[int(split.context[1])] == pytest.approx(np.log(0.5))
    decided = task.decide(np.array([[0.2, 0.2, 0.6]]))
    np.testing.assert_allclose(decided, [[0.8 / 1.3, 0.2 / 1.3, 0.3 / 1.3]])
    assert task.among(np.array(["a", "c"])).weights.tolist() == [4.0, 0.5]


def test_balanced_class_weights_are_inverse_to_the_shares():
    task = Classification.of(np.array([0] * 30 + [1] * 10), "balanced")
    assert task.weights[1] / task.weights[0] == pytest.approx(3)


@pytest.mark.parametrize("bad", [{"a": -1.0}, {"a": 0.0}, {"a": np.inf}])
def test_class_weights_must_be_positive(bad):
    with pytest.raises(ValueError, match=r"class_weight=.* must hold positive numbers"):
        Classification.of(np.array(["a", "b"]), bad)


@pytest.mark.parametrize(
    ("labels", "is_said"),
    [(["yes", "yes ", "no"], True), (["Yes", "yes", "no"], True), (["yes", "no"], False)],
)
def test_labels_that_differ_by_blanks_or_capitals_alone_are_said(labels, is_said):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        task = task_of("classification", np.asarray(labels))
    assert len(task.classes) == len(labels)
    assert any("are taken for different classes" in str(each.message) for each in said) == is_said
