"""YAML and JSON as people mean them."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from finetune_tabpfn.utils._text import to_json
from finetune_tabpfn.utils._yaml import read_yaml, to_yaml


def write(folder, text):
    (folder / "a.yaml").write_text(text, encoding="utf-8")
    return folder / "a.yaml"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-5", 3e-5),
        ("1.5", 1.5),
        (".5", 0.5),
        ("-2", -2),
        ("true", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("yes", "yes"),
        ("off", "off"),
        ("007", "007"),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("v2.5", "v2.5"),
        ("[1, a, 2e3]", [1, "a", 2000.0]),
        ("{yes: 1, no: 2}", {"yes": 1, "no": 2}),
    ],
)
def test_scalars(text, value, tmp_path):
    assert read_yaml(write(tmp_path, f"key: {text}\n")) == {"key": value}


@pytest.mark.parametrize(
    "value", ["3e-5", "yes", "true", "12", "null", "", "x: y", 3e-5, None, [1]]
)
def test_what_is_written_is_read_back(value, tmp_path):
    assert read_yaml(write(tmp_path, to_yaml({"key": value}))) == {"key": value}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "the key 'a' stands twice"),
        ("a: [1\nb: 2\n", r"cannot be read as YAML: .*\(line 2\)"),
        ("a: !!python/object:os.system {}\n", "cannot be read as YAML"),
    ],
)
def test_what_is_no_yaml(text, message, tmp_path):
    with pytest.raises(ValueError, match=message) as error:
        read_yaml(write(tmp_path, text))
    assert "\n" not in str(error.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(ValueError, match=r"no\.yaml cannot be read: No such file"):
        read_yaml(tmp_path / "no.yaml")


def test_json_is_what_the_standard_allows():
    made = {"a": math.nan, "b": np.float64(1), "c": np.arange(2), "d": Path("x"), 3: (math.inf,)}
    assert json.loads(to_json(made)) == {"a": None, "b": 1.0, "c": [0, 1], "d": "x", "3": [None]}
