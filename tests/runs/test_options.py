"""The estimators' parameters as options of the command line."""

import argparse
import ast
import inspect

import pytest

from finetune_tabpfn import FinetunedTabPFNClassifier, FinetunedTabPFNRegressor
from finetune_tabpfn.runs._fields import (
    NOT_TEXT,
    parameter_help,
    parse_value,
    settings_of_estimators,
)
from finetune_tabpfn.runs._options import add_parameters, chosen_parameters
from finetune_tabpfn.synthetic import make_table

NAMES = list(inspect.signature(FinetunedTabPFNClassifier).parameters)
OF_CLASSES = {"class_weight", "balanced_contexts"}


@pytest.mark.parametrize("estimator", [FinetunedTabPFNClassifier, FinetunedTabPFNRegressor])
def test_one_list_of_parameters(estimator):
    names = sorted(inspect.signature(estimator).parameters)
    assert set(NAMES) - set(names) == (
        set() if estimator is FinetunedTabPFNClassifier else OF_CLASSES
    )
    assert len(names) <= 26
    assert sorted(estimator().get_params(deep=False)) == names
    assert sorted(estimator._parameter_constraints) == names
    for name in names:
        assert f"\n    {name} : " in estimator.__doc__


def test_every_default_is_a_permitted_value():
    FinetunedTabPFNClassifier()._validate_params()


@pytest.mark.parametrize("name", NAMES)
def test_the_documented_default_is_the_default(name):
    default = inspect.signature(FinetunedTabPFNClassifier).parameters[name].default
    lines = FinetunedTabPFNClassifier.__doc__.splitlines()
    line = next(line for line in lines if line.startswith(f"    {name} : "))
    assert ast.literal_eval(line.rsplit("default=", 1)[1]) == default


def test_options_become_parameters():
    parser = argparse.ArgumentParser()
    add_parameters(parser, time_limit=5.0)
    arguments = parser.parse_args(["--learning-rate", "3e-5", "--categorical-features", "a,b"])
    chosen = chosen_parameters(arguments)
    assert set(chosen) == set(settings_of_estimators())
    assert set(chosen) > set(NAMES) - set(NOT_TEXT)
    assert {"ema_decay", "lora_rank", "resume"} <= set(chosen)
    assert chosen["learning_rate"] == 3e-5
    assert chosen["categorical_features"] == ["a", "b"]
    assert chosen["time_limit"] == 5.0
    assert chosen["patience"] == FinetunedTabPFNClassifier().patience


def test_options_of_a_function():
    parser = argparse.ArgumentParser()
    add_parameters(parser, make_table, "parameters of the table", n_rows=50)
    chosen = chosen_parameters(parser.parse_args(["--noise", "0.5"]), make_table)
    assert list(chosen) == list(inspect.signature(make_table).parameters)
    assert sorted(chosen) == sorted(parameter_help(make_table))
    assert chosen["n_rows"] == 50
    assert chosen["noise"] == 0.5
    assert "Standard deviation of the noise" in " ".join(parser.format_help().split())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("3e-5", 3e-5),
        ("true", True),
        ("False", False),
        ("none", None),
        ("auto", "auto"),
        ("0,2,5", [0, 2, 5]),
        ("age,", ["age"]),
        ('{"yes": 2, "1": 3}', {"yes": 2, "1": 3}),
        ("{yes: 2, 1: 3, 01: 4}", {"yes": 2, 1: 3, "01": 4}),
        ("cuda:0", "cuda:0"),
    ],
)
def test_values_from_text(text, value):
    assert parse_value(text) == value


@pytest.mark.parametrize(
    ("option", "text", "value"),
    [
        ("--checkpoint", "20240101", "20240101"),
        ("--log-dir", "a,b", "a,b"),
        ("--base-model", "3", "3"),
        ("--log-dir", "none", None),
        ("--categorical-features", "age", ["age"]),
        ("--loggers", "jsonl,plot", ["jsonl", "plot"]),
    ],
)
def test_an_option_is_read_as_what_the_parameter_takes(option, text, value):
    parser = argparse.ArgumentParser()
    add_parameters(parser)
    arguments = parser.parse_args([option, text])
    assert chosen_parameters(arguments)[option[2:].replace("-", "_")] == value


def test_what_cannot_be_read_is_said(capsys):
    parser = argparse.ArgumentParser()
    add_parameters(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--class-weight", "{yes: [2}"])
    assert "'{yes: [2}' cannot be read as YAML or JSON: expected" in capsys.readouterr().err
