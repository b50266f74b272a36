"""What ``finetune-tabpfn prepare`` is asked."""

from __future__ import annotations

from pathlib import Path

from finetune_tabpfn.cli._options import (
    TABLE_OR_HUB,
    Commands,
    Container,
    add_data,
    add_json,
    add_missing_values,
    add_target,
    add_task,
    done_by,
    folder,
)
from finetune_tabpfn.utils._endings import TABLES


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "prepare",
        help="clean a raw table and divide it into training and test rows",
        description="Clean a raw table and write it, its training rows and its test rows. Blank "
        "and infinite cells become missing; empty and repeated columns, empty rows, rows without a "
        "label and duplicate rows are dropped; labels are trimmed. The report says what each rule "
        "took.",
        usage="finetune-tabpfn prepare DATA --target COLUMN --out FOLDER [options]",
    )
    add_data(parser, TABLE_OR_HUB)
    add_target(parser)
    parser.add_argument(
        "--out", type=folder, required=True, metavar="FOLDER", help="for the tables"
    )
    parser.add_argument("--format", choices=TABLES, help="of the tables [as the data]")
    parser.add_argument(
        "--test-size", type=float, default=0.2, metavar="NUMBER", help="share of the rows [0.2]"
    )
    parser.add_argument(
        "--random-state", type=int, default=0, metavar="INT", help="seed of all draws [0]"
    )
    add_task(parser)
    add_missing_values(parser)
    add_json(parser)
    _add_rules(parser.add_argument_group("rows, columns and labels"))
    _add_text(parser.add_argument_group("columns of text"))
    hub = parser.add_argument_group("Hugging Face Hub")
    hub.add_argument("--hub-repo", metavar="OWNER/NAME", help="dataset to push the files to")
    hub.add_argument("--private", action="store_true", help="if it has to be made, privately")
    done_by(parser, "_prepare", inputs=("data",))


def _add_rules(group: Container) -> None:
    group.add_argument(
        "--merge-label",
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="give rows of one label another; can be repeated",
    )
    group.add_argument(
        "--merge-labels", type=Path, metavar="FILE", help="YAML or JSON: new label by old label"
    )
    group.add_argument(
        "--drop-label",
        action="append",
        default=[],
        metavar="LABEL",
        help="drop the rows of a label; can be repeated",
    )
    group.add_argument("--max-per-class", type=int, metavar="ROWS", help="of a class at most")
    group.add_argument(
        "--max-ratio",
        type=float,
        metavar="RATIO",
        help="of a class at most this many times the rows of the smallest",
    )
    group.add_argument("--keep-duplicates", action="store_true", help="keep rows that are alike")
    group.add_argument(
        "--keep-columns", action="store_true", help="keep empty columns and those that are alike"
    )


def _add_text(group: Container) -> None:
    group.add_argument(
        "--tfidf",
        nargs="*",
        metavar="COLUMN",
        help="turn these columns into TF-IDF components; without names, all of free text. "
        "What is not named is left to tabpfn",
    )
    group.add_argument(
        "--tfidf-components", type=int, default=16, metavar="INT", help="of each column [16]"
    )
