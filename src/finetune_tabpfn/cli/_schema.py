"""``finetune-tabpfn schema``: what an editor needs to help with configuration files."""

from __future__ import annotations

import argparse

from finetune_tabpfn.runs._config import json_schema
from finetune_tabpfn.utils._files import save_whole
from finetune_tabpfn.utils._text import to_json


def run(arguments: argparse.Namespace) -> None:
    """Print it, or write it."""
    schema = to_json(json_schema())
    if arguments.out is None:
        print(schema)
    else:
        save_whole(arguments.out, lambda part: part.write_text(schema + "\n", encoding="utf-8"))
