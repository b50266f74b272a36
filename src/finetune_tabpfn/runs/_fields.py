"""Keys of configuration files and options, as fields of pydantic's.

They are read off the one list of parameters: names, defaults, permitted values, descriptions.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from numbers import Integral
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args

from pydantic import Field, create_model
from pydantic.fields import FieldInfo
from sklearn.utils._param_validation import Interval, StrOptions

from finetune_tabpfn._estimators import FinetunedTabPFNClassifier
from finetune_tabpfn._nested import NESTED
from finetune_tabpfn.utils._yaml import yaml_value

# objects of Python, what the program itself decides, and what has a name for each setting
NOT_TEXT = ("callbacks", "verbose", "training")

# constraints in scikit-learn's form that text can meet; a callable, say, is not among them
PLAIN: dict[Any, Any] = {
    None: type(None),
    str: str,
    Path: str,
    dict: dict,
    list: list,
    "array-like": list,
    "boolean": bool,
    "random_state": Union[Annotated[int, Field(ge=0, le=2**32 - 1)], None],  # noqa: UP007
}
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


def fields_of(of: Callable[..., Any]) -> dict[str, FieldInfo]:
    """Return fields for the parameters of a class or function that can be written as text.

    Parameters
    ----------
    of : callable
        With a signature and a numpydoc docstring; scikit-learn's `_parameter_constraints` say what
        a value may be, if there are any.
    """
    helps = parameter_help(of)
    constraints = getattr(of, "_parameter_constraints", {})
    fields: dict[str, Any] = {
        name: (
            _type(constraints.get(name, "no_validation")),
            Field(parameter.default, description=helps[name]),
        )
        for name, parameter in inspect.signature(of).parameters.items()
        if name not in NOT_TEXT
    }
    return create_model("Fields", **fields).model_fields


@functools.cache
def settings_of_estimators() -> dict[str, FieldInfo]:
    """Return fields for every setting of the estimators, each by a name of its own."""
    found = fields_of(FinetunedTabPFNClassifier)
    for parameter, (kind, names) in NESTED.items():
        inner = fields_of(kind)
        for short, name in names.items():
            found[name] = inner[short]
            if parameter != "training":
                found[name].description = f"Of `{parameter}`: {inner[short].description}"
    return found


def parameter_help(of: Callable[..., Any]) -> dict[str, str]:
    """Return the descriptions of the parameters, from the numpydoc docstring."""
    _, section = (inspect.getdoc(of) or "").split("Parameters\n----------\n")
    helps = {}
    for block in re.split(r"\n(?=\w)", section.split("\n\n")[0]):
        head, *lines = block.splitlines()
        helps[head.split(" : ")[0]] = " ".join(line.strip() for line in lines)
    return helps


def parse(field: FieldInfo, text: str) -> Any:
    """Read a value of the command line: as `parse_value` does, unless only text will do.

    Where only a list will do, a single value is a list of one; the words of a list that is
    empty by default, names of columns and of cells, stay as they are written.
    """
    kinds = set(get_args(field.annotation) or [field.annotation]) - {type(None)}
    if kinds == {str}:
        return None if text.lower() == "none" and field.default is None else text
    if kinds == {list} and field.default == []:
        return [word.strip() for word in text.split(",") if word.strip()]
    value = parse_value(text)
    return [value] if kinds == {list} and isinstance(value, (str, int, float)) else value


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


def in_words(schema: dict[str, Any]) -> str:
    """Say what meets a JSON Schema."""
    if "anyOf" in schema:
        return " or ".join(in_words(each) for each in schema["anyOf"])
    options = [schema["const"]] if "const" in schema else schema.get("enum")
    if options:
        return " or ".join(repr(option) for option in options)
    bounds = [words.format(schema[name]) for name, words in BOUNDS.items() if name in schema]
    return " ".join([TYPES[schema["type"]], " and ".join(bounds)]).strip()


def _type(constraints: Any) -> Any:
    """Return the type of what text can say and one of a parameter's constraints permits."""
    if constraints == "no_validation":
        return Any
    types = [_type_of_one(constraint) for constraint in constraints]
    return Union[tuple(kind for kind in types if kind)]  # noqa: UP007 - there is no other way


def _type_of_one(constraint: Any) -> Any:
    """Return the type of what meets a constraint, None where no text can."""
    if isinstance(constraint, StrOptions):
        return Literal[tuple(sorted(constraint.options))]
    if isinstance(constraint, Interval):
        low = "ge" if constraint.closed in ("left", "both") else "gt"
        high = "le" if constraint.closed in ("right", "both") else "lt"
        bounds: dict[str, Any] = {low: constraint.left, high: constraint.right}
        return Annotated[int if constraint.type is Integral else float, Field(**bounds)]
    return PLAIN.get(constraint)
