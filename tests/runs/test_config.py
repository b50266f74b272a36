"""A run in one YAML file: sections, inheritance, overrides, checks, the schema for editors."""

import json
import re
import shutil
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from packaging.version import Version
from pydantic import VERSION

from finetune_tabpfn import FinetunedTabPFNClassifier
from finetune_tabpfn._estimators import new_estimator
from finetune_tabpfn._nested import flat
from finetune_tabpfn.runs._config import (
    LEFT_OUT,
    checked,
    json_schema,
    load_config,
    sections,
)
from finetune_tabpfn.runs._fields import settings_of_estimators
from finetune_tabpfn.utils._text import to_json
from finetune_tabpfn.utils._yaml import read_yaml

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
FIELDS = [
    pytest.param(section, name, field, id=f"{section}.{name}")
    for section, fields in sections().items()
    for name, field in fields.items()
]
SMALL = "data: {path: a.csv, target: y}\n"


def write(folder, text, name="a.yaml"):
    (folder / name).write_text(text)
    return folder / name


def test_every_parameter_of_the_estimators_has_one_place():
    names = [name for section in ("base_model", "finetuning") for name in sections()[section]]
    names += [name for name in sections()["logging"] if name in settings_of_estimators()]
    assert sorted(names) == sorted(settings_of_estimators().keys() - {*LEFT_OUT})


@pytest.mark.parametrize(("section", "name", "field"), FIELDS)
def test_every_key_is_described_and_its_default_permitted(section, name, field):
    assert field.description
    if not field.is_required():
        checked({section: {name: field.default}})


def test_the_smallest_file(tmp_path):
    config = load_config(write(tmp_path, SMALL, "shop.yaml"))
    assert (config.data.path, config.data.target) == ("a.csv", "y")
    assert config.output.experiment == "shop"
    defaults = flat(FinetunedTabPFNClassifier().get_params(deep=False))
    assert all(defaults[name] == value for name, value in config.parameters.items())
    new_estimator("classification", config.parameters)._validate_params()


def test_files_inherit_key_by_key(tmp_path):
    (tmp_path / "parts").mkdir()
    write(
        tmp_path / "parts",
        "finetuning: {patience: 3, batch_size: 4}\nbase_model: mini\n",
        "one.yaml",
    )
    write(tmp_path / "parts", "defaults: one.yaml\nfinetuning: {batch_size: 8}\n", "two.yaml")
    write(tmp_path, "finetuning: {patience: 5, max_steps: 7}\n", "three.yaml")
    path = write(
        tmp_path,
        SMALL + "defaults: [parts/two.yaml, three.yaml]\nfinetuning: {max_steps: 9}\n",
    )
    chosen = load_config(path).parameters
    names = ("base_model", "batch_size", "patience", "max_steps")
    assert [chosen[name] for name in names] == ["mini", 8, 5, 9]


def test_overrides_come_last(tmp_path):
    path = write(tmp_path, SMALL + "finetuning: {learning_rate: 3e-5}\n")
    assert load_config(path).parameters["learning_rate"] == 3e-5
    over = {"finetuning.learning_rate": 1e-4, "base_model": "v2", "data.target": "z"}
    config = load_config(path, over)
    assert config.parameters["learning_rate"] == 1e-4
    assert config.parameters["base_model"] == "v2"
    assert config.data.target == "z"


def test_the_resolved_configuration_is_a_configuration(tmp_path):
    text = SMALL + "base_model: mini\nlogging: {loggers: [jsonl], level: INFO}\noutput:\n"
    text += "finetuning: {class_weight: {yes: 2, no: 1.5}, validation: 0.3, learning_rate: 1e-5}\n"
    config = load_config(write(tmp_path, text, "shop.yaml"))
    again = load_config(write(tmp_path, config.to_yaml(), "again.yaml"))
    assert again.to_settings() == config.to_settings()
    assert again.output.experiment == "shop"
    assert again.data.path == str(Path("a.csv").resolve())
    assert again.parameters["class_weight"] == {"yes": 2, "no": 1.5}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("finetuning: {lerning_rate: 1}", "which is unknown; did you mean 'learning_rate'?"),
        ("finetuning: {x: 1}", "a.yaml: finetuning holds 'x', which is unknown; known are"),
        ("finetuning: {1: 2}", "a.yaml: finetuning holds '1', which is unknown; known are"),
        ("finetunig: {}", "did you mean 'finetuning'?"),
        ("data: {learning_rate: 1e-5}", "belongs to finetuning: finetuning.learning_rate"),
        ("learning_rate: 1e-5", "belongs to finetuning: finetuning.learning_rate"),
        ("finetuning: {base_model: mini}", "belongs to base_model: base_model.base_model"),
        ("finetuning: {log_dir: x}", "a run writes into its own folder: output.folder"),
        ("finetuning: {callbacks: []}", "finetuning holds 'callbacks', which is unknown"),
        ("finetuning: {learning_rate: fast}", "above 0 and below 1 or 'auto' or null"),
        ("finetuning: {max_steps: 1.5}", "finetuning.max_steps=1.5 must be a whole number from 0"),
        ("finetuning: {max_steps: true}", "finetuning.max_steps=True must be a whole number"),
        ("finetuning: {balanced_contexts: 1}", "balanced_contexts=1 must be true or false"),
        ("finetuning: {time_limit: none}", "time_limit='none' must be a number above 0 or null"),
        ("finetuning: {precision: fp64}", "must be 'auto' or 'bf16' or 'fp16' or 'fp32'"),
        ("data: {drop: name}", "data.drop='name' must be a list"),
        ("data: {task: binary}", "data.task='binary' must be"),
        ("finetuning: 3", "finetuning=3 must be a section"),
        ("data: churn.csv", "indented, such as `  path: churn.csv`."),
        ("base_model: [mini]", "base_model=['mini'] must be a section"),
        ("defaults: 3", "defaults=3 must be a file or a list of files"),
        ("defaults: no.yaml", "no.yaml cannot be read"),
        ("defaults: a.yaml", "a.yaml inherits from itself"),
        ("output: {experiment: ../up}", "must be the name of a folder"),
        ("", "must hold the sections data, base_model"),
        ("base_model: mini", "lacks data.path: The table to learn from"),
    ],
)  # fmt: skip
def test_wrong_files_are_one_sentence(text, message, tmp_path):
    path = write(tmp_path, text + "\n")
    over = {} if "lacks" in message else {"data.path": "a.csv", "data.target": "y"}
    with pytest.raises(ValueError) as error:
        load_config(path, over)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_shipped_file_loads_and_meets_the_schema(path):
    config = load_config(path)
    new_estimator("classification", config.parameters)._validate_params()
    Draft202012Validator(json_schema()).validate(read_yaml(path))


@pytest.mark.skipif(
    Version(VERSION) < Version("2.11"), reason="pydantic says additionalProperties since 2.11"
)
def test_the_schema_in_the_docs_is_up_to_date():
    """`finetune-tabpfn schema > docs/run.schema.json` renews it."""
    written = json.loads((ROOT / "docs" / "run.schema.json").read_text())
    assert written == json.loads(to_json(json_schema()))


def test_the_schema_accepts_and_refuses_what_loading_does(tmp_path):
    Draft202012Validator.check_schema(json_schema())
    validator = Draft202012Validator(json_schema())
    assert validator.is_valid(load_config(write(tmp_path, SMALL)).to_settings())
    for short in ({"base_model": "mini"}, {"output": None}, {"defaults": "other.yaml"}):
        assert validator.is_valid(short)
    for wrong in (
        {"finetuning": {"lerning_rate": 1}},
        {"finetuning": {"learning_rate": 2}},
        {"finetuning": {"max_steps": 1.5}},
        {"data": {"task": "binary"}},
        {"finetunig": {}},
    ):
        assert not validator.is_valid(wrong)


def test_the_files_in_the_docs_load(tmp_path):
    text = (ROOT / "docs" / "configuration.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", text, flags=re.S)
    assert len(blocks) >= 3
    for example in EXAMPLES:
        shutil.copy(example, tmp_path)
    for block in blocks:
        load_config(write(tmp_path, block), {"data.path": "a.csv", "data.target": "y"})
