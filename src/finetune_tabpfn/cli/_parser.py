"""The program's parser: help in two lengths, the option that was meant, old spellings."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from finetune_tabpfn.runs._options import Described
from finetune_tabpfn.utils._text import nearest


class Parser(argparse.ArgumentParser):
    """Shows with ``--help`` what most people need, with ``--help-all`` everything in full.

    Attributes
    ----------
    once_positional : sequence of str
        Options that the last positional argument could once be given by; they still do.
    """

    once_positional: Sequence[str] = ()

    def __init__(self, *values: Any, **settings: Any) -> None:
        super().__init__(*values, **settings)
        self.add_argument("--help-all", action=_HelpAll, nargs=0, help=argparse.SUPPRESS)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse what is known; for an option that is unknown, end with the nearest."""
        given = list(sys.argv[1:] if args is None else args)
        found, unknown = super().parse_known_args(
            list(positional_last(given, self.once_positional)), namespace
        )
        for word in unknown:
            option = word.partition("=")[0]
            if option.startswith("--"):
                near = nearest(option, self._option_string_actions)
                hint = f"did you mean {near}?" if near else f"`{self.prog} --help` lists them all."
                self.error(f"{option} is not an option here; {hint}")
        return found, unknown

    def format_help(self, is_full: bool = False) -> str:
        """Return the help: what most people need, or everything."""
        formatter = _Formatter(self.prog, is_full)
        formatter.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
        formatter.add_text(self.description)
        left_out = 0
        for group in self._action_groups:
            shown = [a for a in group._group_actions if is_full or _is_basic(a)]
            left_out += len(group._group_actions) - len(shown)
            formatter.start_section(group.title)
            formatter.add_text(group.description)
            formatter.add_arguments(shown)
            formatter.end_section()
        formatter.add_text(self.epilog)
        if left_out:
            formatter.add_text(f"`{self.prog} --help-all` shows {left_out} more options.")
        return formatter.format_help()


class _Formatter(argparse.HelpFormatter):
    """Says of an option what it does in one sentence, or in full."""

    def __init__(self, prog: str, is_full: bool) -> None:
        super().__init__(prog, max_help_position=32)
        self.is_full = is_full
        self._action_max_length = 14  # the names of commands, which argparse counts too short

    def _get_help_string(self, action: argparse.Action) -> str | None:
        described = isinstance(action.help, Described) and not self.is_full
        return action.help.brief if described else action.help  # type: ignore[union-attr]


class _HelpAll(argparse.Action):
    def __call__(self, parser: Any, *_: Any, **__: Any) -> None:
        parser._print_message(parser.format_help(is_full=True), sys.stdout)
        parser.exit()


def _is_basic(action: argparse.Action) -> bool:
    if action.help is argparse.SUPPRESS:
        return True  # is not shown in any case
    return not isinstance(action.help, Described) or action.help.is_basic


def positional_last(words: Iterable[str], options: Sequence[str]) -> Iterator[str]:
    """Yield arguments with what some options are given behind the others, without the option."""
    moved, remaining = [], iter(words)
    for word in remaining:
        option, equals, value = word.partition("=")
        if option not in options:
            yield word
        elif equals:
            moved.append(value)
        else:
            moved += [next(remaining, "")]
    yield from moved
