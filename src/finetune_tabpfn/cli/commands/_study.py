"""What the commands of ``finetune-tabpfn study`` are asked."""

from __future__ import annotations

import argparse
from pathlib import Path

from finetune_tabpfn.cli._options import (
    Commands,
    add_data,
    add_json,
    add_missing_values,
    add_target,
    add_task,
    done_by,
    ending_in,
    folder,
    further,
)
from finetune_tabpfn.runs._options import (
    add_option,
    as_typed,
    settings_of_forecasts,
    settings_of_studies,
)
from finetune_tabpfn.utils._groups import GROUPS

SEARCHES = ("grid", "random", "optuna")


def add(commands: Commands) -> None:
    """Add the command, which has commands of its own."""
    parser = commands.add_parser(
        "study",
        help="search settings, compare what they came to, report",
        description="A study is a folder of experiments: fits with other settings, their scores, "
        "and what is known of the data (docs/studies.md).",
        usage="finetune-tabpfn study COMMAND FOLDER [arguments]",
    )
    own = parser.add_subparsers(
        title="commands", required=True, metavar="COMMAND", prog=parser.prog
    )
    _add_run(own)
    compare = own.add_parser(
        "compare",
        help="a row per experiment, the best first",
        usage="finetune-tabpfn study compare FOLDER [options]",
    )
    _add_study(compare)
    compare.add_argument(
        "--out",
        type=ending_in(".csv", or_stdout=True),
        metavar="FILE",
        help="write all columns to a file: .csv; - is standard output",
    )
    add_json(compare)
    done_by(compare, "_study", "run_compare")
    report = own.add_parser(
        "report",
        help="what the study says, as one HTML file",
        usage="finetune-tabpfn study report FOLDER [options]",
    )
    _add_study(report)
    report.add_argument("--table", metavar="TEXT", help="only the experiments on this table")
    report.add_argument(
        "--out", type=ending_in(".html"), metavar="FILE", help=".html [FOLDER/report.html]"
    )
    add_json(report)
    done_by(report, "_study", "run_report")


def _add_study(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=folder, metavar="FOLDER", help="of the study")
    parser.add_argument(
        "--metric", metavar="TEXT", help="such as validation_roc_auc [the validation loss]"
    )


def _add_run(own: Commands) -> None:
    parser = own.add_parser(
        "run",
        help="run the experiments of a search; called again, those that are missing",
        usage="finetune-tabpfn study run FOLDER DATA --target COLUMN [options]",
    )
    _add_study(parser)
    add_data(parser)
    parser.once_positional = ("--train",)  # as it was called before
    add_target(parser)
    _add_search(parser)
    validation = parser.add_mutually_exclusive_group()
    validation.add_argument("--validation", type=Path, metavar="DATA", help="[a fifth of DATA]")
    validation.add_argument("--folds", type=int, metavar="INT", help="a fit for each of so many")
    parser.add_argument("--test", type=Path, metavar="DATA", help="rows that decide nothing")
    parser.add_argument("--quiet", action="store_true", help="no lines on the way")
    add_task(parser, "forecasting")
    add_missing_values(parser)
    add_json(parser)
    parser.add_argument(
        "--name", metavar="TEXT", help=further("begins the folders' names [the search]")
    )
    parser.add_argument(
        "--notes", default="", metavar="TEXT", help=further("kept with the experiments")
    )
    parser.add_argument("--no-models", action="store_true", help=further("do not keep the models"))
    group = parser.add_argument_group("forecasts of time series, of all experiments")
    for name, option in settings_of_forecasts().items():
        if name != "n_validation_windows":  # a study says what validates
            add_option(group, option, f" [{as_typed(option.default)}]", argparse.SUPPRESS)
    options = settings_of_studies()
    for heading, names in GROUPS.items():
        group = parser.add_argument_group(f"{heading}, of all experiments")
        for name in names:
            if name in options:
                default = f" [{as_typed(options[name].default)}]"
                add_option(group, options[name], default, argparse.SUPPRESS)
    done_by(parser, "_study", "run_search", inputs=("data", "validation", "test"))


def _add_search(parser: argparse.ArgumentParser) -> None:
    """Add what is searched, and how."""
    parser.add_argument("--search", choices=SEARCHES, default="grid", help="[grid]")
    parser.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="NAME=VALUES",
        help="what is searched, several times: values with commas, or LOW..HIGH for random and "
        "optuna (by factors where HIGH is 9 times LOW); without it they take a usual space",
    )
    parser.add_argument(
        "--number", type=int, default=20, metavar="INT", help="of random or optuna's runs [20]"
    )
    parser.add_argument(
        "--refine", type=int, default=0, metavar="INT", help="finer grids around the best [0]"
    )
    parser.add_argument(
        "--no-prune", action="store_true", help=further("let optuna end no fit early")
    )
    parser.add_argument(
        "--workers", type=int, default=1, metavar="INT", help="experiments at once [1]"
    )
