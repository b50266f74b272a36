"""YAML as people mean it: 3e-5 is a number, yes and no are words, a key stands once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from finetune_tabpfn.utils._optional import require

require("yaml", "The command line")
import yaml  # noqa: E402

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
        When there is no such file, or it is not YAML; one sentence with the line.
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
