"""A run in one YAML file: its sections, inheritance, overrides, checks."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar

from sklearn.utils._param_validation import Interval, StrOptions

from finetune_tabpfn.runs._fields import (
    REQUIRED,
    Field,
    Schema,
    fields_of,
    settings_of_estimators,
)
from finetune_tabpfn.utils._text import unknown_name
from finetune_tabpfn.utils._yaml import read_yaml, to_yaml

Settings = dict[str, dict[str, Any]]  # by section and name


@dataclass(frozen=True)
class Data:
    """The tables of a run.

    Parameters
    ----------
    path : str
        The table to learn from: CSV, Parquet or JSON (records or lines).
    target : str
        Name of the column to predict.
    task : {"auto", "classification", "regression"}, default="auto"
        "auto": text, booleans and whole numbers of at most 20 values are classes.
    test_path : str, default=None
        Labelled rows to test base model and fine-tuned model on; nothing else sees them.
    test_fraction : float, default=0.2
        Without `test_path`, the share of the rows to keep for the test: stratified, whole groups,
        or the last rows where `validation` is "time". 0 keeps none.
    validation_path : str, default=None
        Labelled rows to validate on; without it, `finetuning.validation` says which are held out.
    missing_values : list, default=()
        Cells of the files that stand for missing ones, beside blank ones, such as [NA, "?"].
    drop : list of str, default=()
        Columns to leave out.
    group : str, default=None
        Column of groups that are never separated; no feature.
    weight : str, default=None
        Column of the rows' weights; no feature.
    """

    path: str
    target: str
    task: str = "auto"
    test_path: str | None = None
    test_fraction: float = 0.2
    validation_path: str | None = None
    missing_values: Sequence[Any] = ()
    drop: Sequence[str] = ()
    group: str | None = None
    weight: str | None = None

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "path": [str],
        "target": [str],
        "task": [StrOptions({"auto", "classification", "regression"})],
        "test_path": [str, None],
        "test_fraction": [Interval(Real, 0, 1, closed="left")],
        "validation_path": [str, None],
        "missing_values": [list],
        "drop": [list],
        "group": [str, None],
        "weight": [str, None],
    }


@dataclass(frozen=True)
class Output:
    """Where a run leaves its results.

    Parameters
    ----------
    folder : str, default="runs"
        A run writes into ``folder/experiment/<time>/`` and nowhere else.
    experiment : str, default=None
        None is the name of the configuration file.
    best_by : {"hold-out", "test"}, default="hold-out"
        Which score decides what the link `best` of the experiment points to. The test score stays
        an honest estimate only as long as nothing is chosen by it.
    """

    folder: str = "runs"
    experiment: str | None = None
    best_by: str = "hold-out"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "folder": [str],
        "experiment": [str, None],
        "best_by": [StrOptions({"hold-out", "test"})],
    }


@dataclass(frozen=True)
class Logging:
    """What a run tells while it goes on.

    Parameters
    ----------
    level : {"DEBUG", "INFO", "WARNING", "ERROR"}, default="WARNING"
        Of the messages on standard error; "INFO" is a line per evaluation.
    """

    level: str = "WARNING"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "level": [StrOptions({"DEBUG", "INFO", "WARNING", "ERROR"})],
    }


# where parameters of the estimators stand if not in "finetuning"; their folder is the run's own
SECTION_OF = {"base_model": "base_model", "loggers": "logging"}
LEFT_OUT = ("log_dir",)
INHERIT = "defaults"


@dataclass(frozen=True)
class RunConfig:
    """A run: what is learned from, how, and where the results go.

    Parameters
    ----------
    data : Data
    parameters : dict
        Of the estimator, all but `log_dir`.
    logging : Logging
    output : Output
        With the experiment's name.
    """

    data: Data
    parameters: Mapping[str, Any]
    logging: Logging
    output: Output

    def to_settings(self) -> Settings:
        """Return the whole configuration, defaults written out, tables by their full paths."""
        own = {"data": asdict(self.data), "logging": asdict(self.logging)}
        own["output"] = asdict(self.output)
        for name in ("drop", "missing_values"):
            own["data"][name] = list(own["data"][name])
        for name in ("path", "test_path", "validation_path"):
            if own["data"][name] is not None:
                own["data"][name] = str(Path(own["data"][name]).resolve())
        values = {section: {**self.parameters, **own.get(section, {})} for section in sections()}
        return {
            section: {name: values[section][name] for name in keys}
            for section, keys in sections().items()
        }

    def to_yaml(self) -> str:
        """Return `to_settings` as a file that `load_config` reads."""
        return to_yaml(self.to_settings())


@functools.cache
def sections() -> dict[str, dict[str, Field]]:
    """Return the keys of every section."""
    found: dict[str, dict[str, Field]] = {
        "data": fields_of("data", Data),
        "base_model": {},
        "finetuning": {},
        "logging": fields_of("logging", Logging),
        "output": fields_of("output", Output),
    }
    for name, key in settings_of_estimators("finetuning").items():
        section = SECTION_OF.get(name, "finetuning")
        if name not in LEFT_OUT:
            found[section][name] = replace(key, section=section)
    return found


def load_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """Read a run's configuration.

    Parameters
    ----------
    path : str or pathlib.Path
        A YAML file. Those that it names under ``defaults:``, from its own folder, are read
        before it; later ones override earlier ones and the file itself overrides them all.
    overrides : mapping, optional
        "section.name" to value, over what the files say.

    Raises
    ------
    ValueError
        For an unknown key, with the nearest that is known, or a value that is not permitted.
    """
    settings = _read(Path(path), ())
    for place, value in (overrides or {}).items():
        section, _, name = place.partition(".")
        _merge(settings, _checked({section: {name: value} if name else value}))
    for section, keys in sections().items():
        for name, key in keys.items():
            if key.default is REQUIRED and name not in settings.get(section, {}):
                raise ValueError(f"{path} lacks {key.path}: {key.description}")
    return _build(settings, experiment=Path(path).stem)


def json_schema() -> Schema:
    """Return the JSON Schema of a configuration file, for editors."""
    properties: dict[str, Schema] = {
        INHERIT: {
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
            "description": "Files whose settings this one inherits and overrides.",
        }
    }
    for section, keys in sections().items():
        inside = {name: key.schema() for name, key in keys.items()}
        properties[section] = {
            "type": ["object", "null"],
            "properties": inside,
            "additionalProperties": False,
        }
    short = properties["base_model"]
    properties["base_model"] = {"anyOf": [{"type": "string"}, short]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A run of finetune-tabpfn",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def _read(path: Path, readers: tuple[Path, ...]) -> Settings:
    """Return the settings of a file over those that it inherits."""
    if path.resolve() in readers:
        raise ValueError(f"{path} inherits from itself through {INHERIT}.")
    given = read_yaml(path)
    if not isinstance(given, dict):
        raise ValueError(f"{path} must hold the sections {', '.join(sections())}.")
    inherited = given.pop(INHERIT, None) or []
    files = [inherited] if isinstance(inherited, str) else inherited
    if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        raise ValueError(f"{path}: {INHERIT}={inherited!r} must be a file or a list of files.")
    settings: Settings = {}
    for file in files:
        _merge(settings, _read(path.parent / file, (*readers, path.resolve())))
    try:
        _merge(settings, _checked(given))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return settings


def _checked(given: Mapping[Any, Any]) -> Settings:
    """Return settings whose keys are known and whose values are permitted."""
    checked: Settings = {}
    for section, content in given.items():
        if section not in sections():
            raise ValueError(_misplaced("the file", section, sections()))
        if section == "base_model" and isinstance(content, str):
            content = {"base_model": content}  # the short form of the section's only key
        if not isinstance(content, (dict, type(None))):
            raise ValueError(f"{section}={content!r} must be a section: lines of `name: value`.")
        checked[section] = content or {}
        for name, value in checked[section].items():
            if name not in sections()[section]:
                raise ValueError(_misplaced(section, name, sections()[section]))
            sections()[section][name].check(value)
    return checked


def _misplaced(where: str, name: Any, known: Mapping[str, Any]) -> str:
    """Return the sentence for a key that does not stand where it is given."""
    if name in LEFT_OUT:
        return f"{where} holds {name!r}, but a run writes into its own folder: output.folder."
    homes = [section for section, keys in sections().items() if name in keys]
    if homes:
        return f"{where} holds {name!r}, which belongs to {homes[0]}: {homes[0]}.{name}."
    return unknown_name(f"{where} holds", name, known)


def _merge(settings: Settings, over: Settings) -> None:
    """Put settings over others, key by key."""
    for section, content in over.items():
        settings[section] = {**settings.get(section, {}), **content}


def _build(settings: Settings, experiment: str) -> RunConfig:
    """Return the configuration that settings stand for."""
    own = {
        section: {
            name: settings.get(section, {}).get(name, key.default) for name, key in keys.items()
        }
        for section, keys in sections().items()
    }
    parameters = {**own["base_model"], **own["finetuning"]}
    for name in own["logging"].keys() & SECTION_OF.keys():
        parameters[name] = own["logging"].pop(name)
    output = Output(**own["output"])
    output = replace(output, experiment=output.experiment or experiment)
    if Path(str(output.experiment)).name != output.experiment:
        raise ValueError(
            f"output.experiment={output.experiment!r} must be the name of a folder, without a path."
        )
    return RunConfig(Data(**own["data"]), parameters, Logging(**own["logging"]), output)
