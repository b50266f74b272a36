"""The estimators' parameters as options of the command line."""

import argparse
import ast
import inspect

import pytest
from packaging.version import Version
from pydantic import VERSION

from finetune_tabpfn import FinetunedTabPFNClassifier, FinetunedTabPFNRegressor
from finetune_tabpfn.runs import _options_file
from finetune_tabpfn.runs._fields import NOT_TEXT, parameter_help
from finetune_tabpfn.runs._options import (
    BASIC,
    GROUPS,
    OPTIONS_FILE,
    add_parameters,
    chosen_parameters,
    parse_value,
    settings,
    settings_of_forecasts,
    settings_of_runs,
    settings_of_tables,
)
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


@pytest.mark.skipif(
    Version(VERSION) < Version("2.11"), reason="pydantic says additionalProperties since 2.11"
)
def test_the_file_of_the_options_says_what_the_parameters_are():
    """`python -m finetune_tabpfn.runs._options_file` writes it again."""
    assert OPTIONS_FILE.read_text(encoding="utf-8") == _options_file.made()


def test_every_setting_stands_in_one_group():
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(settings())


def test_what_the_short_help_shows_exists():
    sections = [settings_of_forecasts(), settings_of_tables(), *settings_of_runs().values()]
    assert set(settings()).union(*sections) >= BASIC


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("learning_rate", "NUMBER|auto|none"),
        ("max_steps", "INT"),
        ("fit_mode", "fit_preprocessors|fit_with_cache"),
        ("resume", "true|false|auto"),
        ("class_weight", "JSON|balanced|none"),
    ],
)
def test_what_to_type_is_said(name, words):
    assert settings()[name].metavar == words


def test_options_become_parameters():
    parser = argparse.ArgumentParser()
    add_parameters(parser, settings(), time_limit=5.0)
    arguments = parser.parse_args(["--learning-rate", "3e-5", "--categorical-features", "a,b"])
    chosen = chosen_parameters(arguments, settings())
    assert set(chosen) == set(settings())
    assert set(chosen) > set(NAMES) - set(NOT_TEXT)
    assert {"ema_decay", "lora_rank", "resume"} <= set(chosen)
    assert chosen["learning_rate"] == 3e-5
    assert chosen["categorical_features"] == ["a", "b"]
    assert chosen["time_limit"] == 5.0
    assert chosen["patience"] == FinetunedTabPFNClassifier().patience


def test_options_of_a_function():
    parser = argparse.ArgumentParser()
    table = settings_of_tables()
    add_parameters(parser, table, "parameters of the table", n_rows=50)
    chosen = chosen_parameters(parser.parse_args(["--noise", "0.5"]), table)
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
    add_parameters(parser, settings())
    arguments = parser.parse_args([option, text])
    assert chosen_parameters(arguments, settings())[option[2:].replace("-", "_")] == value


def test_what_cannot_be_read_is_said(capsys):
    parser = argparse.ArgumentParser()
    add_parameters(parser, settings())
    with pytest.raises(SystemExit):
        parser.parse_args(["--class-weight", "{yes: [2}"])
    assert "'{yes: [2}' cannot be read as YAML or JSON: expected" in capsys.readouterr().err
