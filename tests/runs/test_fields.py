"""What a key of a configuration file may hold."""

import pytest

from finetune_tabpfn.runs._config import checked, sections
from finetune_tabpfn.runs._fields import parse


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("data.target", "3", "3"),  # only text will do
        ("data.target", "a,b", "a,b"),
        ("data.target", "none", "none"),
        ("data.group", "none", None),
        ("data.drop", "age", ["age"]),  # only a list will do
        ("data.drop", "age,sex", ["age", "sex"]),
        ("data.test_fraction", "0.3", 0.3),
        ("finetuning.learning_rate", "auto", "auto"),
        ("finetuning.learning_rate", "none", None),
        ("finetuning.random_state", "0", 0),
        ("finetuning.categorical_features", "2", [2]),
        ("finetuning.class_weight", '{"yes": 2}', {"yes": 2}),
        ("base_model.base_model", "v2.5", "v2.5"),
        ("logging.loggers", "jsonl,plot", ["jsonl", "plot"]),
    ],
)
def test_values_of_the_command_line(path, text, value):
    section, name = path.split(".")
    assert parse(sections()[section][name], text) == value


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("finetuning.learning_rate", 0, "a number above 0 and below 1 or 'auto' or null"),
        ("finetuning.max_steps", "many", "a whole number from 0"),
        ("finetuning.balanced_contexts", "yes", "true or false"),
        ("finetuning.class_weight", "even", "a mapping or 'balanced' or null"),
        ("finetuning.random_state", -1, "a whole number from 0 and up to 4294967295 or null"),
        ("finetuning.resume", "maybe", "true or false or 'auto'"),
        ("data.target", 3, "text"),
    ],
)
def test_what_would_do_is_said(path, value, words):
    section, name = path.split(".")
    with pytest.raises(ValueError) as error:
        checked({section: {name: value}})
    assert str(error.value) == f"{path}={value!r} must be {words}."
