"""Targets and losses of the two tasks."""

import numpy as np
import pytest
import torch

from finetune_tabpfn.tasks import IGNORED, Classification, Regression


def targets(*values):
    return np.array(values, dtype=np.float32)


def test_classes_of_the_context_become_dense_in_a_random_order():
    task = Classification(np.array(["a", "b", "c", "d"]))
    context, query = targets(0, 3, 3, 0), targets(3, 0, 1)
    seen = set()
    for seed in range(20):
        shown, asked = task.split_targets(context, query, seed)
        assert set(shown) == {0, 1}
        assert asked[0] == shown[1]
        assert asked[1] == shown[0]
        assert asked[2] == IGNORED  # class 1 is not in the context
        seen.add(shown[0])
    assert seen == {0, 1}


def test_cross_entropy_is_over_the_classes_of_the_context():
    task = Classification(np.array([0, 1, 2]))
    logits = torch.tensor([[1.0, 2.0, 50.0], [0.0, 1.0, 50.0]])[:, None]  # the third is no class
    context, query = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [0.0]])
    expected = torch.nn.functional.cross_entropy(logits[:, 0, :2], torch.tensor([1, 0]))
    torch.testing.assert_close(task.loss(logits, context, query), expected)


def test_codes_of_the_context_need_not_be_dense():
    task = Classification(np.arange(5))
    logits = torch.tensor([[9.0, 1.0, 9.0, 9.0, 2.0]])[:, None]  # only codes 1 and 4 are shown
    loss = task.loss(logits, torch.tensor([[1.0], [4.0]]), torch.tensor([[4.0]]))
    assert loss.item() == pytest.approx(np.log1p(np.exp(-1)))


def test_splits_weigh_the_same_however_many_rows_are_ignored():
    task = Classification(np.array([0, 1]))
    logits = torch.zeros(4, 2, 2)
    logits[:, 1, 0] = 3.0
    context = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    query = torch.tensor([[0.0, 0.0], [1.0, 0.0], [IGNORED, 0.0], [IGNORED, 0.0]])
    first, second = np.log(2), np.log1p(np.exp(-3))
    assert task.loss(logits, context, query).item() == pytest.approx((first + second) / 2)


def test_all_rows_ignored_is_no_loss():
    task = Classification(np.array([0, 1]))
    query = torch.full((3, 1), float(IGNORED))
    loss = task.loss(torch.zeros(3, 1, 2), torch.tensor([[0.0], [1.0]]), query)
    assert loss.item() == 0.0


def test_a_regression_split_is_standardised_by_its_context():
    context, query = Regression().split_targets(targets(1, 3, 5), targets(7), seed=0)
    assert context.mean() == pytest.approx(0, abs=1e-6)
    assert context.std() == pytest.approx(1)
    assert query[0] == pytest.approx((7 - 3) / np.std([1, 3, 5]))
    context, query = Regression().split_targets(targets(2, 2), targets(3), seed=0)
    assert np.isfinite(context).all()
    assert np.isfinite(query).all()


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
