"""What a column may hold, and what becomes of it (the table in docs/inputs.md)."""

import datetime
import decimal

import numpy as np
import pandas as pd
import pytest

from finetune_tabpfn.data._columns import tidy_columns
from finetune_tabpfn.data._validation import check_table

DAYS = pd.to_datetime(["1970-01-02 00:00", "2020-01-01 12:00", None])


def tidy(cells, **options):
    return tidy_columns(pd.DataFrame({"t": pd.Series(cells, **options)}))["t"]


@pytest.mark.parametrize(
    "cells",
    [
        pd.Series([1, 2, 3]),
        pd.Series([True, False, True]),
        pd.Series([1, None], dtype="Int64"),
        pd.Series(["a", "b", None]),
        pd.Series(["a", None], dtype="string"),
        pd.Categorical(["a", "b", None]),
        pd.Categorical([3, 1, None]),
        pd.Series([None, None], dtype=object),
        pd.Series([np.nan, np.nan]),
        pd.to_timedelta([1, 2], unit="h"),
        DAYS,
        DAYS.tz_localize("Europe/Berlin"),
        DAYS.to_period("D"),
    ],
)
def test_numbers_text_and_categories_stay_what_they_are(cells):
    frame = pd.DataFrame({"t": cells})
    assert tidy_columns(frame) is frame


@pytest.mark.parametrize(
    "cells",
    [
        [1, 2.5, None],
        [True, False, None],
        [decimal.Decimal("1"), decimal.Decimal("2.5"), None],
        [1, pd.NA, np.nan],
        [10**30, 1, None],
    ],
)
def test_objects_that_are_numbers_become_numbers(cells):
    column = tidy(cells, dtype=object)
    assert column.dtype == np.float64
    assert column.iloc[0] == float(cells[0])
    assert np.isnan(column.iloc[2])


@pytest.mark.parametrize(
    "cells",
    [
        [day.to_pydatetime() for day in DAYS[:2]] + [None],
        [datetime.date(1970, 1, 2), datetime.date(2020, 1, 1), None],
        [pd.Timestamp("1970-01-02"), pd.NaT, pd.Timestamp("2020-01-01")],
    ],
)
def test_objects_that_are_dates_become_dates(cells):
    column = tidy(cells, dtype=object)
    assert column.dtype.kind == "M"
    assert column.iloc[0] == pd.Timestamp("1970-01-02")


def test_numbers_among_text_become_text():
    assert tidy(["a", 1, None], dtype=object).tolist()[:2] == ["a", "1"]
    assert tidy(["a", 1, None], dtype=object).isna().tolist() == [False, False, True]


def test_intervals_become_text():
    column = tidy(pd.cut(pd.Series([1.0, 2.0, np.nan]), [0, 1, 2]))
    assert column.tolist()[:2] == ["(0, 1]", "(1, 2]"]
    assert column.isna().iloc[2]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([1.0, np.inf], "it contains infinity"),
        (pd.array([1.0, -np.inf], dtype="Float64"), "it contains infinity"),
        (np.array([1.0, np.inf], dtype=object), "it contains infinity"),
        (pd.Categorical([1.0, np.inf]), "it contains infinity"),
        ([1j, 2j], "it holds complex numbers"),
        ([[1, 2], [3]], "it holds a list"),
        ([{"a": 1}, None], "it holds a dict"),
        (pd.Series([10**400, 1], dtype=object), "too large"),
    ],
)
def test_cells_that_cannot_be_used_are_named(cells, message):
    with pytest.raises(ValueError, match=rf"Column 't' of X cannot be used: .*{message}"):
        tidy(cells)


def test_two_columns_of_one_name_are_refused():
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(ValueError, match="X has more than one column 'a'"):
        tidy_columns(frame)


def test_the_users_table_is_not_changed():
    frame = pd.DataFrame({"t": pd.Series([1, None], dtype=object)})
    before = frame.copy()
    tidy_columns(frame)
    pd.testing.assert_frame_equal(frame, before)


def test_numbers_that_numpy_turned_into_text_are_numbers_again():
    table = check_table(np.array([[1.5, "x"], [2.5, "y"]]))
    assert table[0].tolist() == [1.5, 2.5]
    assert table[1].tolist() == ["x", "y"]
    objects = np.array([[1.5, "x"], [None, "y"]], dtype=object)
    assert check_table(objects)[0].dtype == np.float64
