"""Keys of configuration files and options, as fields of pydantic's.

They are read off the one list of parameters: names, defaults, permitted values, descriptions.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from numbers import Integral
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from pydantic import Field, create_model
from pydantic.fields import FieldInfo
from sklearn.utils._param_validation import Interval, Options

from finetune_tabpfn._estimators import FinetunedTabPFNClassifier
from finetune_tabpfn._nested import NESTED
from finetune_tabpfn.loggers._registry import OWN
from finetune_tabpfn.runs import _options

# of a JSON Schema, what an option is made of
SCHEMA_KEYS = ("anyOf", "const", "enum", "type", "examples", *_options.BOUNDS)
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


def fields_of(
    of: Callable[..., Any], constraints: Mapping[str, Any] | None = None
) -> dict[str, FieldInfo]:
    """Return fields for the parameters of a class or function that can be written as text.

    Parameters
    ----------
    of : callable
        With a signature and a numpydoc docstring.
    constraints : mapping, optional
        What the values may be, in scikit-learn's form; its own `_parameter_constraints` if not
        given.
    """
    helps = parameter_help(of)
    constraints = constraints or getattr(of, "_parameter_constraints", {})
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
    found["loggers"] = _loggers(found["loggers"])
    for parameter, (kind, names) in NESTED.items():
        inner = fields_of(kind)
        for short, name in names.items():
            found[name] = inner[short]
            if parameter != "training":
                found[name].description = f"Of `{parameter}`: {inner[short].description}"
    return found


def _loggers(field: FieldInfo) -> FieldInfo:
    """Return the field for loggers as text can name them: those of this package and others."""
    named = Field(None, description=field.description, examples=list(OWN))
    return create_model("Loggers", value=(list | str | None, named)).model_fields["value"]


def parameter_help(of: Callable[..., Any]) -> dict[str, str]:
    """Return the descriptions of the parameters, from the numpydoc docstring."""
    _, section = (inspect.getdoc(of) or "").split("Parameters\n----------\n")
    helps = {}
    for block in re.split(r"\n(?=\w)", section.split("\n\n")[0]):
        head, *lines = block.splitlines()
        helps[head.split(" : ")[0]] = " ".join(line.strip() for line in lines)
    return helps


def parse(field: FieldInfo, text: str) -> Any:
    """Read a value of the command line as the option of a field does."""
    return _options.parse(option_of("", field), text)


def option_of(name: str, field: FieldInfo) -> _options.Option:
    """Return a field as an option."""
    if field.annotation is Any:
        schema: dict[str, Any] = {}
    else:
        content: Any = (field.annotation, field)
        model = create_model("Model", value=content)
        schema = model.model_json_schema()["properties"]["value"]
    kept: dict[str, Any] = {key: schema[key] for key in SCHEMA_KEYS if key in schema}
    required = field.is_required()
    default = None if required else field.default
    return _options.Option(name, field.description or "", kept, default, required)


def options_of(fields: Mapping[str, FieldInfo]) -> dict[str, _options.Option]:
    """Return fields as options."""
    return {name: option_of(name, field) for name, field in fields.items()}


def _type(constraints: Any) -> Any:
    """Return the type of what text can say and one of a parameter's constraints permits."""
    if constraints == "no_validation":
        return Any
    types = [_type_of_one(constraint) for constraint in constraints]
    return Union[tuple(kind for kind in types if kind)]  # noqa: UP007 - there is no other way


def _type_of_one(constraint: Any) -> Any:
    """Return the type of what meets a constraint, None where no text can."""
    if isinstance(constraint, Options):
        return Literal[tuple(sorted(constraint.options))]
    if isinstance(constraint, Interval):
        low = "ge" if constraint.closed in ("left", "both") else "gt"
        high = "le" if constraint.closed in ("right", "both") else "lt"
        bounds: dict[str, Any] = {low: constraint.left, high: constraint.right}
        return Annotated[int if constraint.type is Integral else float, Field(**bounds)]
    return PLAIN.get(constraint)
