"""The command line: ``finetune-tabpfn COMMAND``, a module for each command.

A module has a function ``add(commands)`` that adds the command's parser and sets ``run`` to what
does it; `program` lists the modules. Progress goes to stderr, results to stdout.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from finetune_tabpfn.cli._interrupt import INTERRUPTED, MESSAGE, leave, on_ctrl_c
from finetune_tabpfn.utils._optional import MissingLibraryError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status; Ctrl-C ends it in one line at any moment."""
    is_program = argv is None
    try:
        if is_program:
            # no exception: imports of torch and others may turn one into another, or lose it
            on_ctrl_c(leave)
        try:
            from finetune_tabpfn.cli._program import main as run  # seconds: torch comes with it
        except MissingLibraryError as error:
            print(f"finetune-tabpfn: error: {error}", file=sys.stderr)
            return 1
        return run(argv)
    except KeyboardInterrupt:
        if is_program:
            on_ctrl_c(signal.SIG_IGN)  # once is enough
        print(MESSAGE, file=sys.stderr)
        return INTERRUPTED


__all__ = ["main"]
