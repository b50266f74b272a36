"""What a cell means is decided in `fit`, never by the cells beside it."""

import datetime
import pickle

import numpy as np
import pandas as pd
import pytest

from finetune_tabpfn.data._columns import tidy_columns
from finetune_tabpfn.data._dates import order_of, read_dates, read_timespans
from finetune_tabpfn.data._kinds import Columns

DAYS = pd.to_datetime(["1970-01-02 00:00", "2020-01-01 12:00", None])


def learn(cells, **options):
    return Columns.of(pd.DataFrame({"t": pd.Series(cells, **options)}))


def kind(cells, **options):
    return learn(cells, **options).columns[0].kind


def read(columns, cells, **options):
    return columns.read(pd.DataFrame({"t": pd.Series(cells, **options)}))["t"]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([1, 2, None], "numbers"),
        (pd.array([1, None], dtype="Int64"), "numbers"),
        (pd.Categorical([3, 1, None]), "numbers"),
        ([True, False], "booleans"),
        (pd.array([True, None], dtype="boolean"), "booleans"),
        (DAYS, "dates"),
        (DAYS.tz_localize("Europe/Berlin"), "dates"),
        (DAYS.to_period("D"), "dates"),
        (["2024-12-31", None], "dates"),
        (pd.to_timedelta([1, None], unit="h"), "timespans"),
        (["1 days 02:00:00", "P0DT1H0M0S", None], "timespans"),
        (["02:00:00", "26:00"], "text"),
        (["a", "7", None], "text"),
        (pd.Categorical(["a", None]), "text"),
        (pd.Categorical(["2024-12-31"]), "text"),
        (["2024-12-31", "soon"], "text"),
        ([None, None], "nothing"),
        ([np.nan, np.nan], "nothing"),
    ],
)
def test_kinds(cells, expected):
    assert kind(cells) == expected


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([datetime.date(2024, 1, 2)], "dates"),
        ([datetime.datetime(2024, 1, 2, 3)], "dates"),
        ([datetime.datetime(2024, 1, 2, 3, tzinfo=datetime.timezone.utc)], "dates"),
        ([datetime.timedelta(hours=3)], "timespans"),
        ([1, None], "numbers"),
        ([True, None], "booleans"),
        (["a", None], "text"),
    ],
)
def test_types_of_pyarrow(cells, expected):
    pa = pytest.importorskip("pyarrow")
    column = pd.Series(cells, dtype=pd.ArrowDtype(pa.array(cells).type))
    tidy = tidy_columns(pd.DataFrame({"t": column}))
    columns = Columns.of(tidy)
    assert columns.columns[0].kind == expected
    assert read(columns, column).iloc[0] == tidy["t"].iloc[0]


def test_text_is_turned_back_exactly():
    columns = learn(["7", "8", "009", "1e3", "A", "true"])
    assert read(columns, [7, 8, 9, 1000]).tolist() == ["7", "8", "009", "1e3"]
    assert read(columns, [7.0, None]).tolist()[0] == "7"
    assert read(columns, pd.Categorical([8, 9])).tolist() == ["8", "009"]
    assert read(columns, [True, 8], dtype=object).tolist() == ["true", "8"]
    assert read(columns, [2.5, 10.0]).tolist() == ["2.5", "10"]
    assert read(learn(["07", "007", "A"]), [7]).tolist() == ["7"]  # nobody could tell which


@pytest.mark.parametrize("dtype", ["object", "str", "string", "category"])
@pytest.mark.parametrize("missing", [np.nan, None, pd.NA])
def test_missing_text_stays_text(dtype, missing):
    columns = learn(["a", "b"], dtype=dtype)
    for cells in (
        pd.Series([missing], dtype=object),
        pd.Series([np.nan]),
        pd.Categorical([np.nan]),
        pd.Series([None], dtype="Int64"),
    ):
        column = read(columns, cells)
        assert column.isna().all()
        assert not pd.api.types.is_numeric_dtype(column.dtype)


def test_numbers_that_are_written_as_text_are_numbers():
    assert read(learn([1.5, 2]), [" 3", "1e3", None]).tolist()[:2] == [3.0, 1000.0]
    assert read(learn([True, False]), ["True", "false", "1", None]).tolist()[:3] == [1.0, 0.0, 1.0]
    for odd in ("n/a", "nan", "True", "1_000"):
        with pytest.raises(ValueError, match=f"X has '{odd}' in column 't', which held numbers"):
            read(learn([1.5, 2]), ["3", odd])
    with pytest.raises(ValueError, match=r"X has 'yes' in .* held booleans .*\(true, false\)"):
        read(learn([True, False]), ["yes"])


def test_the_same_number_is_read_whatever_stands_beside_it():
    cells = ["18446744073709551615", "-1", "0.1", "1e400"]
    columns = learn([1.5, 2])
    together = read(columns, cells[:3]).tolist()
    assert together == [read(columns, [cell]).iloc[0] for cell in cells[:3]]
    with pytest.raises(ValueError, match="'1e400'"):
        read(columns, cells)


@pytest.mark.parametrize(
    ("cells", "order", "guess"),
    [
        (["2024-01-05", "2024/1/7 12:30"], "month first", False),
        (["13/04/2024", "03/04/2024"], "day first", False),
        (["04-13-2024", "03-04-2024"], "month first", False),
        (["03/04/2024", "2024-01-05"], "month first", True),
        (["3.4.2024 1:05"], "day first", False),
    ],
)
def test_the_order_of_day_and_month(cells, order, guess):
    assert order_of(pd.Series(cells)) == (order, guess)


@pytest.mark.parametrize(
    "cells",
    [
        ["13/04/2024", "04/13/2024"],
        ["2024-02-30"],
        ["20240101"],
        ["2024"],
        ["1.2"],
        ["2024-01-01", "2024-01-01T10:00Z"],
        ["04.13.2024"],
    ],
)
def test_text_that_is_no_dates(cells):
    assert order_of(pd.Series(cells)) is None


def test_dates_are_read_as_they_were_in_fit():
    day_first = learn(["13/04/2024", "03/04/2024"])
    assert read(day_first, ["03/04/2024"]).iloc[0] == pd.Timestamp("2024-04-03")
    with pytest.warns(UserWarning, match="month is taken to come first") as said:
        month_first = learn(["03/04/2024", "05/06/2024"])
    assert len(said) == 1
    assert read(month_first, ["03/04/2024"]).iloc[0] == pd.Timestamp("2024-03-04")
    with pytest.raises(ValueError, match="X has '13/04/2024' in column 't', which held dates"):
        read(month_first, ["13/04/2024"])
    parsed = learn(DAYS)
    assert read(parsed, ["2020-02-03T01:00:00.000", None]).iloc[0] == pd.Timestamp("2020-02-03 01")
    assert read(parsed, [datetime.date(2020, 2, 3)]).iloc[0] == pd.Timestamp("2020-02-03")
    assert read(parsed, [np.nan]).isna().all()
    with pytest.raises(ValueError, match="X has '03/04/2024' in column 't', which held dates"):
        read(parsed, ["03/04/2024"])


def test_dates_of_a_time_zone():
    berlin = learn(DAYS.tz_localize("Europe/Berlin"))
    column = read(berlin, ["2020-01-01T11:00:00.000Z", "2020-01-01 12:00:00+01:00", None])
    assert str(column.dt.tz) == "Europe/Berlin"
    assert column.iloc[0] == column.iloc[1] == DAYS.tz_localize("Europe/Berlin")[1]
    for cells in (["2020-01-01 12:00"], DAYS):
        with pytest.raises(ValueError, match=r"'t'.*(held dates|no time zone)"):
            read(berlin, cells)
    with pytest.raises(ValueError, match="a time zone, other than the dates in fit"):
        read(learn(DAYS), DAYS.tz_localize("UTC"))


@pytest.mark.parametrize(
    ("fitted", "rows", "message"),
    [
        (DAYS, [19000, None], "X has 19000.0 in column 't', which held dates in fit"),
        (DAYS, ["19000"], "X has '19000' in column 't', which held dates in fit"),
        (["2024-12-31"], [20241231], "X has 20241231 in column 't', which held dates in fit"),
        (pd.to_timedelta([1], unit="h"), [3600], "X has 3600 in .* held timespans in fit"),
        (pd.to_timedelta([1], unit="h"), ["3600"], "X has '3600' in .* held timespans in fit"),
        ([1.5], DAYS[:1], "X has Timestamp.* in column 't', which held numbers in fit"),
        (["a"], DAYS[:1], "X has Timestamp.* in column 't', which held text in fit"),
        ([1.5], [np.inf], "Column 't' of X cannot be used: it contains infinity"),
        (["a"], [[1, 2]], "Column 't' of X cannot be used: it holds a list"),
        ([1.5], [1j], "Column 't' of X cannot be used: it holds complex numbers"),
    ],
)
def test_what_is_something_else_is_refused_by_name(fitted, rows, message):
    with pytest.raises(ValueError, match=message):
        read(learn(fitted), rows)


def test_timespans_as_text():
    spans = pd.Series(["1 days 02:00:00", "P1DT2H", "26:00:00", None, "5", "1.5", "x"])
    assert (read_timespans(spans)[:3] == pd.Timedelta(hours=26)).all()
    assert read_timespans(spans)[3:].isna().all()
    columns = learn(pd.to_timedelta([1], unit="h"))
    assert read(columns, [datetime.timedelta(hours=26)], dtype=object).iloc[0].days == 1
    assert read(columns, [np.nan]).dtype.kind == "m"


def test_a_table_that_is_fine_is_not_copied():
    frame = pd.DataFrame(
        {"a": [1.0, 2.0], "b": ["x", "y"], "c": pd.Categorical(["u", "v"]), "d": DAYS[:2]}
    )
    assert Columns.of(frame).read(frame) is frame
    array = np.ones((2, 3), dtype=np.float32)
    assert Columns.of(array).read(array) is array


def test_the_users_table_is_not_changed():
    frame = pd.DataFrame({"t": [7.0, np.nan]})
    before = frame.copy()
    learn(["7", "A"]).read(frame)
    pd.testing.assert_frame_equal(frame, before)


def test_columns_survive_a_pickle():
    columns = Columns.of(pd.DataFrame({"a": ["07", "A"], "b": DAYS[:2].tz_localize("UTC")}))
    again = pickle.loads(pickle.dumps(columns))
    assert again == columns
    assert again.names_of_text == ["a", "b"]


def test_what_is_no_date_is_missing():
    dates = read_dates(pd.Series(["2024-01-01", "x", None]), None, zoned=False)
    assert dates.isna().tolist() == [False, True, True]
