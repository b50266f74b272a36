"""What several commands ask for in the same words, and how they answer."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any, TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
TABLE_FORMATS = "CSV, Parquet or JSON (records or lines)"
TASKS = ("auto", "classification", "regression")


def add_task(parser: argparse._ActionsContainer) -> None:
    """Add the option that sets the task."""
    parser.add_argument(
        "--task",
        choices=TASKS,
        default="auto",
        help="auto: whole numbers of at most 20 values, text and booleans are classes",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the option that makes the result one JSON object on stdout."""
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


def answer(arguments: argparse.Namespace, text: str, result: dict[str, Any]) -> None:
    """Print the result: text for people, or with ``--json`` one object for programs."""
    print(to_json(result) if arguments.json else text)


def to_json(result: Any) -> str:
    """Return JSON as the standard has it: what is not finite is null, paths are text."""
    return json.dumps(_plain(result), indent=2, allow_nan=False, default=str)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # of numpy
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
