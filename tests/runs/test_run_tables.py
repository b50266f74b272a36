"""The tables of a run, and the rows that are set aside for its test."""

import numpy as np
import pandas as pd
import pytest

from finetune_tabpfn.runs._config import load_config
from finetune_tabpfn.runs._tables import read_tables

FRAME = pd.DataFrame(
    {
        "number": np.arange(100.0),
        "word": ["a", "b"] * 50,
        "shop": np.repeat(np.arange(20), 5),
        "share": np.linspace(0.1, 1, 100),
        "amount": np.sqrt(np.arange(100.0)),
        "label": ["yes", "no", "no", "no"] * 25,
    }
)


def tables(folder, target, **over):
    FRAME.to_csv(folder / "a.csv", index=False)
    (folder / "a.yaml").write_text(f"data: {{path: {folder}/a.csv, target: {target}}}")
    places = {name.replace("__", "."): value for name, value in over.items()}
    return read_tables(load_config(folder / "a.yaml", places))


def test_the_test_is_stratified_and_the_same_for_a_seed(tmp_path):
    seed = {"finetuning__random_state": 0}
    first, second = (tables(tmp_path, "label", **seed) for _ in range(2))
    assert first.sizes == {"train": 80, "test": 20}
    assert (first.test.y == "yes").sum() == 5
    pd.testing.assert_frame_equal(first.test.X, second.test.X)
    assert not set(first.test.X["number"]) & set(first.train.X["number"])
    assert tables(tmp_path, "label", data__test_fraction=0).sizes == {"train": 100}


def test_groups_and_weights_are_no_features_and_groups_stay_whole(tmp_path):
    found = tables(tmp_path, "label", data__group="shop", data__weight="share")
    assert list(found.train.X.columns) == ["number", "word", "amount"]
    assert len(found.train.weight) == len(found.train.groups) == len(found.train.y)
    shops = [set(FRAME["shop"][part.X["number"].astype(int)]) for part in (found.train, found.test)]
    assert not shops[0] & shops[1]


def test_the_last_rows_test_what_is_in_the_order_of_time(tmp_path):
    found = tables(tmp_path, "amount", finetuning__validation="time", data__drop=["word"])
    assert found.task.kind == "regression"
    assert list(found.test.X["number"]) == list(range(80, 100))
    assert "word" not in found.train.X


def test_a_table_of_its_own_to_test_on(tmp_path):
    FRAME[:10][["label", "share", "word", "number", "amount"]].to_csv(tmp_path / "t.csv")
    over = {"data__test_path": str(tmp_path / "t.csv"), "data__drop": ["shop"]}
    found = tables(tmp_path, "label", **over, data__weight="share")
    assert found.sizes == {"train": 100, "test": 10}
    assert list(found.test.X.columns) == list(found.train.X.columns)
    np.testing.assert_allclose(found.test.weight, FRAME["share"][:10])


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({"data__drop": ["nothing"]}, r"data\.drop: 'nothing' is not a column of"),
        ({"data__weight": "word"}, "The column 'word' cannot be used: could not convert"),
        ({"data__task": "regression"}, "holds values that are not numbers"),
    ],
)
def test_what_does_not_fit(over, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        tables(tmp_path, "label", **over)
