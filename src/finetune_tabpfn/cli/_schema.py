"""``finetune-tabpfn schema``: what an editor needs to help with configuration files."""

from __future__ import annotations

import argparse

from finetune_tabpfn.runs._config import json_schema
from finetune_tabpfn.utils._text import to_json


def run(arguments: argparse.Namespace) -> None:
    """Print it."""
    print(to_json(json_schema()))
