"""What a key of a configuration file may hold: checks in plain words, JSON Schema for editors.

Both are read off the one list of parameters: names, defaults, permitted values, descriptions.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any

from sklearn.utils._param_validation import Interval, StrOptions

from finetune_tabpfn._estimators import FinetunedTabPFNClassifier
from finetune_tabpfn._nested import NESTED
from finetune_tabpfn.utils._yaml import yaml_value

# objects of Python, what the program itself decides, and what has a name for each setting
NOT_TEXT = ("callbacks", "verbose", "training")
REQUIRED = inspect.Parameter.empty
Schema = dict[str, Any]

# constraints in scikit-learn's form that text can meet; a callable, say, is not among them
PLAIN: dict[Any, Schema] = {
    None: {"type": "null"},
    str: {"type": "string"},
    Path: {"type": "string"},
    dict: {"type": "object"},
    list: {"type": "array"},
    "array-like": {"type": "array"},
    "boolean": {"type": "boolean"},
    "random_state": {"type": ["integer", "null"], "minimum": 0, "maximum": 2**32 - 1},
}
TYPES: dict[str, tuple[type, str]] = {
    "null": (type(None), "null"),
    "string": (str, "text"),
    "object": (dict, "a mapping"),
    "array": (list, "a list"),
    "boolean": (bool, "true or false"),
    "integer": (int, "a whole number"),
    "number": (int | float, "a number"),  # type: ignore[dict-item]
}
BOUNDS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "minimum": (lambda value, bound: value >= bound, "from {}"),
    "exclusiveMinimum": (lambda value, bound: value > bound, "above {}"),
    "maximum": (lambda value, bound: value <= bound, "up to {}"),
    "exclusiveMaximum": (lambda value, bound: value < bound, "below {}"),
}


@dataclass(frozen=True)
class Field:
    """One key of a configuration file.

    Parameters
    ----------
    section, name : str
    default : object
        `REQUIRED` where there is none.
    schemas : tuple of dict
        JSON Schemas, one of which a value must meet; anything goes where there is none.
    description : str
    """

    section: str
    name: str
    default: Any
    schemas: tuple[Schema, ...]
    description: str

    @property
    def path(self) -> str:
        """Where it stands, such as "finetuning.learning_rate"."""
        return f"{self.section}.{self.name}"

    def check(self, value: Any) -> None:
        """Raise, in one sentence, for a value that is not permitted."""
        if self.schemas and not any(meets(value, schema) for schema in self.schemas):
            words = list(dict.fromkeys(in_words(schema) for schema in self.schemas))
            raise ValueError(f"{self.path}={value!r} must be {' or '.join(words)}.")

    def parse(self, text: str) -> Any:
        """Read a value of the command line: as `parse_value` does, unless only text will do.

        Where only a list will do, a single value is a list of one; the words of a list that is
        empty by default, names of columns and of cells, stay as they are written.
        """
        kinds = {kind for schema in self.schemas for kind in kinds_of(schema)} - {"null"}
        if kinds == {"string"}:
            return None if text.lower() == "none" and self.default is None else text
        if kinds == {"array"} and self.default == ():
            return [word.strip() for word in text.split(",") if word.strip()]
        value = parse_value(text)
        return [value] if kinds == {"array"} and isinstance(value, (str, int, float)) else value

    def schema(self) -> Schema:
        """Return the JSON Schema of its values, for an editor."""
        several = {"anyOf": list(self.schemas)} if self.schemas else {}
        allowed = self.schemas[0] if len(self.schemas) == 1 else several
        default = {} if self.default is REQUIRED else {"default": self.default}
        return {**allowed, **default, "description": self.description}


def fields_of(section: str, of: Callable[..., Any]) -> dict[str, Field]:
    """Return the keys that stand for the parameters of a class or function.

    Parameters
    ----------
    section : str
    of : callable
        With a signature and a numpydoc docstring; scikit-learn's `_parameter_constraints` say what
        a value may be, if there are any.
    """
    helps = parameter_help(of)
    constraints = getattr(of, "_parameter_constraints", {})
    return {
        name: Field(
            section,
            name,
            parameter.default,
            _schemas(constraints.get(name, "no_validation")),
            helps[name],
        )
        for name, parameter in parameters(of).items()
    }


@functools.cache
def settings_of_estimators(section: str = "") -> dict[str, Field]:
    """Return the keys for every setting of the estimators, each by a name of its own."""
    found = fields_of(section, FinetunedTabPFNClassifier)
    for parameter, (kind, names) in NESTED.items():
        inner = fields_of(section, kind)
        what = "" if parameter == "training" else f"Of `{parameter}`: "
        for short, name in names.items():
            description = f"{what}{inner[short].description}"
            found[name] = replace(inner[short], name=name, description=description)
    return found


def parameters(
    of: Callable[..., Any],
) -> dict[str, inspect.Parameter]:
    """Return the parameters that can be written as text."""
    return {
        name: parameter
        for name, parameter in inspect.signature(of).parameters.items()
        if name not in NOT_TEXT
    }


def parameter_help(of: Callable[..., Any]) -> dict[str, str]:
    """Return the descriptions of the parameters, from the numpydoc docstring."""
    _, section = (inspect.getdoc(of) or "").split("Parameters\n----------\n")
    helps = {}
    for block in re.split(r"\n(?=\w)", section.split("\n\n")[0]):
        head, *lines = block.splitlines()
        helps[head.split(" : ")[0]] = " ".join(line.strip() for line in lines)
    return helps


def parse_value(text: str) -> Any:
    """Read a value: a number, true, false, none, braces as in YAML, a list with commas, or text."""
    if text.startswith("{"):
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


def kinds_of(schema: Schema) -> list[str]:
    """Return JSON's names of the types that a schema takes."""
    kinds = schema.get("type", "choice")
    return kinds if isinstance(kinds, list) else [kinds]


def meets(value: Any, schema: Schema) -> bool:
    """Tell whether a value meets a schema of `PLAIN`, of a choice or of an interval."""
    if "enum" in schema:
        return isinstance(value, str) and value in schema["enum"]
    kinds = kinds_of(schema)
    if isinstance(value, bool):
        return "boolean" in kinds
    if value is None:
        return "null" in kinds
    return any(isinstance(value, TYPES[kind][0]) for kind in kinds) and all(
        holds(value, schema[name]) for name, (holds, _) in BOUNDS.items() if name in schema
    )


def in_words(schema: Schema) -> str:
    """Say what meets a schema."""
    if "enum" in schema:
        return " or ".join(repr(option) for option in schema["enum"])
    kinds = kinds_of(schema)
    bounds = [words.format(schema[name]) for name, (_, words) in BOUNDS.items() if name in schema]
    first = " ".join([TYPES[kinds[0]][1], " and ".join(bounds)]).strip()
    return " or ".join([first, *(TYPES[kind][1] for kind in kinds[1:])])


def _schemas(constraints: Any) -> tuple[Schema, ...]:
    """Return the schemas of a parameter's constraints."""
    if constraints == "no_validation":
        return ()
    found = [_schema(constraint) for constraint in constraints]
    return tuple({str(schema): schema for schema in found if schema}.values())


def _schema(constraint: Any) -> Schema | None:
    """Return the schema of a constraint, None for one that no text can meet."""
    if isinstance(constraint, StrOptions):
        return {"enum": sorted(constraint.options)}
    if isinstance(constraint, Interval):
        schema: Schema = {"type": "integer" if constraint.type is Integral else "number"}
        if constraint.left is not None:
            closed = constraint.closed in ("left", "both")
            schema["minimum" if closed else "exclusiveMinimum"] = constraint.left
        if constraint.right is not None:
            closed = constraint.closed in ("right", "both")
            schema["maximum" if closed else "exclusiveMaximum"] = constraint.right
        return schema
    return (
        PLAIN.get(constraint) if constraint is None or isinstance(constraint, (str, type)) else None
    )
