"""``finetune-tabpfn demo``: see it work on a table that scikit-learn bundles."""

from __future__ import annotations

import argparse
import contextlib
import sys

from finetune_tabpfn.cli import _demonstration
from finetune_tabpfn.cli._options import answer
from finetune_tabpfn.runs._options import chosen_parameters, settings


def run(arguments: argparse.Namespace) -> None:
    """Fine-tune on scikit-learn's digits and compare with the base model on a test set."""
    chosen = chosen_parameters(arguments, settings())
    if not arguments.json:
        _demonstration.run(arguments.out, chosen)
        return
    with contextlib.redirect_stdout(sys.stderr):
        scores = _demonstration.run(arguments.out, chosen)
    answer(arguments, "", {"scores": scores.to_dict(), "path": arguments.out})
