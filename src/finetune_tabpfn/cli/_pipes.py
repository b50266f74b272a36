"""Tables that come from standard input and go to standard output: ``-``."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from finetune_tabpfn.utils._endings import table_kind
from finetune_tabpfn.utils._separators import writing_of
from finetune_tabpfn.utils._text import to_json

if TYPE_CHECKING:
    import pandas as pd

STANDARD = "-"
CONFIGURATION = "config"  # of all inputs, the one that is no table
NAME = "standard input"

_spooled: list[Path] = []  # for the rest of the process, which may still speak of them


def check_inputs(arguments: argparse.Namespace) -> None:
    """Raise for a file that is not there or a table that is none, before anything takes time.

    Raises
    ------
    ValueError
        As reading the table would.
    """
    inputs = {name: str(getattr(arguments, name) or "") for name in arguments.inputs}
    if list(inputs.values()).count(STANDARD) > 1:
        raise ValueError("standard input can be read once; two tables cannot both be `-`.")
    for name in arguments.files:
        _check_file(getattr(arguments, name))
    for name, path in inputs.items():
        if path in ("", STANDARD) or path.startswith("hf:"):
            continue
        _check_file(path)
        if name != CONFIGURATION:
            table_kind(path)


def _check_file(path: str | Path) -> None:
    if not Path(path).is_file():
        raise ValueError(f"{path} is not a file.")


@contextmanager
def standard_input(arguments: argparse.Namespace) -> Iterator[None]:
    """Put a file with what comes from standard input in the place of ``-``."""
    wanted = [name for name in arguments.inputs if str(getattr(arguments, name)) == STANDARD]
    if not wanted:
        yield
        return
    content = sys.stdin.buffer.read()
    if not content.strip():
        raise ValueError(f"{NAME} is empty.")
    ending = "yaml" if wanted[0] == CONFIGURATION else _kind(content)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"stdin.{ending}"
        path.write_bytes(content)
        _spooled.append(path)
        setattr(arguments, wanted[0], path)
        yield


def named(text: str) -> str:
    """Return a text in which standard input is called that."""
    for path in _spooled:
        text = text.replace(str(path), NAME)
    return text


def answer_table(arguments: argparse.Namespace, table: pd.DataFrame, said: str) -> None:
    """Write a table where it was asked for, and say so.

    Standard output is given the table alone, as CSV; with ``--json`` one object, with its rows.
    """
    from finetune_tabpfn.data._io import write_table  # of pandas, which takes time

    result = {"rows": len(table), "columns": list(table.columns), "path": arguments.out}
    if not is_standard(arguments.out):
        write_table(table, arguments.out)
        print(to_json(result) if arguments.json else f"{said}, saved {arguments.out}")
    elif arguments.json:
        records = json.loads(table.to_json(orient="records", date_format="iso"))
        print(to_json({**result, "path": None, "table": records}))
    else:
        table.to_csv(sys.stdout, index=False)
        print(said, file=sys.stderr)


def is_standard(out: Path | None) -> bool:
    """Tell whether an output is the standard one."""
    return out is None or str(out) == STANDARD


def columns_of(path: Path) -> list[str]:
    """Return the columns of a CSV, or nothing."""
    try:
        if table_kind(path) != "csv":
            return []
        return list(writing_of(path).columns)
    except (OSError, ValueError):
        return []


def _kind(content: bytes) -> str:
    """Return the ending that a table's file would have."""
    if content.startswith(b"PAR1"):
        return "parquet"
    if content.startswith(b"\x1f\x8b"):
        return "csv.gz"
    return "json" if content.lstrip()[:1] in (b"[", b"{") else "csv"
