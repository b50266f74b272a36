"""Rows are known again that a model was fitted on."""

import numpy as np
import pandas as pd
import pytest

from finetune_tabpfn.data._kinds import Columns
from finetune_tabpfn.data._row_hashes import n_known, row_hashes


def test_a_row_is_the_same_whatever_types_its_columns_have():
    plain = pd.DataFrame({"n": [1.0, -0.0, np.nan], "t": ["x", "y", None], "b": [1, 0, 1]})
    other = pd.DataFrame(
        {
            "n": pd.array([1, 0, None], dtype="Int64"),
            "t": pd.Categorical(["x", "y", None]),
            "b": [True, False, True],
        }
    )
    assert (row_hashes(plain) == row_hashes(Columns.of(plain).read(other))).all()


def test_rows_and_columns_that_change_places():
    X = np.random.default_rng(0).normal(size=(50, 3))
    assert (row_hashes(X[::-1]) == row_hashes(X)[::-1]).all()
    assert not np.isin(row_hashes(X[:, ::-1]), row_hashes(X)).any()


@pytest.mark.parametrize(
    ("fitted", "rows", "known"),
    [
        ([1, 2, 3, 4], [1, 2, 9], 2),
        ([1, 2, 3, 4], [8, 9], 0),
        ([1, 1, 1, 2], [1, 5, 6, 7], 0),  # three of four fitted rows repeat: it may be luck
        ([1, 1, 2, 2], [1, 2, 1, 2], 0),
        ([1, 1, 2, 3], [1, 2, 3, 1], 4),
    ],
)
def test_as_many_as_repeat_in_the_table_are_no_news(fitted, rows, known):
    as_hashes = [np.array(numbers, dtype=np.uint64) for numbers in (rows, fitted)]
    assert n_known(*as_hashes) == known
