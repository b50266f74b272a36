"""Hold-outs and splits: row numbers only."""

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from finetune_tabpfn.data._sampling import (
    SplitSampler,
    TimeOrder,
    all_classes_alike,
    hold_out,
    hold_out_groups,
    one_of_each_first,
    shuffled_groups,
    target_bins,
)


def codes(*sizes):
    return np.repeat(np.arange(len(sizes)), sizes)


@pytest.mark.parametrize("seed", range(5))
def test_rare_classes_are_on_both_sides(seed):
    strata = codes(100, 4, 3, 2, 1)
    train, held_out = hold_out(strata, 0.2, np.random.default_rng(seed))
    assert sorted([*train, *held_out]) == list(range(len(strata)))
    assert set(strata[train]) == {0, 1, 2, 3, 4}
    assert set(strata[held_out]) == {0, 1, 2, 3}  # a single row trains


def test_the_hold_out_keeps_proportions():
    strata = codes(800, 200)
    _, held_out = hold_out(strata, 0.25, np.random.default_rng(0))
    assert np.bincount(strata[held_out]).tolist() == [200, 50]


def test_many_small_classes_do_not_inflate_the_hold_out():
    strata = np.repeat(np.arange(300), 4)
    _, held_out = hold_out(strata, 0.3, np.random.default_rng(0))
    assert 0.27 < len(held_out) / len(strata) < 0.37


def test_singletons_alone_leave_nothing_to_hold_out():
    train, held_out = hold_out(np.arange(5), 0.2, np.random.default_rng(0))
    assert len(train) == 5
    assert len(held_out) == 0


def test_target_bins_are_equal_and_tied_values_share_one():
    assert np.bincount(target_bins(np.arange(100.0))).tolist() == [10] * 10
    tied = target_bins(np.array([0.0] * 95 + [1.0] * 5))
    assert len(set(tied[:95])) == 1
    assert len(set(target_bins(np.zeros(10)))) == 1


def test_context_and_query_are_disjoint_and_of_the_size_asked_for():
    sampler = SplitSampler(100, context_size=60, query_size=30, seed=1)
    split = sampler.draw(3, 0)
    assert len(split.context) == 60
    assert len(split.query) == 30
    assert not set(split.context) & set(split.query)


def test_a_split_is_a_function_of_seed_step_and_number():
    sampler = SplitSampler(100, 60, 30, seed=1)
    again = SplitSampler(100, 60, 30, seed=1)
    assert sampler.draw(7, 2).context.tolist() == again.draw(7, 2).context.tolist()
    others = [sampler.draw(7, 3), sampler.draw(8, 2), SplitSampler(100, 60, 30, seed=2).draw(7, 2)]
    for other in others:
        assert other.context.tolist() != sampler.draw(7, 2).context.tolist()
        assert other.seed != sampler.draw(7, 2).seed


@pytest.mark.parametrize("step", range(10))
def test_every_class_is_in_the_context(step):
    classes = codes(500, 3, 1)
    sampler = SplitSampler(504, 20, 100, seed=0, classes=classes)
    assert set(classes[sampler.draw(step, 0).context]) == {0, 1, 2}


def test_more_classes_than_the_context_holds():
    classes = np.arange(50)
    order = one_of_each_first(np.random.default_rng(0).permutation(50), classes, limit=5)
    assert sorted(order) == list(range(50))


@pytest.mark.parametrize("seed", range(4))
def test_groups_are_never_on_both_sides_of_the_hold_out(seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(30, size=600)
    strata = (groups % 3 == 0).astype(int)
    train, held_out = hold_out_groups(strata, groups, 0.2, rng)
    assert not set(groups[train]) & set(groups[held_out])
    assert len(held_out) == pytest.approx(120, abs=60)
    assert strata[held_out].mean() == pytest.approx(strata.mean(), abs=0.15)


def test_folds_of_whole_groups_keep_the_strata():
    """Shuffled by scikit-learn 1.6 they do not."""
    rng = np.random.default_rng(0)
    groups = 7 * rng.integers(30, size=600)
    strata = (groups % 3 == 0).astype(int)
    numbers = shuffled_groups(groups, seed=0)
    assert not (numbers == groups // 7).all()
    for train, held_out in StratifiedGroupKFold(3).split(strata, strata, numbers):
        assert not set(groups[train]) & set(groups[held_out])
        assert strata[held_out].mean() == pytest.approx(strata.mean(), abs=0.1)


def test_few_groups_and_rare_classes_are_held_out_as_well():
    groups = codes(50, 50)
    train, held_out = hold_out_groups(np.arange(100) % 60, groups, 0.2, np.random.default_rng(0))
    assert len(train) == len(held_out) == 50
    train, held_out = hold_out_groups(np.zeros(9, int), np.zeros(9, int), 0.2, None)
    assert len(train) == 9
    assert len(held_out) == 0


@pytest.mark.parametrize("sizes", [(40, 30, 20, 10), (95, 5), (1, 1, 98)])
def test_no_group_is_in_context_and_query(sizes):
    groups = codes(*sizes)
    sampler = SplitSampler(100, 50, 40, seed=0, groups=groups)
    for step in range(20):
        split = sampler.draw(step, 0)
        assert 1 <= len(split.context) <= 50
        assert 1 <= len(split.query) <= 40
        assert not set(groups[split.context]) & set(groups[split.query])


def test_balanced_contexts_hold_all_classes_alike_but_leave_half_of_a_class_to_ask_for():
    classes = codes(900, 60, 40)
    sampler = SplitSampler(1000, 120, 300, seed=0, classes=classes, balanced=True)
    split = sampler.draw(0, 0)
    counts = np.bincount(classes[split.context])
    assert counts[1] == 30
    assert counts[2] == 20
    order = all_classes_alike(np.arange(1000), classes)
    assert sorted(order) == list(range(1000))
    assert classes[order[:9]].tolist() == [0, 1, 2] * 3


def test_query_rows_come_after_context_rows_in_time():
    moments = np.random.default_rng(0).permutation(np.repeat(np.arange(50.0), 2))
    sampler = SplitSampler(100, 60, 30, seed=1, time=TimeOrder(moments, gap=3))
    starts = set()
    for step in range(20):
        split = sampler.draw(step, 0)
        first = moments[split.query].min()
        assert moments[split.context].max() < first - 3
        assert len(split.context) >= 25
        assert 10 <= len(split.query) <= 30
        # the ones that follow, none skipped
        assert moments[split.query].max() - first <= np.ceil(len(split.query) / 2)
        starts.add(first)
    assert len(starts) > 10
    again = SplitSampler(100, 60, 30, seed=1, time=TimeOrder(moments, gap=3)).draw(19, 0)
    assert again.query.tolist() == split.query.tolist()


def test_groups_stay_whole_where_rows_are_in_the_order_of_time():
    groups = np.arange(100) // 8
    time = TimeOrder(np.arange(100.0))
    sampler = SplitSampler(100, 60, 30, seed=1, groups=groups, time=time)
    for step in range(20):
        split = sampler.draw(step, 0)
        assert not set(groups[split.context]) & set(groups[split.query])
        assert split.context.max() < split.query.min()


def test_rows_of_one_moment_have_no_order():
    sampler = SplitSampler(20, 10, 5, seed=1, time=TimeOrder(np.zeros(20)))
    assert len(sampler.draw(0, 0).query) == 5
