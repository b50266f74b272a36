"""Tables in files: CSV, Parquet and JSON, and what kind of target a column is."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from finetune_tabpfn.utils._endings import is_tabbed, table_kind
from finetune_tabpfn.utils._files import save_whole
from finetune_tabpfn.utils._optional import require
from finetune_tabpfn.utils._separators import writing_of
from finetune_tabpfn.utils._text import nearest
from finetune_tabpfn.utils._warn import warn

MAX_CLASSES_OF_INTEGERS = 20
DECIMAL_COMMA = r"[+-]?\d+(,\d+)?"
WITH_MARKS = r"[+-]?(\d+|\d{1,3}([.,' ]\d{3})+)([.,]\d+)?"
MOST_WORDS = 0.1  # of the cells of a column that is numbers but for them
# what R, numpy, pandas and spreadsheets write for a missing number
MISSING_NUMBERS = ("NA", "N/A", "#N/A", "NaN", "nan", "NULL", "null", "None", "<NA>")


def read_table(
    path: str | Path,
    *,
    text: Collection[str] = (),
    missing_values: Sequence[Any] = (),
) -> pd.DataFrame:
    """Read a table.

    Parameters
    ----------
    path : str or pathlib.Path
        ".csv" (or ".csv.gz", ".tsv"), ".parquet", ".json" (a list of records), ".jsonl" (a record
        per line); ".json" files of a record per line are read as well. Blank cells are missing;
        among the numbers of a CSV so are "NA" and its like, with a warning. Of two columns of one
        name in a CSV the second is called "name.1". A CSV may be separated by semicolons, tabs or
        bars; with semicolons its numbers may have decimal commas.
    text : collection of str
        Columns whose cells are text whatever they look like, in a CSV that does not say it.
    missing_values : sequence of str or number
        Cells that stand for missing ones, in every column.

    Raises
    ------
    ValueError
        When there is no such file, or it is not what its name says, or holds no rows.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path} is not a file.")
    kind = table_kind(path)
    if kind == "parquet":
        require("pyarrow", str(path))
    words = [str(value) for value in missing_values]
    try:
        if kind == "csv":
            table = _read_csv(path, text, words)
        else:
            table = _blank_as_missing(READERS[kind](path), words)
    except Exception as error:  # parsers raise anything on a broken file
        reason = _reason(error)
        raise ValueError(f"{path} cannot be read as {kind}: {reason}") from error
    if table.empty:
        raise ValueError(f"{path} holds no rows.")
    return table.rename(columns=str)


def _reason(error: Exception) -> str:
    """Return what is wrong with a file in the words of those who have it."""
    if isinstance(error, UnicodeDecodeError):
        return "its text is not UTF-8; save it as UTF-8, or convert it with `iconv -t UTF-8`"
    said = " ".join(str(error).split())[:300] or type(error).__name__
    if cells := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", said):
        named, line, seen = cells.groups()
        return f"line {line} has {seen} cells, the first line names {named} column(s)"
    if isinstance(error, pd.errors.ParserWarning):
        return "its rows have more cells than its first line names columns"
    return said


def _read_csv(path: Path, text: Collection[str], words: Sequence[str]) -> pd.DataFrame:
    writing = writing_of(path)
    with warnings.catch_warnings():
        # rows with more cells than the first line names columns
        warnings.simplefilter("error", pd.errors.ParserWarning)
        table = pd.read_csv(
            path,
            sep=writing.separator,
            encoding=writing.encoding,
            skipinitialspace=True,
            index_col=False,
            dtype=dict.fromkeys(text, str),
            # what is a class or a level in one file must not be missing in another
            keep_default_na=False,
            na_values=["", *words],
            low_memory=False,  # or a column is numbers in one part of a file and text in another
        )
    others = [name for name in table.columns if name not in text]
    if writing.separator == ";":
        for name in others:
            table[name] = _with_decimal_points(table[name])
    found, odd = {}, {}
    for name in others:
        column = table[name]
        is_word = column.isin(MISSING_NUMBERS)
        if is_word.any() and _are_numbers(column[~is_word]):
            found[name] = column[is_word].iloc[0]
            table[name] = pd.to_numeric(column.mask(is_word))
        elif _is_text(column) and (cell := _odd_cell(column.dropna())) is not None:
            odd[name] = cell
    if found:
        warn(
            f"{path} has words among numbers that are read as missing ({_listed(found)}); give "
            "them as missing_values to say so."
        )
    if odd:
        warn(
            f"{path} has columns of numbers that are read as text because of some cells "
            f"({_listed(odd)}): name those that mean missing as missing_values, and write "
            "thousands without marks."
        )
    return table


def _listed(words: Mapping[Any, str]) -> str:
    """Return words with their columns."""
    return ", ".join(f"{word!r} in {name!r}" for name, word in words.items())


def _is_text(column: pd.Series) -> bool:
    return not pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_datetime64_dtype(
        column
    )


def _with_decimal_points(column: pd.Series) -> pd.Series:
    """Return numbers, where a column holds numbers and some of them have a decimal comma."""
    if not _is_text(column):
        return column
    cells = column.dropna().str.strip()
    if not cells.str.fullmatch(DECIMAL_COMMA).all() or not cells.str.contains(",").any():
        return column
    return pd.to_numeric(column.str.strip().str.replace(",", ".")).astype(float)


def _odd_cell(cells: pd.Series) -> str | None:
    """Return a cell for which a column that seems to hold numbers is one of text, if it is so."""
    words = cells[pd.to_numeric(cells, errors="coerce").isna()]
    if words.empty:
        return None
    are_few = len(words) <= MOST_WORDS * len(cells) and words.nunique() <= 3
    is_number = are_few or cells.str.strip().str.fullmatch(WITH_MARKS).all()
    return str(words.iloc[0]) if is_number else None


def _are_numbers(column: pd.Series) -> bool:
    """Tell whether the cells of a CSV that are not blank are numbers, and there are some."""
    numbers = pd.to_numeric(column, errors="coerce")
    return bool(numbers.notna().any() and (numbers.notna() == column.notna()).all())


def _read_json(path: Path) -> pd.DataFrame:
    return _read_json_lines(path) if _has_a_record_per_line(path) else _records(_json(path))


def _read_json_lines(path: Path) -> pd.DataFrame:
    lines = path.read_text(encoding="utf-8").split("\n")
    return _records([json.loads(line) for line in lines if line.strip()])


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _records(records: Any) -> pd.DataFrame:
    """Return a table of records; text stays text and numbers stay numbers, whatever their names."""
    if isinstance(records, list) and len(records) == 1 and _are_columns(records[0]):
        raise ValueError('it holds columns; pandas writes records with orient="records"')
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise ValueError("it is not a list of records")
    return pd.DataFrame.from_records(records)


def _are_columns(record: Any) -> bool:
    """Tell whether a record is a table as pandas' `to_json` writes one if it is not told how."""
    return (
        bool(record)
        and isinstance(record, dict)
        and all(isinstance(cells, dict) for cells in record.values())
    )


def _blank_as_missing(table: pd.DataFrame, words: Sequence[str]) -> pd.DataFrame:
    """Make blank cells, and those that stand for missing ones, missing."""
    numbers = [float(word) for word in words if _is_number(word)]
    for name, column in table.items():
        if pd.api.types.is_numeric_dtype(column.dtype):
            unwanted = column.isin(numbers) if numbers else None
        elif pd.api.types.is_object_dtype(column.dtype) or isinstance(column.dtype, pd.StringDtype):
            unwanted = column.map(
                lambda cell: isinstance(cell, str) and (not cell.strip() or cell in words)
            ).astype(bool)
        else:
            continue
        if unwanted is not None and unwanted.any():
            table[name] = column.mask(unwanted).infer_objects()
    return table


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    "csv": partial(_read_csv, text=(), words=()),
    "parquet": pd.read_parquet,
    "json": _read_json,
    "jsonl": _read_json_lines,
}


def write_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table in the format that the file's name says, whole or not at all."""
    path = Path(path)
    kind = table_kind(path)
    if kind == "parquet":
        require("pyarrow", str(path))

    def write(part: Path) -> None:
        if kind == "csv":
            table.to_csv(part, index=False, sep="\t" if is_tabbed(path) else ",")
        elif kind == "parquet":
            table.to_parquet(part, index=False)
        else:
            table.to_json(
                part,
                orient="records",
                lines=kind == "jsonl",
                date_format="iso",  # as numbers, dates could not be told from other numbers
                double_precision=15,
            )

    save_whole(path, write)


def split_target(table: pd.DataFrame, target: str) -> tuple[pd.DataFrame, pd.Series]:
    """Return the features and the target column of a table."""
    if target not in table.columns:
        columns = ", ".join(map(repr, table.columns[:20]))
        names = {str(name).strip().casefold(): name for name in table.columns}
        near = nearest(str(target).strip().casefold(), names)
        hint = f"; did you mean {names[near]!r}?" if near else "."
        raise ValueError(f"There is no column {target!r} among {columns}{hint}")
    return table.drop(columns=target), table[target]


def warn_of_row_numbers(X: pd.DataFrame, path: str | Path) -> None:
    """Warn where the first column of a CSV counts the rows and has no name, as an index does."""
    first = X.columns[0] if X.shape[1] else ""
    if first == "Unnamed: 0" and X[first].tolist() == list(range(len(X))):
        warn(
            f"The first column of {path} has no name and counts the rows, as pandas writes an "
            "index; it is taken as a feature. Leave it out (index=False) unless it says something."
        )


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


def _has_a_record_per_line(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(64).lstrip().startswith(b"{")
