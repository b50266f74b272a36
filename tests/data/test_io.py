"""Tables in files."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetune_tabpfn.data._io import infer_task, read_table, split_target, write_table

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
    with pytest.raises(ValueError, match="no column 'label'; the columns are number, text, whole"):
        split_target(FRAME, "label")


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
