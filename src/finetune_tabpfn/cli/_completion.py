"""``finetune-tabpfn completion``: what lets a shell complete the command line."""

from __future__ import annotations

import argparse

from finetune_tabpfn.utils._optional import require


def run(arguments: argparse.Namespace) -> None:
    """Print it."""
    complete = require("argcomplete", "Completion in a shell")
    print(complete.shellcode(["finetune-tabpfn"], shell=arguments.shell))
