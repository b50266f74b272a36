"""The command line: ``finetune-tabpfn COMMAND``, a module for each command.

A module has a function ``add(commands)`` that adds the command's parser and sets ``run`` to what
does it; `program` lists the modules. Progress goes to stderr, results to stdout.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status; Ctrl-C ends it in one line at any moment."""
    try:
        from finetune_tabpfn.cli.program import main as run  # takes seconds: torch comes with it

        return run(argv)
    except KeyboardInterrupt:
        print("finetune-tabpfn: interrupted", file=sys.stderr)
        return 130


__all__ = ["main"]
