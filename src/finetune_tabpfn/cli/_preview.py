"""``finetune-tabpfn preview``: whether fine-tuning pays, or rows should be added."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from finetune_tabpfn.cli._options import Commands, add_missing_values, add_task
from finetune_tabpfn.runs._options import add_parameters, chosen_parameters
from finetune_tabpfn.studies._preview import SAMPLE_SIZE, as_text, preview
from finetune_tabpfn.utils._files import save_whole
from finetune_tabpfn.utils._text import to_json


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "preview",
        help="estimate whether fine-tuning pays, or whether rows should be added",
        description="Does fine-tuning pay on a table? With --base-data: should the rows be added "
        "to that table? Baseline and candidate are scored on the same held-out rows. --time-limit "
        "is of the whole preview, 240 seconds if not given; --full runs without.",
    )
    parser.add_argument(
        "--data-path",
        required=True,
        metavar="DATA",
        help="CSV, Parquet or JSON; or hf://datasets/OWNER/NAME[/FILE]",
    )
    parser.add_argument("--base-data", metavar="TABLE", help="table that DATA would be added to")
    parser.add_argument("--target", required=True, help="name of the column to predict")
    parser.add_argument(
        "--baseline-model",
        metavar="PATH",
        help="compare with this instead: a fitted model, a checkpoint, the name of a base model",
    )
    parser.add_argument(
        "--sample-size", type=int, default=SAMPLE_SIZE, help=f"rows at most [{SAMPLE_SIZE}]"
    )
    parser.add_argument("--output-format", choices=("json", "pretty"), default="pretty")
    parser.add_argument("--output-file", type=Path, metavar="FILE", help="[stdout]")
    parser.add_argument("--full", action="store_true", help="all rows, no time limit")
    parser.add_argument(
        "--test-mode", action="store_true", help="200 rows, 2 steps: whether it runs at all"
    )
    cache = parser.add_mutually_exclusive_group()
    cache.add_argument("--cache-dir", type=Path, help="for prepared rows [the user's cache]")
    cache.add_argument("--no-cache", action="store_true", help="prepare the rows anew")
    parser.add_argument("--quiet", action="store_true", help="say nothing on the way")
    add_task(parser)
    add_missing_values(parser)
    add_parameters(parser, random_state=0)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Preview and report."""
    result = preview(
        arguments.data_path,
        target=arguments.target,
        base_data=arguments.base_data,
        baseline_model=arguments.baseline_model,
        task=arguments.task,
        missing_values=arguments.missing_values,
        sample_size=arguments.sample_size,
        full=arguments.full,
        test_mode=arguments.test_mode,
        cache_dir=None if arguments.no_cache else arguments.cache_dir or "user",
        say=(lambda line: None) if arguments.quiet else _to_stderr,
        **chosen_parameters(arguments),
    )
    text = to_json(result) if arguments.output_format == "json" else as_text(result)
    if arguments.output_file is None:
        print(text)
        return
    save_whole(arguments.output_file, lambda part: part.write_text(text + "\n", encoding="utf-8"))
    print(f"{result['verdict']}\nsaved {arguments.output_file}")


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
