"""What ``finetune-tabpfn synth`` is asked."""

from __future__ import annotations

from pathlib import Path

from finetune_tabpfn.cli._options import (
    TABLE_ENDINGS,
    Commands,
    add_json,
    add_target,
    done_by,
    ending_in,
)
from finetune_tabpfn.runs._options import add_parameters, settings_of_tables


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "synth",
        help="write a synthetic table",
        usage="finetune-tabpfn synth --out FILE [options]",
        description="Write a synthetic table: from the parameters below, from a schema, or like "
        "a real table. With --schema and --like only --n-rows and --random-state apply.",
    )
    parser.add_argument(
        "--out",
        type=ending_in(*TABLE_ENDINGS, or_stdout=True),
        metavar="FILE",
        help=".csv, .parquet, .json or .jsonl; - is standard output",
    )
    add_json(parser)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--schema", type=Path, metavar="FILE", help="YAML, see docs/synthetic.md")
    source.add_argument(
        "--like", type=Path, metavar="DATA", help="a real table; - is standard input"
    )
    like = parser.add_argument_group("with --like")
    add_target(like, required=False)
    like.add_argument(
        "--min-count", type=int, metavar="INT", help="rows behind every number in the schema [10]"
    )
    like.add_argument(
        "--save-schema",
        type=ending_in(".yaml", ".yml"),
        metavar="FILE",
        help=".yaml: the schema, to edit or share",
    )
    add_parameters(parser, settings_of_tables(), "parameters of the table")
    done_by(parser, "_synth", inputs=("like",))
