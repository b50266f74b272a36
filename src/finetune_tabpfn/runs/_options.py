"""Settings as text: the one list of parameters as command-line options, without importing torch.

The list itself is that of the estimators, whose import takes seconds. What a help text and the
reading of options need of it lies in options.json beside this module; `_options_file` makes it.
"""

from __future__ import annotations

import argparse
import functools
import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finetune_tabpfn.utils._groups import GROUPS
from finetune_tabpfn.utils._text import nearest

OPTIONS_FILE = Path(__file__).with_name("options.json")
# what to type for a type of JSON's
WORDS = {"integer": "INT", "number": "NUMBER", "string": "TEXT", "array": "A,B", "object": "JSON"}

TYPES = {
    "null": "null",
    "string": "text",
    "object": "a mapping",
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
}
BOUNDS = {
    "minimum": "from {:.12g}",
    "exclusiveMinimum": "above {:.12g}",
    "maximum": "up to {:.12g}",
    "exclusiveMaximum": "below {:.12g}",
}
WITHIN: dict[str, Callable[[Any, Any], bool]] = {
    "minimum": operator.ge,
    "exclusiveMinimum": operator.gt,
    "maximum": operator.le,
    "exclusiveMaximum": operator.lt,
}
KINDS: dict[str, Any] = {
    "null": type(None), "string": str, "object": dict, "array": list, "boolean": bool
}  # fmt: skip

# which settings most people need
BASIC = {
    "base_model", "time_limit", "max_steps", "learning_rate", "scoring", "validation",
    "n_estimators", "device", "random_state",
    "time_column", "id_column", "prediction_length", "freq",  # of forecasts
    "path", "target", "task", "test_path", "folder", "experiment",  # of a run
    "n_rows", "n_columns", "n_classes", "noise", "missing_share", "imbalance",  # of a table
}  # fmt: skip


@dataclass(frozen=True)
class Option:
    """A setting as text: what a command line asks for, and how it is read.

    Attributes
    ----------
    name : str
    description : str
    schema : dict
        JSON Schema of what it may be; empty where anything may.
    default : object
    is_required : bool
        A required one has no default.
    """

    name: str
    description: str
    schema: dict[str, Any] = field(default_factory=dict)
    default: Any = None
    is_required: bool = False

    @property
    def flag(self) -> str:
        """What stands on the command line."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def kinds(self) -> set[str]:
        """Types of JSON's; "one of" for a list of choices, "any" where anything may be."""
        return {_kind(part) for part in _parts(self.schema)}

    @property
    def choices(self) -> list[str]:
        """Words that are permitted, or examples of such words, besides whatever else is."""
        words: list[str] = []
        for part in _parts(self.schema):
            fixed = [part["const"]] if "const" in part else part.get("enum", [])
            words += map(str, fixed)
            words += ["true", "false"] if part.get("type") == "boolean" else []
            words += ["none"] if part.get("type") == "null" else []
        return [*self.schema.get("examples", []), *words]

    @property
    def metavar(self) -> str:
        """What to type: ``NUMBER|auto|none``."""
        kinds = [kind for kind in map(_kind, _parts(self.schema)) if kind in WORDS]
        if "examples" in self.schema:  # which say more
            kinds.remove("string")
        words = [WORDS[kind] for kind in kinds]
        return "|".join(dict.fromkeys([*words, *self.choices])) or "VALUE"


def _parts(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(schema.get("anyOf", [schema]))


def _kind(part: Mapping[str, Any]) -> str:
    return "one of" if "const" in part or "enum" in part else str(part.get("type", "any"))


class Described(str):
    """What an option does: in full, or what it comes to in its first sentence.

    Attributes
    ----------
    brief : str
    is_basic : bool
        Whether the short help shows it.
    """

    brief: str
    is_basic: bool

    def __new__(cls, text: str, is_basic: bool, default: str = "") -> Described:
        """Begin with the text, and end with the default in both."""
        whole = super().__new__(cls, (text + default).replace("%", "%%"))
        first = re.split(r"(?<=\.) (?=[A-Z\"`])", text, maxsplit=1)[0]
        whole.brief = (first + default).replace("%", "%%")
        whole.is_basic = is_basic
        return whole


@functools.cache
def _file() -> dict[str, Any]:
    return dict(json.loads(OPTIONS_FILE.read_text(encoding="utf-8")))


def _options(found: Mapping[str, Any]) -> dict[str, Option]:
    return {name: Option(name, **content) for name, content in found.items()}


def settings() -> dict[str, Option]:
    """Return every setting of the estimators, each by a name of its own."""
    return _options(_file()["estimators"])


def settings_of_forecasts() -> dict[str, Option]:
    """Return the settings of the forecaster that the estimators have not."""
    return _options(_file()["forecasts"])


def settings_of_studies() -> dict[str, Option]:
    """Return the settings of the estimators that the experiments of a study may have."""
    return {name: found for name, found in settings().items() if name in _file()["studies"]}


def settings_of_tables() -> dict[str, Option]:
    """Return the parameters of synthetic tables."""
    return _options(_file()["tables"])


def settings_of_runs() -> dict[str, dict[str, Option]]:
    """Return the keys of every section of a run's configuration."""
    return {section: _options(found) for section, found in _file()["runs"].items()}


def add_parameters(
    parser: argparse.ArgumentParser,
    options: Mapping[str, Option],
    title: str | None = None,
    **defaults: Any,
) -> None:
    """Add settings as command-line options.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    options : mapping of str to Option
    title : str, optional
        Of the group of options; without it they go into `GROUPS`.
    **defaults
        Other defaults than their own, by name.
    """
    for heading, names in _grouped(options, title):
        group = parser.add_argument_group(heading)
        for name in names:
            default = defaults.get(name, options[name].default)
            add_option(group, options[name], f" [{as_typed(default)}]", default)


def _grouped(
    options: Mapping[str, Option], title: str | None
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield headings and the names below each, those that most people need first."""
    if title is not None:
        yield title, tuple(sorted(options, key=lambda name: name not in BASIC))
        return
    for heading, names in GROUPS.items():
        yield heading, tuple(name for name in names if name in options)


def add_option(
    group: argparse._ActionsContainer,
    option: Option,
    addition: str,
    default: Any,
    flag: str | None = None,
) -> None:
    """Add an option, with an addition to its description.

    Parameters
    ----------
    group : argument group of argparse
    option : Option
    addition : str
    default : object
    flag : str, optional
        What it is called where other commands call the same thing so; its own name does as well.
    """

    def read(text: str) -> Any:
        try:
            return checked(option, text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    if flag is not None:
        group.add_argument(
            option.flag, dest=option.name, type=read, default=default, help=argparse.SUPPRESS
        )
    action = group.add_argument(
        flag or option.flag,
        dest=option.name,
        type=read,
        default=default,
        metavar=option.metavar,
        help=Described(option.description, option.name in BASIC, addition),
    )
    if option.choices:
        action.completer = lambda **_: option.choices  # type: ignore[attr-defined]


def chosen_parameters(
    arguments: argparse.Namespace, options: Mapping[str, Option]
) -> dict[str, Any]:
    """Return what parsed arguments say of some options."""
    return {name: getattr(arguments, name) for name in options}


def checked(option: Option, text: str) -> Any:
    """Read a value of the command line, which must be one that the option takes.

    Raises
    ------
    ValueError
        The sentence begins with "must be".
    """
    value = parse(option, text)
    if fits(value, option.schema):
        return value
    near = nearest(text, option.choices)
    hint = f"; did you mean {near}?" if near else ""
    words = in_words(option.schema, {**TYPES, "null": "none"})
    raise ValueError(f"must be {words}, not {text!r}{hint}")


def parse(option: Option, text: str) -> Any:
    """Read a value of the command line: as `parse_value` does, unless only text will do.

    Where only a list will do, a single value is a list of one; the words of a list that is
    empty by default, names of columns and of cells, stay as they are written.
    """
    kinds = option.kinds - {"null"}
    if kinds == {"string"}:
        may_be_none = option.default is None and not option.is_required
        return None if text.lower() == "none" and may_be_none else text
    if kinds == {"array"} and option.default == []:
        return [word.strip() for word in text.split(",") if word.strip()]
    value = parse_value(text)
    return [value] if kinds == {"array"} and isinstance(value, (str, int, float)) else value


def parse_value(text: str) -> Any:
    """Read a value: a number, true, false, none, braces as in YAML, a list with commas, or text."""
    if text.startswith("{"):
        from finetune_tabpfn.utils._yaml import yaml_value  # the library comes with an extra

        return yaml_value(text)
    if "," in text:
        return [parse_value(part) for part in text.split(",") if part]
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def in_words(schema: dict[str, Any], types: Mapping[str, str] = TYPES) -> str:
    """Say what meets a JSON Schema."""
    if "anyOf" in schema:
        return " or ".join(in_words(each, types) for each in schema["anyOf"])
    options = [schema["const"]] if "const" in schema else schema.get("enum")
    if options:
        return " or ".join(repr(option) for option in options)
    bounds = [words.format(schema[name]) for name, words in BOUNDS.items() if name in schema]
    return " ".join([types[schema["type"]], " and ".join(bounds)]).strip()


def fits(value: Any, schema: Mapping[str, Any]) -> bool:
    """Tell whether a value meets a JSON Schema, as far as options have one."""
    if "anyOf" in schema:
        return any(fits(value, part) for part in schema["anyOf"])
    if "const" in schema or "enum" in schema:
        return value in schema.get("enum", [schema.get("const")])
    kind = schema.get("type")
    if kind in ("integer", "number"):
        numbers = int if kind == "integer" else (int, float)
        is_one = isinstance(value, numbers) and not isinstance(value, bool)
        return is_one and all(
            is_within(value, schema[name]) for name, is_within in WITHIN.items() if name in schema
        )
    return kind not in KINDS or isinstance(value, KINDS[kind])


def as_typed(value: Any) -> str:
    """Return a default as one would type it."""
    if isinstance(value, (list, tuple)):
        return ",".join(map(as_typed, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
