"""The command line: ``finetune-tabpfn COMMAND``, a module for each command.

A module has a function ``add(commands)`` that adds the command's parser and sets ``run`` to what
does it; `program` lists the modules. Progress goes to stderr, results to stdout.
"""

from finetune_tabpfn.cli.program import main

__all__ = ["main"]
