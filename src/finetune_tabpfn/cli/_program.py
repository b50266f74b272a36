"""The program around the commands: its parser, warnings in one line, exit statuses.

Exit status: 0 done, 1 what was asked cannot be done (one sentence says why), 2 wrong usage,
130 interrupted, 141 nobody reads stdout any more.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn, TextIO, cast

from finetune_tabpfn.cli import _pipes
from finetune_tabpfn.cli._interrupt import on_ctrl_c
from finetune_tabpfn.cli._parser import Parser
from finetune_tabpfn.cli.commands import COMMANDS
from finetune_tabpfn.utils._workers import OtherProcessError, launched

KEEP_WHAT_IS_TRAINED = ("_fit", "_run")  # Ctrl-C ends the training, not the program


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    try:
        try:
            return _called(argv)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # whoever read stdout has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python's exit warns
        return 141
    except _Stopped:
        raise KeyboardInterrupt from None


def _called(argv: Sequence[str] | None) -> int:
    """Parse the arguments and do what they ask for."""
    program = parser()
    if "_ARGCOMPLETE" in os.environ:  # a shell asks what could come next
        importlib.import_module("argcomplete").autocomplete(program)
    arguments = program.parse_args(argv)
    with warnings.catch_warnings():
        warnings.showwarning = partial(_show_warning, set())
        try:
            _check_sharing(arguments)
            _pipes.check_inputs(arguments)
            work = _work(arguments)
            if argv is None:
                keeps = arguments.work[0] in KEEP_WHAT_IS_TRAINED
                on_ctrl_c(signal.default_int_handler if keeps else _stop)
            with _pipes.standard_input(arguments):
                work(arguments)
        except BrokenPipeError:
            raise
        except (ValueError, TypeError, OSError, ImportError) as error:
            rank, size = launched()
            who = f" (process {rank} of {size})" if rank else ""
            if not (rank and isinstance(error, OtherProcessError)):  # that one says it itself
                print(f"finetune-tabpfn: error{who}: {_pipes.named(str(error))}", file=sys.stderr)
            return 1
    return 0


def _check_sharing(arguments: argparse.Namespace) -> None:
    module = arguments.work[0]
    if launched()[1] > 1 and module not in KEEP_WHAT_IS_TRAINED:
        raise ValueError(
            f"{module.lstrip('_')} works in one process; torchrun is for `run` and `fit`, whose "
            "training several processes can share."
        )


def _work(arguments: argparse.Namespace) -> Callable[[argparse.Namespace], None]:
    """Import what does a command: seconds, torch comes with it."""
    module, function = arguments.work
    found = importlib.import_module(f"finetune_tabpfn.cli.{module}")
    return cast("Callable[[argparse.Namespace], None]", getattr(found, function))


class _Stopped(BaseException):
    """Ctrl-C where a training that is cut short is no result: no fit takes it for its own."""


def _stop(*_: object) -> NoReturn:
    raise _Stopped


def parser() -> Parser:
    """Build the parser of the whole program."""
    program = Parser(
        prog="finetune-tabpfn",
        usage="finetune-tabpfn COMMAND [arguments]",
        description="Fine-tune TabPFN to one table. Progress goes to stderr, results to stdout; "
        "with --json a result is one JSON object.",
        epilog="`finetune-tabpfn COMMAND --help` explains a command. Exit status: 0 done, 1 cannot "
        "be done, 2 wrong usage, 130 interrupted.",
    )
    program.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = program.add_subparsers(
        title="commands", required=True, metavar="COMMAND", prog=program.prog
    )
    for command in COMMANDS:
        command.add(commands)
    return program


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        from finetune_tabpfn import __version__

        print(__version__)
        parser.exit()


def _show_warning(
    shown: set[str],
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning as one line, once, without the line of code that gave it."""
    is_ours = not issubclass(category, (DeprecationWarning, FutureWarning))
    if is_ours and str(message) not in shown:
        shown.add(str(message))
        print(f"finetune-tabpfn: {_pipes.named(str(message))}", file=sys.stderr)
