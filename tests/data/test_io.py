"""Tables in files."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetune_tabpfn.data._io import (
    infer_task,
    read_table,
    split_target,
    warn_of_row_numbers,
    write_table,
)
from finetune_tabpfn.utils._separators import writing_of

FRAME = pd.DataFrame({"number": [1.5, np.nan, 3.0], "text": ["a", "b", "c"], "whole": [1, 2, 3]})


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet", "json", "jsonl"])
def test_what_is_written_is_read(ending, tmp_path):
    path = tmp_path / "folder" / f"table.{ending}"
    write_table(FRAME, path)
    pd.testing.assert_frame_equal(read_table(path), FRAME, check_dtype=False)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_json_with_a_record_per_line(tmp_path):
    path = tmp_path / "lines.json"
    path.write_text('{"a": 1, "b": "x"}\n{"a": 2, "b": "y"}\n')
    assert read_table(path).to_dict("list") == {"a": [1, 2], "b": ["x", "y"]}


def test_numbers_with_blank_cells_stay_numbers(tmp_path):
    path = tmp_path / "blanks.csv"
    path.write_text("total,name\n1.5,a\n ,b\n3,c\n")
    assert read_table(path)["total"].dtype == float


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.csv", b""),
        ("header.csv", b"a,b\n"),
        ("ragged.csv", b"a,b\n1,2\n1,2,3,4\n"),
        ("surplus.csv", b"a,b\n1,2,3\n4,5,6\n"),
        ("latin.csv", "größe,b\n1,2\n".encode("latin-1")),
        ("number.json", b"17"),
        ("nothing.json", b"[]"),
        ("broken.jsonl", b'{"a": 1}\n{"a":'),
        ("binary.csv", b"\xff\xfe\x00\x01a,b\n"),
        ("broken.parquet", b"PAR1 but no more"),
        ("broken.json", b'[{"a": 1}, {"a":'),
        ("table.xyz", b"a,b\n1,2\n"),
    ],
)
def test_files_that_are_not_what_they_say(name, content, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=name):
        read_table(path)


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    ending=st.sampled_from(["csv", "csv.gz", "parquet", "json", "jsonl"]),
    damage=st.sampled_from(["cut", "flip", "insert", "other"]),
    where=st.floats(0, 1),
    junk=st.binary(min_size=1, max_size=40) | st.text(min_size=1, max_size=40).map(str.encode),
)
def test_a_damaged_file_is_read_or_refused_in_one_sentence(tmp_path, ending, damage, where, junk):
    path = tmp_path / f"table.{ending}"
    write_table(FRAME, path)
    content = path.read_bytes()
    at = round(where * len(content))
    path.write_bytes(
        {
            "cut": content[:at],
            "flip": content[:at] + junk + content[at + len(junk) :],
            "insert": content[:at] + junk + content[at:],
            "other": junk,
        }[damage]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            table = read_table(path)
        except ValueError as error:
            assert "table." in str(error)
            assert "\n" not in str(error)
        else:
            assert len(table)
            assert all(isinstance(name, str) for name in table.columns)


COMMAS = pd.DataFrame(
    {"Größe": [1.5, 2.0, np.nan], "day": ["31.12.2024", "1.1.2025", "2.1.2025"], "n": [1, 2, 3]}
)


@pytest.mark.parametrize(
    ("name", "separator", "encoding"),
    [
        ("t.csv", ";", "utf-8"),
        ("t.csv", ";", "utf-8-sig"),
        ("t.csv", "|", "utf-8"),
        ("t.tsv", "\t", "utf-8"),
        ("t.csv", "\t", "utf-16"),
        ("t.csv.gz", ";", "utf-8"),
    ],
)
def test_a_csv_is_read_whatever_separates_it(name, separator, encoding, tmp_path):
    path, decimal = tmp_path / name, "," if separator == ";" else "."
    COMMAS.to_csv(path, sep=separator, decimal=decimal, encoding=encoding, index=False)
    pd.testing.assert_frame_equal(read_table(path), COMMAS)


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("note (a;b;c),x\nfoo,1\n", ["note (a;b;c)", "x"]),
        ('"a;b",x\n"c;d",1\n', ["a;b", "x"]),
        ('a,b\n"1\n2;3;4",5\n', ["a", "b"]),
        ("net, price;n\n1;2\n", ["net, price", "n"]),
        ("only\n1;2\n", ["only"]),
    ],
)
def test_what_separates_a_csv_divides_all_its_lines(text, columns, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(text)
    assert list(writing_of(path).columns) == columns


def test_a_decimal_comma_needs_semicolons_and_a_column_of_numbers(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a;b\n1,5;1,5\n2;x\n")
    table = read_table(path)
    assert table["a"].tolist() == [1.5, 2.0]
    assert table["b"].tolist() == ["1,5", "x"]
    path.write_text('a,b\n"1,5",1\nx,2\n')
    assert read_table(path)["a"].tolist() == ["1,5", "x"]


@pytest.mark.parametrize(
    "cells", [[*map(str, range(20)), "?"], ["1.234,50", "17,00"], ['"1,234"', '"2"']]
)
def test_numbers_that_are_read_as_text_are_said(cells, tmp_path):
    path = tmp_path / "t.csv"
    separator = "," if '"' in cells[0] else ";"
    path.write_text("\n".join(f"{cell}{separator}x" for cell in ["a", *cells]))
    with pytest.warns(
        UserWarning, match="numbers that are read as text because of some cells .* 'a'"
    ):
        read_table(path)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("t.csv", "größe,b\n1,2\n".encode("latin-1"), "its text is not UTF-8"),
        ("t.csv", b"a,b\n1,2\n1,2,3\n", r"line 3 has 3 cells, the first line names 2 column\(s\)"),
        ("t.csv", b"a,b\n1,2,3\n4,5,6\n", "more cells than its first line names columns"),
        ("t.json", COMMAS.to_json().encode(), 'pandas writes records with orient="records"'),
        ("t.xlsx", b"PK", "is a spreadsheet; save the sheet as CSV"),
    ],
)
def test_a_refused_file_is_refused_in_plain_words(name, content, reason, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        read_table(tmp_path / name)


def test_of_two_columns_of_one_name_the_second_gets_another(tmp_path):
    path = tmp_path / "twice.csv"
    path.write_text("a,a\n1,2\n")
    assert read_table(path).columns.tolist() == ["a", "a.1"]


def test_no_file():
    with pytest.raises(ValueError, match=r"nowhere\.csv is not a file"):
        read_table("nowhere.csv")


def test_the_target_column():
    X, y = split_target(FRAME, "whole")
    assert list(X.columns) == ["number", "text"]
    assert y.tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match=r"no column 'label' among 'number', 'text', 'whole'\."):
        split_target(FRAME, "label")
    with pytest.raises(ValueError, match="did you mean 'whole'"):
        split_target(FRAME, " Whole")


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["yes", "no"], "classification"),
        ([True, False], "classification"),
        ([0, 1, 1], "classification"),
        ([1.0, 2.0, np.nan], "classification"),
        (pd.Categorical([1.5, 2.5]), "classification"),
        ([0.5, 1.0], "regression"),
        (range(21), "regression"),
        (range(20), "classification"),
    ],
)
def test_the_task_that_a_target_suggests(values, task):
    assert infer_task(pd.Series(values)) == task


@pytest.mark.parametrize(
    ("column", "is_said"), [("Unnamed: 0", True), ("number", False)], ids=["no name", "a name"]
)
def test_a_column_that_counts_the_rows_without_a_name_is_said(column, is_said, tmp_path):
    table = pd.DataFrame({column: range(4), "y": list("abab")})
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        warn_of_row_numbers(table, "t.csv")
    assert ["The first column of t.csv has no name" in str(each.message) for each in said] == (
        [True] if is_said else []
    )


def test_a_tsv_is_written_and_read_with_tabs(tmp_path):
    table = pd.DataFrame({"a, b": ["x, y", "z, w"], "c": [1.5, 2.0]})
    write_table(table, tmp_path / "table.tsv")
    assert (tmp_path / "table.tsv").read_text().splitlines()[1] == "x, y\t1.5"
    pd.testing.assert_frame_equal(read_table(tmp_path / "table.tsv"), table, check_dtype=False)
    write_table(table[["a, b"]], tmp_path / "one.tsv")
    assert read_table(tmp_path / "one.tsv").columns.tolist() == ["a, b"]
