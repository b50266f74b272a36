"""The command line: ``finetune-tabpfn COMMAND``.

``commands/`` has a module for each command that says what it is asked; it imports nothing that
takes time, so that help and wrong usage are answered at once. The module of the same name here does
the work and is imported when the work begins. Progress goes to stderr, results to stdout.
"""

from __future__ import annotations

import sys

from finetune_tabpfn.cli._interrupt import INTERRUPTED, MESSAGE, ignore, leave, on_ctrl_c

TYPE_CHECKING = False  # that of typing, whose import takes time in which Ctrl-C is not ours yet
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status; Ctrl-C ends it in one line at any moment."""
    is_program = argv is None
    try:
        if is_program:
            # no exception: imports of torch and others may turn one into another, or lose it
            on_ctrl_c(leave)
        from finetune_tabpfn.cli._program import main as run

        status = run(argv)
        if is_program:
            on_ctrl_c(leave)  # what ends after this is not ours
        return status
    except KeyboardInterrupt:
        if is_program:
            on_ctrl_c(ignore)  # once is enough
        print(MESSAGE, file=sys.stderr)
        return INTERRUPTED


__all__ = ["main"]
