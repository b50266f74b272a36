"""The command line: ``finetune-tabpfn COMMAND``, a module for each command.

A module has a function ``add(commands)`` that adds the command's parser and sets ``run`` to what
does it; `program` lists the modules. Progress goes to stderr, results to stdout.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

INTERRUPTED = 130  # exit status, as shells have it


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status; Ctrl-C ends it in one line at any moment."""
    is_program = argv is None
    try:
        if is_program:
            # no exception: imports of torch and others may turn one into another, or lose it
            on_ctrl_c(_leave)
        from finetune_tabpfn.cli._program import main as run  # takes seconds: torch comes with it

        return run(argv)
    except KeyboardInterrupt:
        if is_program:
            on_ctrl_c(signal.SIG_IGN)  # once is enough
        print(_MESSAGE, file=sys.stderr)
        return INTERRUPTED


def on_ctrl_c(answer: Any) -> None:
    """Say what Ctrl-C does from now on, unless a shell lets a job in the background ignore it."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, answer)


_MESSAGE = "finetune-tabpfn: interrupted"


def _leave(*_: object) -> NoReturn:
    """End the process at once: nothing has been done yet."""
    os.write(2, f"{_MESSAGE}\n".encode())
    os._exit(INTERRUPTED)


__all__ = ["main"]
