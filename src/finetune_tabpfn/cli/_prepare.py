"""``finetune-tabpfn prepare``: a clean table, training rows and test rows of a raw file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from finetune_tabpfn.cli._options import Commands, add_json, add_missing_values, add_task, answer
from finetune_tabpfn.data._io import READERS
from finetune_tabpfn.studies._cleaning import CleaningRules
from finetune_tabpfn.studies._prepare import prepare
from finetune_tabpfn.utils._optional import require


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "prepare",
        help="clean a raw table and divide it into training and test rows",
        description="Clean a raw table and write it, its training rows and its test rows. Blank "
        "and infinite cells become missing; empty and repeated columns, empty rows, rows without a "
        "label and duplicate rows are dropped; labels are trimmed. The report says what each rule "
        "took.",
    )
    parser.add_argument("data", help="CSV, Parquet or JSON; or hf://datasets/OWNER/NAME[/FILE]")
    parser.add_argument("--target", required=True, help="name of the column to predict")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables")
    parser.add_argument("--format", choices=tuple(READERS), help="of the tables [as the data]")
    parser.add_argument("--test-size", type=float, default=0.2, help="share of the rows [0.2]")
    parser.add_argument("--random-state", type=int, default=0, help="seed of all draws [0]")
    add_task(parser)
    add_missing_values(parser)
    add_json(parser)
    _add_rules(parser.add_argument_group("rows, columns and labels"))
    _add_text(parser.add_argument_group("columns of text"))
    hub = parser.add_argument_group("Hugging Face Hub")
    hub.add_argument("--hub-repo", metavar="OWNER/NAME", help="dataset to push the files to")
    hub.add_argument("--private", action="store_true", help="if it has to be made, privately")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Prepare a table and report."""
    rules = CleaningRules(
        merge_labels=_merges(arguments),
        drop_labels=arguments.drop_label,
        keep_columns=arguments.keep_columns,
        keep_duplicates=arguments.keep_duplicates,
        max_per_class=arguments.max_per_class,
        max_ratio=arguments.max_ratio,
    )
    report = prepare(
        arguments.data,
        arguments.out,
        target=arguments.target,
        task=arguments.task,
        rules=rules,
        missing_values=arguments.missing_values,
        test_size=arguments.test_size,
        tfidf="auto" if arguments.tfidf == [] else arguments.tfidf or (),
        n_components=arguments.tfidf_components,
        file_format=arguments.format,
        hub_repo=arguments.hub_repo,
        private=arguments.private,
        random_state=arguments.random_state,
    )
    answer(arguments, report.as_text(), report.as_dict())


def _add_rules(group: Any) -> None:
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


def _add_text(group: Any) -> None:
    group.add_argument(
        "--tfidf",
        nargs="*",
        metavar="COLUMN",
        help="turn these columns into TF-IDF components; without names, all of free text. "
        "What is not named is left to tabpfn",
    )
    group.add_argument(
        "--tfidf-components", type=int, default=16, metavar="N", help="of each column [16]"
    )


def _merges(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the mapping of the file and of the options."""
    merges: dict[str, str] = {}
    if arguments.merge_labels:
        merges |= _mapping(arguments.merge_labels)
    for pair in arguments.merge_label:
        old, equals, new = pair.partition("=")
        if not (old and equals and new):
            raise ValueError(f"--merge-label {pair} must be OLD=NEW.")
        merges[old] = new
    return merges


def _mapping(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise ValueError(f"--merge-labels {path} is not a file.")
    yaml = require("yaml", f"--merge-labels {path}")
    try:
        # as text: YAML would make a boolean of the label `no`
        found = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} cannot be read as YAML: {' '.join(str(error).split())}"
        ) from error
    if not isinstance(found, dict) or not all(isinstance(new, str) for new in found.values()):
        raise ValueError(f"{path} must hold lines of `old label: new label`.")
    return found
