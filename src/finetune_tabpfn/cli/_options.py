"""What several commands ask for in the same words, and how they answer."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from finetune_tabpfn.cli import _pipes
from finetune_tabpfn.runs._options import Described
from finetune_tabpfn.utils._endings import TABLES
from finetune_tabpfn.utils._text import to_json

if TYPE_CHECKING:
    from finetune_tabpfn.cli._parser import Parser

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"
Container: TypeAlias = argparse._ActionsContainer
TABLE_FORMATS = "CSV, Parquet or JSON (records or lines); - is standard input"
TABLE_OR_HUB = f"{TABLE_FORMATS}; or hf://datasets/OWNER/NAME[/FILE]"
TABLE_ENDINGS = tuple(f".{kind}" for kind in TABLES)
COMPRESSED = (".gz", ".bz2", ".xz", ".zip", ".zst")
TASKS = ("auto", "classification", "regression")


def further(text: str) -> Described:
    """Return the help of an option that only ``--help-all`` shows."""
    return Described(text.replace("%%", "%"), is_basic=False)


def done_by(
    parser: argparse.ArgumentParser,
    module: str,
    function: str = "run",
    *,
    inputs: Sequence[str] = (),
    files: Sequence[str] = (),
) -> None:
    """Say what does a command: a function of a module here, imported when it begins.

    Its inputs are the arguments that may be ``-``, standard input; files those that are one.
    """
    parser.set_defaults(work=(module, function), inputs=inputs, files=files)


def add_data(parser: Container, formats: str = TABLE_FORMATS) -> None:
    """Add the table that a command is about."""
    kind = str if formats == TABLE_OR_HUB else Path  # which makes one slash of two
    parser.add_argument("data", type=kind, metavar="DATA", help=formats)


def add_target(parser: Container, *, required: bool = True) -> None:
    """Add the option that names the column to predict."""
    action = parser.add_argument(
        "--target", required=required, metavar="COLUMN", help="name of the column to predict"
    )
    action.completer = _columns  # type: ignore[attr-defined]


def _columns(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Return the columns of the table that is given already, for a shell that completes."""
    path = getattr(parsed_args, "data", None)
    return [] if path is None else _pipes.columns_of(Path(path))


def ending_in(*endings: str, or_stdout: bool = False) -> Callable[[str], Path]:
    """Return what reads the path of an output, which must have one of some endings."""

    def read(text: str) -> Path:
        if or_stdout and text == _pipes.STANDARD:
            return Path(text)
        suffixes = [suffix.lower() for suffix in Path(text).suffixes]
        if suffixes[-1:] and suffixes[-1] in COMPRESSED and suffixes[-2:-1] != [".parquet"]:
            suffixes.pop()  # pandas compresses text by the last ending
            if suffixes[-1:] and suffixes[-1] not in TABLE_ENDINGS:
                suffixes.clear()
        if suffixes and suffixes[-1] in endings:
            return _writable(text)
        said = ", ".join(endings[:-1]) + (" or " if endings[1:] else "") + endings[-1]
        raise argparse.ArgumentTypeError(f"{text} must end in {said}")

    return read


def folder(text: str) -> Path:
    """Read the path of a folder to write into."""
    return _writable(text, is_folder=True)


def any_file(text: str) -> Path:
    """Read the path of a file to write, whatever its ending."""
    return _writable(text)


def _writable(text: str, is_folder: bool = False) -> Path:
    """Return the path of an output, which can be written to: not after the training only."""
    path = Path(text)
    if path.is_dir() and not is_folder:
        raise argparse.ArgumentTypeError(f"{text} is a folder; the name of a file is needed")
    if path.exists() and not path.is_dir() and is_folder:
        raise argparse.ArgumentTypeError(f"{text} is a file; the name of a folder is needed")
    there = next(above for above in (path.absolute(), *path.absolute().parents) if above.exists())
    if there == path.absolute() and not is_folder:
        there = there.parent
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise argparse.ArgumentTypeError(
            f"{text} cannot be written: {there} is not a folder that can be written to"
        )
    return path


def add_task(parser: Container, *more: str) -> None:
    """Add the option that sets the task, one of the usual ones or of some more."""
    parser.add_argument(
        "--task",
        choices=(*TASKS, *more),
        default="auto",
        help="auto: whole numbers of at most 20 values, text and booleans are classes",
    )


def add_missing_values(parser: Container) -> None:
    """Add the option that says which cells of a file stand for missing ones."""
    parser.add_argument(
        "--missing-values",
        type=lambda text: [word.strip() for word in text.split(",") if word.strip()],
        default=[],
        metavar="WORDS",
        help='cells that mean missing, beside blank ones, such as "NA,?" [none]',
    )


def add_json(parser: Container) -> None:
    """Add the option that makes the result one JSON object on stdout."""
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


def answer(arguments: argparse.Namespace, text: str, result: dict[str, Any]) -> None:
    """Print the result: text for people, or with ``--json`` one object for programs."""
    print(_pipes.named(to_json(result) if arguments.json else text))


def hold_out_scores(estimator: Any) -> str:
    """Say in one line what a fitted estimator scored on its hold-out."""
    if math.isnan(estimator.best_score_):
        return f"nothing was scored on a hold-out; deployed: {estimator.deployed_weights_}"
    return (
        f"{estimator.scoring_} on the hold-out: base {estimator.base_score_:.5g}, "
        f"deployed {estimator.best_score_:.5g} ({estimator.deployed_weights_})"
    )
