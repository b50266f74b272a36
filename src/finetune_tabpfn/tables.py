"""Tables in files: CSV, Parquet and JSON, and what kind of target a column is."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from finetune_tabpfn.files import save_whole

MAX_CLASSES_OF_INTEGERS = 20


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a table.

    Parameters
    ----------
    path : str or pathlib.Path
        ".csv" (or ".csv.gz"), ".parquet", ".json" (a list of records), ".jsonl" (a record per
        line); ".json" files of a record per line are read as well. Blank cells of a CSV are
        missing values, so that a column of numbers with blanks stays a column of numbers. Of
        two columns of one name the second is called "name.1".

    Raises
    ------
    ValueError
        When there is no such file, or it is not what its name says, or holds no rows.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path} is not a file.")
    kind = _kind(path)
    try:
        table = READERS[kind](path)
    except Exception as error:  # parsers raise anything on a broken file
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ValueError(f"{path} cannot be read as {kind}: {reason}") from error
    if table.empty:
        raise ValueError(f"{path} holds no rows.")
    return table.rename(columns=str)


def _read_csv(path: Path) -> pd.DataFrame:
    with warnings.catch_warnings():
        # rows with more cells than the first line names columns
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(path, skipinitialspace=True, index_col=False)


def _read_json(path: Path) -> pd.DataFrame:
    return _records(pd.read_json(path, lines=_has_a_record_per_line(path)))


def _read_json_lines(path: Path) -> pd.DataFrame:
    return _records(pd.read_json(path, lines=True))


def _records(table: Any) -> pd.DataFrame:
    if not isinstance(table, pd.DataFrame):
        raise ValueError("it is no list of records")
    return table


READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    "csv": _read_csv,
    "parquet": pd.read_parquet,
    "json": _read_json,
    "jsonl": _read_json_lines,
}


def write_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table in the format that the file's name says, whole or not at all."""
    path = Path(path)
    kind = _kind(path)

    def write(part: Path) -> None:
        if kind == "csv":
            table.to_csv(part, index=False)
        elif kind == "parquet":
            table.to_parquet(part, index=False)
        else:
            table.to_json(part, orient="records", lines=kind == "jsonl")

    save_whole(path, write)


def split_target(table: pd.DataFrame, target: str) -> tuple[pd.DataFrame, pd.Series]:
    """Return the features and the target column of a table."""
    if target not in table.columns:
        columns = ", ".join(map(str, table.columns[:20]))
        raise ValueError(f"There is no column {target!r}; the columns are {columns}.")
    return table.drop(columns=target), table[target]


def infer_task(y: pd.Series) -> Literal["classification", "regression"]:
    """Return the task that a target suggests.

    Text, booleans and categories are classes. Numbers are classes when they are whole and take
    at most 20 different values, else a quantity.
    """
    if isinstance(y.dtype, pd.CategoricalDtype) or not pd.api.types.is_numeric_dtype(y):
        return "classification"
    values = y.dropna()
    whole = pd.api.types.is_bool_dtype(y) or bool((values % 1 == 0).all())
    return (
        "classification" if whole and values.nunique() <= MAX_CLASSES_OF_INTEGERS else "regression"
    )


def _kind(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    for suffix in reversed(suffixes):
        if suffix[1:] in READERS:
            return suffix[1:]
    raise ValueError(f"{path} has none of the endings .csv, .parquet, .json, .jsonl.")


def _has_a_record_per_line(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(64).lstrip().startswith(b"{")
