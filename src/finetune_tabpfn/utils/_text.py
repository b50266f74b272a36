"""YAML and JSON as people mean them.

In YAML 3e-5 is a number, yes and no are words and a key stands once; in JSON what is not finite
is null.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

# of YAML 1.2; in PyYAML's 1.1, 3e-5 is text, yes a boolean, 1:30 a number and 2020-01-01 a date
SCALARS = {
    "bool": ("true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": ("[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    "float": (
        r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+",
        "-+.0123456789",
    ),
}
KEPT = ("null", "merge")


class _Loader(yaml.SafeLoader):
    """PyYAML's loader with the scalars of YAML 1.2, which refuses a key that stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key!r} stands twice", problem_mark=node.start_mark
                )
        return super().construct_mapping(node, deep=deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rsplit(":", 1)[1] in KEPT]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Dumper(yaml.SafeDumper):
    """Quotes text that this loader or another one would take for something else."""


for name, (pattern, firsts) in SCALARS.items():
    for side in (_Loader, _Dumper):
        tag = f"tag:yaml.org,2002:{name}"
        side.add_implicit_resolver(tag, re.compile(f"(?:{pattern})$"), list(firsts))


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file.

    Raises
    ------
    ValueError
        When there is no such file, or it is no YAML; one sentence with the line.
    """
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from error
    except yaml.MarkedYAMLError as error:
        line = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise ValueError(f"{path} cannot be read as YAML: {error.problem}{line}.") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} cannot be read as YAML: {reason}.") from error


def yaml_value(text: str) -> Any:
    """Read a value that stands in one line, as in a YAML file; JSON is among them."""
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        raise ValueError(f"{text!r} cannot be read as YAML or JSON: {error.problem}.") from error


def to_yaml(value: Any) -> str:
    """Return YAML that `read_yaml` reads back, keys in their order."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def to_json(result: Any, **layout: Any) -> str:
    """Return JSON as the standard has it: what is not finite is null, paths are text.

    Parameters
    ----------
    result : object
        Nothing but numbers, texts, lists and mappings; of numpy as well. Anything else is text.
    **layout
        As `json.dumps` takes it; indented by two spaces where nothing is said.
    """
    return json.dumps(_plain(result), allow_nan=False, default=str, **{"indent": 2, **layout})


def to_json_line(record: Any, **layout: Any) -> str:
    """Return JSON in one line, with its end."""
    return to_json(record, indent=None, **layout) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # of numpy
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def unknown_name(where: str, name: object, names: Iterable[str]) -> str:
    """Return the sentence for a name that is none of those that are known."""
    known = list(names)
    near = nearest(name, known)
    hint = f"did you mean {near!r}?" if near else f"known are {', '.join(known)}."
    return f"{where} {name!r}, which is unknown; {hint}"


def nearest(name: object, names: Iterable[str]) -> str | None:
    """Return the name that is written most like another one, None where none is."""
    return next(iter(difflib.get_close_matches(str(name), list(names), n=1)), None)
