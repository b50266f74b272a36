"""Columns as TabPFN takes them: numbers, text, categories, dates, missing values.

docs/inputs.md has a table of what happens to which kind of input.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

# as pandas.api.types.infer_dtype names what cells of a column of objects are
NUMBERS = ("integer", "floating", "mixed-integer-float", "decimal", "boolean")
DATES = ("datetime64", "datetime", "date")


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
            _refuse_infinity(tidy)
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


def column_kinds(X: pd.DataFrame | npt.NDArray[Any]) -> dict[int, str]:
    """Return which columns hold numbers and which dates, by position.

    Parameters
    ----------
    X : DataFrame or ndarray of shape (n_rows, n_features)
        A tidy table.

    Returns
    -------
    dict of int to {"numbers", "dates"}
        Without the columns that are text or categories or missing throughout.
    """
    if not isinstance(X, pd.DataFrame):
        return dict.fromkeys(range(X.shape[1]), "numbers")
    return {
        position: kind
        for position, dtype in enumerate(X.dtypes)
        if (kind := _number_or_date(dtype)) and X.iloc[:, position].notna().any()
    }


def match_kinds(
    X: pd.DataFrame | npt.NDArray[Any], kinds: Mapping[int, str], name: str = "X"
) -> pd.DataFrame | npt.NDArray[Any]:
    """Return a table with numbers and dates where the table of `fit` had them.

    Parameters
    ----------
    X : DataFrame or ndarray of shape (n_rows, n_features)
    kinds : dict of int to {"numbers", "dates"}
        Of the columns in `fit`, by position.
    name : str

    Raises
    ------
    ValueError
        For a column that holds something else now.
    """
    if not isinstance(X, pd.DataFrame):
        return X
    for position, kind in kinds.items():
        column = X.iloc[:, position]
        if _number_or_date(column.dtype) == kind:
            continue
        convert = pd.to_numeric if kind == "numbers" else pd.to_datetime
        matched = convert(column.astype(object), errors="coerce")
        lost = column[matched.isna() & column.notna()]
        if len(lost):
            raise ValueError(
                f"{name} has {lost.iloc[0]!r} in column {X.columns[position]!r}, which held "
                f"{kind} in fit; replace it by one of those or by a missing value."
            )
        X = X.copy(deep=False)
        X.isetitem(position, matched.array)
    return X


def _number_or_date(dtype: Any) -> str | None:
    if pd.api.types.is_numeric_dtype(dtype):
        return "numbers"
    if dtype.kind == "M" or isinstance(dtype, (pd.DatetimeTZDtype, pd.PeriodDtype)):
        return "dates"
    return None


def _tidy(column: pd.Series) -> pd.Series:
    """Return a column that TabPFN takes, the same object where nothing is to be done."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        plain = dtype.categories.dtype.kind in "biuf" or _kind(dtype.categories) == "string"
        return column if plain or not len(dtype.categories) else _text(column).astype("category")
    if dtype.kind == "c":
        raise ValueError("it holds complex numbers; use two columns of real ones")
    if isinstance(dtype, pd.IntervalDtype):
        return _text(column)
    return _tidy_objects(column) if pd.api.types.is_object_dtype(dtype) else column


def _tidy_objects(column: pd.Series) -> pd.Series:
    """Return a column of objects as what its cells are."""
    kind = _kind(column)
    if kind in NUMBERS:
        return column.where(column.notna(), np.nan).astype(np.float64)
    if kind in DATES:
        return pd.to_datetime(column)
    if kind == "complex":
        raise ValueError("it holds complex numbers; use two columns of real ones")
    if kind in ("string", "empty"):
        return column
    for cell in column:
        if not pd.api.types.is_scalar(cell):
            raise ValueError(
                f"it holds a {type(cell).__name__}; a cell is a number, text, a date or missing"
            )
    return _text(column)


def _kind(cells: Any) -> str:
    return pd.api.types.infer_dtype(cells, skipna=True)


def _text(column: pd.Series) -> pd.Series:
    """Return every cell as text, missing ones missing."""
    return column.astype(object).map(str, na_action="ignore")


def _refuse_infinity(column: pd.Series) -> None:
    """Raise for infinite numbers, which TabPFN does not take."""
    values: Any = column
    if isinstance(column.dtype, pd.CategoricalDtype):
        values = column.dtype.categories
    if (
        pd.api.types.is_float_dtype(values.dtype)
        and np.isinf(values.to_numpy(dtype=np.float64, na_value=np.nan)).any()
    ):
        raise ValueError("it contains infinity; use NaN (missing) or a finite number")
