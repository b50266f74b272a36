"""What ``finetune-tabpfn demo`` is asked."""

from __future__ import annotations

from pathlib import Path

from finetune_tabpfn.cli._options import Commands, add_json, done_by, folder
from finetune_tabpfn.runs._options import add_parameters, settings


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
        "--out",
        type=folder,
        default=Path("demo-output"),
        metavar="FOLDER",
        help="for the results [%(default)s]",
    )
    add_json(parser)
    add_parameters(parser, settings(), base_model="mini", time_limit=45.0, random_state=0)
    done_by(parser, "_demo")
