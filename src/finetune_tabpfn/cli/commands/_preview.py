"""What ``finetune-tabpfn preview`` is asked."""

from __future__ import annotations

import argparse
from pathlib import Path

from finetune_tabpfn.cli._options import (
    TABLE_OR_HUB,
    Commands,
    add_data,
    add_json,
    add_missing_values,
    add_target,
    add_task,
    any_file,
    done_by,
    further,
)
from finetune_tabpfn.runs._options import add_parameters, settings

SAMPLE_SIZE = 10_000  # tests/cli holds it against that of `studies.preview`


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "preview",
        help="estimate whether fine-tuning pays, or whether rows should be added",
        description="Does fine-tuning pay on a table? With --base-data: should the rows be added "
        "to that table? Baseline and candidate are scored on the same held-out rows. --time-limit "
        "is of the whole preview, 240 seconds if not given; --full runs without.",
        usage="finetune-tabpfn preview DATA --target COLUMN [options]",
    )
    add_data(parser, TABLE_OR_HUB)
    add_target(parser)
    parser.add_argument("--base-data", metavar="DATA", help="table that DATA would be added to")
    parser.add_argument(
        "--baseline-model",
        metavar="MODEL",
        help="compare with this instead: a fitted model, a checkpoint, the name of a base model",
    )
    parser.add_argument(
        "--out", type=any_file, metavar="FILE", help="for the answer [standard output]"
    )
    parser.add_argument("--full", action="store_true", help="all rows, no time limit")
    parser.add_argument("--quiet", action="store_true", help="say nothing on the way")
    add_task(parser)
    add_missing_values(parser)
    add_json(parser)
    parser.add_argument(
        "--sample-size",
        type=int,
        default=SAMPLE_SIZE,
        metavar="INT",
        help=further(f"rows at most [{SAMPLE_SIZE}]"),
    )
    parser.add_argument(
        "--test-mode",
        action="store_true",
        help=further("200 rows, 2 steps: whether it runs at all"),
    )
    cache = parser.add_mutually_exclusive_group()
    cache.add_argument(
        "--cache-dir",
        type=Path,
        metavar="FOLDER",
        help=further("for prepared rows [the user's cache]"),
    )
    cache.add_argument("--no-cache", action="store_true", help=further("prepare the rows anew"))
    add_parameters(parser, settings(), random_state=0)
    _add_old_spellings(parser)
    done_by(parser, "_preview", inputs=("data", "base_data"))


def _add_old_spellings(parser: argparse.ArgumentParser) -> None:
    """Add what the options were called before all commands had the same words."""
    parser.once_positional = ("--data-path",)  # type: ignore[attr-defined]
    hidden = argparse.SUPPRESS
    parser.add_argument("--output-format", choices=("json", "pretty"), help=hidden)
    parser.add_argument("--output-file", dest="out", type=any_file, default=hidden, help=hidden)
