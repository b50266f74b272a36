"""Settings as text: the estimators' parameters as options of the command line."""

from __future__ import annotations

import argparse
import inspect
import re
from typing import Any

from finetune_tabpfn.parameters import PARAMETERS, Parameters

NOT_TEXT = ("callbacks", "verbose")  # objects of Python; and what the program itself decides


def add_parameters(parser: argparse.ArgumentParser, **defaults: Any) -> None:
    """Add an option for every parameter of the estimators.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    **defaults
        Other defaults than the estimators', by name.
    """
    group = parser.add_argument_group("parameters of the fine-tuning")
    helps = parameter_help()
    for name, parameter in parameters().items():
        default = defaults.get(name, parameter.default)
        group.add_argument(
            f"--{name.replace('_', '-')}",
            dest=name,
            type=parse_value,
            default=default,
            metavar="VALUE",
            help=f"{helps[name]} [{default}]".replace("%", "%%"),
        )


def chosen_parameters(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the estimators' parameters among parsed arguments."""
    return {name: getattr(arguments, name) for name in parameters()}


def parameters() -> dict[str, inspect.Parameter]:
    """Return the estimators' parameters that can be written as text."""
    signature = inspect.signature(Parameters.__init__)
    return {
        name: parameter
        for name, parameter in signature.parameters.items()
        if name not in ("self", *NOT_TEXT)
    }


def parameter_help() -> dict[str, str]:
    """Return the descriptions of the parameters, from the estimators' documentation."""
    helps = {}
    for block in re.split(r"\n {4}(?=\w)", "\n    " + PARAMETERS)[1:]:
        head, *lines = block.splitlines()
        helps[head.split(" : ")[0]] = " ".join(line.strip() for line in lines)
    return helps


def parse_value(text: str) -> Any:
    """Read a value: a number, true, false, none, a comma-separated list, or text as it is."""
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
