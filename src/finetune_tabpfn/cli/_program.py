"""The program around the commands: its parser, warnings in one line, exit statuses.

Exit status: 0 done, 1 what was asked cannot be done (one sentence says why), 2 wrong usage,
130 interrupted, 141 nobody reads stdout any more.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn, TextIO

from finetune_tabpfn import __version__
from finetune_tabpfn.cli import (
    _demo,
    _evaluate,
    _export,
    _fit,
    _info,
    _predict,
    _prepare,
    _preview,
    _run,
    _schema,
    _study,
    _synth,
)
from finetune_tabpfn.cli._interrupt import on_ctrl_c
from finetune_tabpfn.utils._text import nearest

# in the order of the help
COMMANDS = (
    _prepare,
    _preview,
    _fit,
    _predict,
    _evaluate,
    _run,
    _study,
    _export,
    _synth,
    _info,
    _schema,
    _demo,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    arguments = parser().parse_args(argv)
    if argv is None:
        keeps = arguments.run in (_fit.run, _run.run)
        on_ctrl_c(signal.default_int_handler if keeps else _stop)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            arguments.run(arguments)
            sys.stdout.flush()
    except BrokenPipeError:  # whoever read stdout has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python's exit warns
        return 141
    except (ValueError, TypeError, OSError, ImportError) as error:
        print(f"finetune-tabpfn: error: {error}", file=sys.stderr)
        return 1
    except _Stopped:
        raise KeyboardInterrupt from None
    return 0


class _Stopped(BaseException):
    """Ctrl-C where a training that is cut short is no result: no fit takes it for its own."""


def _stop(*_: object) -> NoReturn:
    raise _Stopped


class _Parser(argparse.ArgumentParser):
    """Says which option was meant."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse what is known; for an option that is unknown, end with the nearest."""
        found, unknown = super().parse_known_args(args, namespace)
        for word in unknown:
            option = word.partition("=")[0]
            if option.startswith("--"):
                near = nearest(option, self._option_string_actions)
                hint = f"did you mean {near}?" if near else f"`{self.prog} --help` lists them all."
                self.error(f"{option} is not an option here; {hint}")
        return found, unknown


def parser() -> argparse.ArgumentParser:
    """Build the parser of the whole program."""
    program = _Parser(
        prog="finetune-tabpfn",
        description="Fine-tune TabPFN to one table. Progress goes to stderr, results to stdout; "
        "with --json a result is one JSON object.",
        epilog="`finetune-tabpfn COMMAND --help` explains a command. Exit status: 0 done, 1 cannot "
        "be done, 2 wrong usage, 130 interrupted.",
    )
    program.add_argument("--version", action="version", version=__version__)
    commands = program.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return program


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning as one line, without the line of code that gave it."""
    if not issubclass(category, (DeprecationWarning, FutureWarning)):
        print(f"finetune-tabpfn: {message}", file=sys.stderr)
