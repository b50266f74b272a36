"""What several commands ask for in the same words, and how they answer."""

from __future__ import annotations

import argparse
import math
from typing import Any, TypeAlias

from finetune_tabpfn.utils._text import to_json

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
TABLE_FORMATS = "CSV, Parquet or JSON (records or lines)"
TASKS = ("auto", "classification", "regression")


def add_task(parser: argparse._ActionsContainer, *more: str) -> None:
    """Add the option that sets the task, one of the usual ones or of some more."""
    parser.add_argument(
        "--task",
        choices=(*TASKS, *more),
        default="auto",
        help="auto: whole numbers of at most 20 values, text and booleans are classes",
    )


def add_missing_values(parser: argparse._ActionsContainer) -> None:
    """Add the option that says which cells of a file stand for missing ones."""
    parser.add_argument(
        "--missing-values",
        type=lambda text: [word.strip() for word in text.split(",") if word.strip()],
        default=[],
        metavar="WORDS",
        help='cells that mean missing, beside blank ones, such as "NA,?" [none]',
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the option that makes the result one JSON object on stdout."""
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


def answer(arguments: argparse.Namespace, text: str, result: dict[str, Any]) -> None:
    """Print the result: text for people, or with ``--json`` one object for programs."""
    print(to_json(result) if arguments.json else text)


def hold_out_scores(estimator: Any) -> str:
    """Say in one line what a fitted estimator scored on its hold-out."""
    if math.isnan(estimator.best_score_):
        return f"nothing was scored on a hold-out; deployed: {estimator.deployed_weights_}"
    return (
        f"{estimator.scoring_} on the hold-out: base {estimator.base_score_:.5g}, "
        f"deployed {estimator.best_score_:.5g} ({estimator.deployed_weights_})"
    )
