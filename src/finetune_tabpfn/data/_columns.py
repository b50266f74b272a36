"""Columns as TabPFN takes them: numbers, text, categories, dates, missing values.

docs/inputs.md has a table of what happens to which kind of input.
"""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

# as pandas.api.types.infer_dtype names what cells of a column of objects are
NUMBERS = ("integer", "floating", "mixed-integer-float", "decimal", "boolean")
DATES = ("datetime64", "datetime", "date")
SPANS = ("timedelta64", "timedelta")


def tidy_columns(X: pd.DataFrame, name: str = "X") -> pd.DataFrame:
    """Return a table whose columns TabPFN takes; columns that are fine are not copied.

    Parameters
    ----------
    X : DataFrame of shape (n_rows, n_features)
    name : str
        Of the parameter, for messages.

    Raises
    ------
    ValueError
        For infinite numbers, complex numbers, cells that are no single values, and two columns
        of one name; it names the column.
    """
    if not X.columns.is_unique:
        twice = X.columns[X.columns.duplicated()][0]
        raise ValueError(f"{name} has more than one column {twice!r}; give each a name of its own.")
    tidied = {}
    for position, label in enumerate(X.columns):
        column = X.iloc[:, position]
        try:
            tidy = _tidy(column)
            refuse_infinity(tidy)
        except (TypeError, ValueError, OverflowError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"Column {label!r} of {name} cannot be used: {reason}.") from error
        if tidy is not column:
            tidied[position] = tidy
    if tidied:
        X = X.copy(deep=False)
        for position, tidy in tidied.items():
            X.isetitem(position, tidy.array)
    return X


def table_of_objects(X: npt.NDArray[Any]) -> pd.DataFrame:
    """Return an array of text or objects as a table in which numbers are numbers again."""
    frame = pd.DataFrame(X).infer_objects()
    for position in range(frame.shape[1]):
        column = frame.iloc[:, position]
        if pd.api.types.infer_dtype(column, skipna=True) == "string":
            numbers = pd.to_numeric(column, errors="coerce")
            if numbers.notna().equals(column.notna()):
                frame.isetitem(position, numbers.array)
    return frame


def _tidy(column: pd.Series) -> pd.Series:
    """Return a column that TabPFN takes, the same object where nothing is to be done."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        levels = dtype.categories
        if levels.dtype.kind == "b":
            return column.astype(object).where(column.notna(), np.nan).astype(np.float64)
        simple = levels.dtype.kind in "iuf" or _kind(levels) == "string"
        return column if simple or not len(levels) else as_text(column).astype("category")
    if dtype.kind == "c":
        refuse_odd_cells(column)
    if isinstance(dtype, pd.IntervalDtype):
        return as_text(column)
    if _is_arrow_time(dtype):
        return _tidy_objects(column.astype(object))
    return _tidy_objects(column) if pd.api.types.is_object_dtype(dtype) else column


def _is_arrow_time(dtype: Any) -> bool:
    """Tell whether a type is one of pyarrow's dates or timespans, which skrub does not take."""
    return isinstance(dtype, pd.ArrowDtype) and issubclass(
        dtype.type, (datetime.date, datetime.timedelta)
    )


def plain(column: pd.Series) -> pd.Series:
    """Return a column without categories, intervals or pyarrow's dates: their values."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = pd.Series(column.astype(object).array, index=column.index, name=column.name)
    if _is_arrow_time(column.dtype):
        return column.astype(object)
    return as_text(column) if isinstance(column.dtype, pd.IntervalDtype) else column


def refuse_odd_cells(column: pd.Series) -> None:
    """Raise for complex numbers, lists and other things that are no single values."""
    is_object = pd.api.types.is_object_dtype(column.dtype)
    kind = _kind(column) if is_object else "plain"
    if column.dtype.kind == "c" or kind == "complex":
        raise ValueError("it holds complex numbers; use two columns of real ones")
    if not kind.startswith("mixed"):
        return
    for cell in column:
        if not pd.api.types.is_scalar(cell):
            raise ValueError(
                f"it holds a {type(cell).__name__}; a cell is a number, text, a date or missing"
            )


def _tidy_objects(column: pd.Series) -> pd.Series:
    """Return a column of objects as what its cells are."""
    kind = _kind(column)
    if kind in NUMBERS:
        return column.where(column.notna(), np.nan).astype(np.float64)
    if kind in DATES:
        return pd.to_datetime(column)
    if kind in SPANS:
        return pd.to_timedelta(column)
    if kind in ("string", "empty"):
        return column
    refuse_odd_cells(column)
    return as_text(column)


def _kind(cells: Any) -> str:
    return pd.api.types.infer_dtype(cells, skipna=True)


def as_text(column: pd.Series) -> pd.Series:
    """Return every cell as text, missing ones missing."""
    return column.astype(object).map(str, na_action="ignore")


def refuse_infinity(column: pd.Series) -> None:
    """Raise for infinite numbers, which TabPFN does not take."""
    values: Any = column
    if isinstance(column.dtype, pd.CategoricalDtype):
        values = column.dtype.categories
    if (
        pd.api.types.is_float_dtype(values.dtype)
        and np.isinf(values.to_numpy(dtype=np.float64, na_value=np.nan)).any()
    ):
        raise ValueError("it contains infinity; use NaN (missing) or a finite number")
