"""Tables and targets that come in; wrong ones get one sentence."""

import numpy as np
import pandas as pd
import pytest

from finetune_tabpfn.data._validation import check_table, check_target, positions_of

FRAME = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", None]})


def test_data_frames_stay_data_frames():
    assert check_table(FRAME) is FRAME


def test_lists_of_mixed_rows_keep_their_numbers():
    table = check_table([[1, "x"], [2, None]])
    assert pd.api.types.is_numeric_dtype(table[0])
    assert check_table([[1, 2.5], [3, 4]]).dtype == float


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((0, 3)), r"0 sample\(s\)"),
        (FRAME.iloc[:1], r"X has 1 sample\(s\)"),
        (FRAME[[]], r"0 feature\(s\)"),
        (np.zeros(5), "Reshape your data"),
        ([[1, 2], [3]], "different lengths"),
        (np.array([[1.0, np.inf], [1, 2]]), "Column 1 of X cannot be used: it contains infinity"),
        (
            pd.DataFrame({"a": [1.0, -np.inf]}),
            "Column 'a' of X cannot be used: it contains infinity",
        ),
        (np.array([[1j], [2j]]), "Complex data not supported"),
    ],
)
def test_wrong_tables(X, message):
    with pytest.raises(ValueError, match=message):
        check_table(X, min_rows=2)


def test_sparse_tables_are_refused():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match=r"(?i)sparse"):
        check_table(sparse.eye(3).tocsr())


@pytest.mark.parametrize(
    ("y", "numeric", "message"),
    [
        (None, False, "requires y to be passed"),
        ([1, 2, 3], False, "X has 2 rows but y has 3"),
        (["a", None], False, "Input y contains NaN in 1 of 2 rows"),
        ([1.0, np.nan], True, "Input y contains NaN in 1 of 2 rows"),
        ([1.0, np.inf], True, "Input y contains infinity"),
        (["a", "b"], True, "y holds values that are not numbers"),
        (np.zeros((2, 2)), True, "1d array"),
    ],
)
def test_wrong_targets(y, numeric, message):
    with pytest.raises(ValueError, match=message):
        check_target(y, n_rows=2, numeric=numeric)


def test_categories_and_numbers_as_text_are_fine_targets():
    assert check_target(pd.Categorical(["a", "b"]), n_rows=2, numeric=False).tolist() == ["a", "b"]
    assert check_target(pd.Series([1, 2]), n_rows=2, numeric=True).dtype == float


def test_positions_of_columns():
    assert positions_of(None, FRAME) is None
    assert positions_of([1], FRAME) == [1]
    assert positions_of(["b"], FRAME) == [1]
    assert positions_of([False, True], FRAME) == [1]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([2], "categorical_features=2 is not a column"),
        ([-1], "categorical_features=-1 is not a column"),
        (["c"], "categorical_features='c' is not a column"),
        ([True], "mask of 1 columns, X has 2"),
    ],
)
def test_columns_that_are_not_there(columns, message):
    with pytest.raises(ValueError, match=message):
        positions_of(columns, FRAME)
