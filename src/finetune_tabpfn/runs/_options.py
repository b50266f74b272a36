"""Settings as text: parameters of the estimators and of functions as command-line options."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from finetune_tabpfn._estimators import FinetunedTabPFNClassifier
from finetune_tabpfn.runs._fields import fields_of, parameter_help, parameters, parse_value


def add_parameters(
    parser: argparse.ArgumentParser,
    of: Callable[..., Any] = FinetunedTabPFNClassifier,
    title: str = "parameters of the fine-tuning",
    **defaults: Any,
) -> None:
    """Add an option for every parameter of the estimators, or of a function.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    of : callable
        Its signature and its numpydoc docstring say which options there are and what they do.
    title : str
        Of the group of options.
    **defaults
        Other defaults than those of the signature, by name.
    """
    group = parser.add_argument_group(title)
    helps = parameter_help(of)
    # what a configuration file may hold, an option may
    fields = fields_of("", of) if hasattr(of, "_parameter_constraints") else {}
    for name, parameter in parameters(of).items():
        default = defaults.get(name, parameter.default)
        parse = fields[name].parse if name in fields else None
        add_option(group, name, f"{helps[name]} [{default}]", default, parse)


def add_option(
    group: argparse._ActionsContainer,
    name: str,
    description: str,
    default: Any,
    parse: Callable[[str], Any] | None = None,
) -> None:
    """Add the option of a parameter, read by `parse_value` if nothing else is given."""

    def read(text: str) -> Any:
        try:
            return (parse or parse_value)(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    group.add_argument(
        f"--{name.replace('_', '-')}",
        dest=name,
        type=read,
        default=default,
        metavar="VALUE",
        help=description.replace("%", "%%"),
    )


def chosen_parameters(
    arguments: argparse.Namespace, of: Callable[..., Any] = FinetunedTabPFNClassifier
) -> dict[str, Any]:
    """Return the parameters of the estimators, or of a function, among parsed arguments."""
    return {name: getattr(arguments, name) for name in parameters(of)}
