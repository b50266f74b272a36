"""Settings as text: parameters of the estimators and of functions as command-line options."""

from __future__ import annotations

import argparse
import difflib
import inspect
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from finetune_tabpfn.estimators import FinetunedTabPFNClassifier

NOT_TEXT = ("callbacks", "verbose")  # objects of Python; and what the program itself decides


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
    for name, parameter in parameters(of).items():
        default = defaults.get(name, parameter.default)
        add_option(group, name, f"{helps[name]} [{default}]", default)


def add_option(
    group: argparse._ActionsContainer,
    name: str,
    description: str,
    default: Any,
    parse: Callable[[str], Any] | None = None,
) -> None:
    """Add the option of a parameter, read by `parse_value` if nothing else is given."""
    group.add_argument(
        f"--{name.replace('_', '-')}",
        dest=name,
        type=parse or parse_value,
        default=default,
        metavar="VALUE",
        help=description.replace("%", "%%"),
    )


def chosen_parameters(
    arguments: argparse.Namespace, of: Callable[..., Any] = FinetunedTabPFNClassifier
) -> dict[str, Any]:
    """Return the parameters of the estimators, or of a function, among parsed arguments."""
    return {name: getattr(arguments, name) for name in parameters(of)}


def parameters(
    of: Callable[..., Any] = FinetunedTabPFNClassifier,
) -> dict[str, inspect.Parameter]:
    """Return the parameters that can be written as text."""
    return {
        name: parameter
        for name, parameter in inspect.signature(of).parameters.items()
        if name not in NOT_TEXT
    }


def parameter_help(of: Callable[..., Any] = FinetunedTabPFNClassifier) -> dict[str, str]:
    """Return the descriptions of the parameters, from the numpydoc docstring."""
    _, section = (inspect.getdoc(of) or "").split("Parameters\n----------\n")
    helps = {}
    for block in re.split(r"\n(?=\w)", section.split("\n\n")[0]):
        head, *lines = block.splitlines()
        helps[head.split(" : ")[0]] = " ".join(line.strip() for line in lines)
    return helps


def parse_value(text: str) -> Any:
    """Read a value: a number, true, false, none, JSON in braces, a list with commas, or text."""
    if text.startswith("{"):
        return json.loads(text)
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


def unknown_name(where: str, name: object, names: Iterable[str]) -> str:
    """Return the sentence for a name that is none of those that are known."""
    known = list(names)
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}."
    return f"{where} {name!r}, which is unknown; {hint}"
