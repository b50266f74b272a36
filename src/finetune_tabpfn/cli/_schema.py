"""``finetune-tabpfn schema``: what an editor needs to help with configuration files."""

from __future__ import annotations

import argparse

from finetune_tabpfn.cli._options import Commands
from finetune_tabpfn.runs._config import json_schema
from finetune_tabpfn.utils._text import to_json


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "schema",
        help="print the JSON Schema of configuration files, for editors",
        description="Print the JSON Schema of the configuration files of `run`. With `# "
        "yaml-language-server: $schema=FILE` as its first line, editors complete and check one.",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print it."""
    print(to_json(json_schema()))
