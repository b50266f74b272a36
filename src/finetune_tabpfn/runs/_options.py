"""Settings as text: parameters of the estimators and of functions as command-line options."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from pydantic.fields import FieldInfo

from finetune_tabpfn.runs._fields import fields_of, parse, settings_of_estimators


def add_parameters(
    parser: argparse.ArgumentParser,
    of: Callable[..., Any] | None = None,
    title: str = "parameters of the fine-tuning",
    **defaults: Any,
) -> None:
    """Add an option for every setting of the estimators, or parameter of a function.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    of : callable, optional
        Its signature and its numpydoc docstring say which options there are and what they do; the
        estimators' if not given.
    title : str
        Of the group of options.
    **defaults
        Other defaults than those of the signature, by name.
    """
    group = parser.add_argument_group(title)
    for name, field in _fields(of).items():
        default = defaults.get(name, field.default)
        add_option(group, name, field, f" [{default}]", default)


def add_option(
    group: argparse._ActionsContainer, name: str, field: FieldInfo, addition: str, default: Any
) -> None:
    """Add the option of a field, with an addition to its description."""

    def read(text: str) -> Any:
        try:
            return parse(field, text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    group.add_argument(
        f"--{name.replace('_', '-')}",
        dest=name,
        type=read,
        default=default,
        metavar="VALUE",
        help=f"{field.description}{addition}".replace("%", "%%"),
    )


def chosen_parameters(
    arguments: argparse.Namespace, of: Callable[..., Any] | None = None
) -> dict[str, Any]:
    """Return settings of the estimators, or parameters of a function, among parsed arguments."""
    return {name: getattr(arguments, name) for name in _fields(of)}


def _fields(of: Callable[..., Any] | None) -> dict[str, FieldInfo]:
    return settings_of_estimators() if of is None else fields_of(of)
