"""The prepared table against what plain TabPFN computes from the raw rows."""

import dataclasses

import numpy as np
import pytest
import torch

from finetune_tabpfn._tabpfn import Blueprint, load, prepare
from finetune_tabpfn._tasks import Classification, Regression
from finetune_tabpfn.data._sampling import Split, SplitSampler
from finetune_tabpfn.finetuning._batches import SplitBatches, saved_bytes
from finetune_tabpfn.models import _base_models

CPU = torch.device("cpu")
TRAIN, HELD_OUT = slice(0, 110), slice(110, 150)


def blueprint(path, kind, **changes):
    settings = {
        "n_estimators": 3,
        "categorical_features": None,
        "random_state": 0,
        "precision": "fp32",
        "max_context": 10_000,
    }
    return Blueprint(
        kind=kind, specs=load(path, kind, CPU), devices=(CPU,), **{**settings, **changes}
    )


def prepared(path, kind, mixed_table, validation_context=None, **changes):
    X, labels, amount = mixed_table
    y = labels if kind == "classification" else amount
    task = Classification.of(labels) if kind == "classification" else Regression()
    plan = blueprint(path, kind, **changes)
    rows = X.iloc[TRAIN], y[TRAIN], X.iloc[HELD_OUT]
    return plan, prepare(plan, task, *rows, validation_context=validation_context), y


def plain_predictions(plan, X, y):
    """Of tabpfn's own estimator, in the precision of the plan."""
    model = plan.fit(X.iloc[TRAIN], y[TRAIN])
    rows = X.iloc[HELD_OUT]
    return model.predict_proba(rows) if plan.kind == "classification" else model.predict(rows)


@pytest.mark.parametrize("kind", ["classification", "regression"])
@pytest.mark.parametrize("version", ["mini", "v2", "v2.5", "v2.6", "v3", "v3.5"])
def test_validation_sees_what_plain_tabpfn_predicts(version, kind, random_checkpoint, mixed_table):
    mini = version == "mini"
    path = _base_models.mini(kind).path if mini else random_checkpoint(version, kind)
    plan, table, y = prepared(path, kind, mixed_table)
    expected = plain_predictions(plan, mixed_table[0], y)
    np.testing.assert_allclose(table.predict().values, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_a_fold_has_the_ensemble_members_that_will_be_deployed(kind, mixed_table):
    plan = blueprint(_base_models.mini(kind).path, kind, n_estimators=1)
    X, labels, amount = mixed_table
    y = labels if kind == "classification" else amount
    expected = plain_predictions(plan, X, y)
    np.testing.assert_array_equal(plain_predictions(plan.copy(), X, y), expected)
    others = dataclasses.replace(plan.copy(), random_state=1)  # another order of columns
    assert not np.array_equal(plain_predictions(others, X, y), expected)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_members_that_subsample_rows(kind, random_checkpoint, mixed_table):
    plan = blueprint(random_checkpoint("v2.5", kind), kind, max_context=60)
    X, labels, amount = mixed_table
    y = labels if kind == "classification" else amount
    task = Classification.of(labels) if kind == "classification" else Regression()
    table = prepare(plan, task, X.iloc[TRAIN], y[TRAIN], X.iloc[HELD_OUT])
    assert [len(member.context_rows) for member in table.members] == [60, 60, 60]
    assert all(len(member.x) == 150 for member in table.members)
    assert all(np.isfinite(member.targets).all() for member in table.members)
    expected = plain_predictions(plan, X, y)
    np.testing.assert_allclose(table.predict().values, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_a_brief_validation_is_that_of_a_table_with_fewer_rows(kind, mixed_table):
    path = _base_models.mini(kind).path
    plan, table, y = prepared(path, kind, mixed_table, n_estimators=1, validation_context=40)
    (few,) = table.reduced
    rows = few.context_rows.numpy()
    assert table.is_cut
    assert len(set(rows)) == 40
    assert table.validation_rows == 40 + 40
    if kind == "classification":
        assert set(y[rows]) == set(y[TRAIN])  # no class is missing
    expected = table.members[0].context_y.numpy()[rows]
    np.testing.assert_array_equal(few.context_y.numpy(), expected)
    assert (
        np.corrcoef(table.predict(reduced=True).values.ravel(), table.predict().values.ravel())[
            0, 1
        ]
        > 0.5
    )
    whole = plain_predictions(plan, mixed_table[0], y)
    np.testing.assert_allclose(table.predict().values, whole, rtol=1e-4, atol=1e-5)


def test_a_small_table_is_validated_as_it_is_deployed(mixed_table):
    path = _base_models.mini("regression").path
    _, table, _ = prepared(path, "regression", mixed_table, validation_context=110)
    assert not table.is_cut
    np.testing.assert_array_equal(table.predict(reduced=True).values, table.predict().values)


def test_a_regression_target_goes_through_the_members_own_transform(random_checkpoint, mixed_table):
    """TabPFN v2.5 shows half of its members a power-transformed target."""
    _, table, y = prepared(random_checkpoint("v2.5", "regression"), "regression", mixed_table)
    standard = (y[TRAIN] - y[TRAIN].mean()) / y[TRAIN].std()
    transformed = [not np.allclose(m.targets, standard, atol=1e-4) for m in table.members]
    assert any(transformed)
    assert not all(transformed)
    for member in table.members:
        np.testing.assert_allclose(member.targets, member.context_y.numpy(), atol=1e-6)


def test_a_batch_permutes_columns_and_keeps_rows(mixed_table):
    path = _base_models.mini("classification").path
    _, table, _ = prepared(path, "classification", mixed_table, categorical_features=[3])
    split = Split(np.arange(50), np.arange(50, 80), seed=5)
    batch = table.batch([split, Split(split.context, split.query, seed=6)], member=1)
    original = table.members[1].x[:80]
    assert batch.x.shape == (80, 2, original.shape[1])
    assert batch.targets.context.shape == (50, 2)
    assert batch.targets.query.shape == (30, 2)
    for b in range(2):
        columns = batch.x[:, b]
        order = [
            next(i for i in range(original.shape[1]) if columns[:, i].equal(original[:, j]))
            for j in table.members[1].categorical
        ]
        assert sorted(order) == batch.categorical[b]
    assert not batch.x[:, 0].equal(batch.x[:, 1])


def test_loss_has_a_gradient_and_recomputation_does_not_change_it(mixed_table):
    _, table, _ = prepared(_base_models.mini("regression").path, "regression", mixed_table)
    split = Split(np.arange(60), np.arange(60, 110), seed=0)
    gradients = []
    for recompute in (False, True):
        table.network.zero_grad(set_to_none=True)
        table.batch([split], member=0, recompute=recompute).loss(table.network.train()).backward()
        gradients.append([p.grad.clone() for p in table.network.parameters() if p.grad is not None])
    assert len(gradients[0]) > 10
    for kept, computed in zip(*gradients, strict=True):
        torch.testing.assert_close(kept, computed)


def test_passes_of_a_step_give_one_gradient(mixed_table):
    _, table, _ = prepared(_base_models.mini("classification").path, "classification", mixed_table)
    sampler = SplitSampler(table.n_rows, 60, 40, seed=0)
    gradients = []
    for passes in (1, 4):
        table.network.train().zero_grad(set_to_none=True)
        batches = SplitBatches(table, sampler, batch_size=4, passes=passes)
        shares = 0.0
        for share, batch in batches(step=0):
            (share * batch.loss(table.network)).backward()
            shares += share
        assert shares == pytest.approx(1)
        gradients.append([p.grad.clone() for p in table.network.parameters() if p.grad is not None])
    for whole, parts in zip(*gradients, strict=True):
        torch.testing.assert_close(whole, parts, rtol=1e-3, atol=1e-5)


class Memory:
    """Raises as a device without room does, for forward passes of more tables or rows than it has.

    A hook on a real network: what it refuses is what a small card would.
    """

    def __init__(self, network, tables, rows):
        self.tables, self.rows = tables, rows
        self.hook = network.register_forward_pre_hook(self)

    def __call__(self, network, arguments):
        n_rows, n_tables = arguments[0].shape[:2]
        if n_rows > self.rows or n_tables > self.tables:
            raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_a_validation_that_runs_out_of_memory_takes_the_members_one_by_one(kind, mixed_table):
    _, table, _ = prepared(_base_models.mini(kind).path, kind, mixed_table)
    at_once = table.predict().values
    Memory(table.network, tables=1, rows=150)
    with pytest.warns(UserWarning, match="Out of memory on cpu in a validation: members are"):
        one_by_one = table.predict().values
    np.testing.assert_allclose(one_by_one, at_once, rtol=1e-4, atol=1e-6)


def test_a_validation_that_runs_out_of_memory_shows_fewer_context_rows(mixed_table):
    kind = "classification"
    _, table, _ = prepared(_base_models.mini(kind).path, kind, mixed_table)
    memory = Memory(table.network, tables=1, rows=100)
    with pytest.warns(UserWarning, match="Out of memory") as caught:
        found = table.predict(reduced=True).values
    assert "evaluations are scored with 55 context rows" in str(caught[-1].message)
    assert found.shape == (40, 2)
    assert table.is_cut
    memory.rows = 80  # scores of fewer rows still would not compare with the first one
    with pytest.raises(torch.OutOfMemoryError):
        table.predict(reduced=True)


def test_measures_against_running_out_of_memory(mixed_table):
    _, table, _ = prepared(_base_models.mini("classification").path, "classification", mixed_table)
    model = table.network.train()
    batches = SplitBatches(table, SplitSampler(table.n_rows, 60, 40, seed=0), 4, passes=1)
    assert batches.fit_memory(model, available=None) == []
    assert batches.fit_memory(model, available=10**12) == []
    measures = batches.fit_memory(model, available=1)  # no device is that small: take them all
    assert [measure.split(" ")[0] for measure in measures] == [
        "activations",
        "a",
        "a",
        "splits",
    ]
    assert batches.recompute
    assert batches.passes == 4
    assert batches.sampler.context_size == 30
    assert batches.shrink() is None


def test_recomputation_keeps_less(mixed_table):
    _, table, _ = prepared(_base_models.mini("classification").path, "classification", mixed_table)
    split = Split(np.arange(60), np.arange(60, 110), seed=0)
    model, kept = table.network.train(), []
    for recompute in (False, True):
        with saved_bytes(model) as by_storage:
            loss = table.batch([split], member=0, recompute=recompute).loss(model)
        del loss
        kept.append(sum(by_storage.values()))
    assert 0 < kept[1] < kept[0]
