"""``finetune-tabpfn demo``: see it work on a table that scikit-learn bundles."""

from __future__ import annotations

import argparse
from pathlib import Path

from finetune_tabpfn.cli import _demonstration
from finetune_tabpfn.cli._options import Commands
from finetune_tabpfn.runs._options import add_parameters, chosen_parameters


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "demo",
        help="fine-tune the mini model on a table of scikit-learn",
        description="Fine-tune the shipped mini model on scikit-learn's handwritten digits, print "
        "test scores of base and fine-tuned model side by side, and leave the training curve and "
        "the fine-tuned model in a folder.",
        usage="finetune-tabpfn demo [options]",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("demo-output"), help="folder for the results [%(default)s]"
    )
    add_parameters(parser, base_model="mini", time_limit=45.0, random_state=0)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Fine-tune on scikit-learn's digits and compare with the base model on a test set."""
    _demonstration.run(arguments.out, chosen_parameters(arguments))
