"""What each column held in `fit`, and how every later table is read by it.

A batch of rows says too little about its columns: pandas makes floats of text that is missing in
all of them, and numbers of text that happens to be digits. So the kinds are learned once, on the
training rows, and what a cell means never depends on the cells beside it. docs/inputs.md has the
table of what happens to which kind of input.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from finetune_tabpfn.data._columns import NUMBERS, plain, refuse_infinity, refuse_odd_cells
from finetune_tabpfn.data._dates import Order, are_timespans, order_of, read_dates, read_timespans
from finetune_tabpfn.utils._warn import warn

Kind = Literal["numbers", "booleans", "dates", "timespans", "text", "nothing"]
INSTEAD = {  # what would do, by the kind of the column
    "numbers": "a number",
    "booleans": "true, false",
    "dates": "a date (as text: 2024-12-31)",
    "timespans": "a timespan (as text: 1 days 02:00:00)",
    "text": "text",
}


@dataclass(frozen=True)
class Column:
    """What a column held in `fit`.

    Attributes
    ----------
    name : object
    kind : {"numbers", "booleans", "dates", "timespans", "text", "nothing"}
        Categories are numbers where their levels are, else text; "nothing" is missing throughout.
    order : {"day first", "month first"}, optional
        Of dates that were text.
    zone : tzinfo, optional
        Of dates.
    spelled : dict
        Of text: how the numbers and booleans among its levels are written, by their values, where
        that is not how Python would write them.
    """

    name: Any
    kind: Kind
    order: Order | None = None
    zone: Any = None
    spelled: Mapping[Any, str] = field(default_factory=dict)

    def read(self, cells: pd.Series) -> pd.Series:
        """Return cells as what the column held, the same object where they are that already.

        Raises
        ------
        UnreadableError
            For a cell that is something else; it holds the cell.
        """
        return _READ[self.kind](self, cells)


class UnreadableError(ValueError):
    """Raised for a cell that is not what its column held in `fit`."""

    def __init__(self, cell: Any) -> None:
        super().__init__(cell)
        self.cell = cell


@dataclass(frozen=True)
class Columns:
    """What the columns of a table held in `fit`.

    Attributes
    ----------
    columns : tuple of Column
        In the order of the table.
    """

    columns: tuple[Column, ...]

    @classmethod
    def of(
        cls, X: pd.DataFrame | npt.NDArray[Any], *, categorical: Sequence[int] = (), name: str = "X"
    ) -> Columns:
        """Learn the columns of a tidy table; one warning for dates that can be read two ways.

        Parameters
        ----------
        X : DataFrame or ndarray of shape (n_rows, n_features)
        categorical : sequence of int
            Columns whose text is categories even where it is dates.
        name : str
            Of the parameter, for the warning.
        """
        if not isinstance(X, pd.DataFrame):
            return cls(tuple(Column(position, "numbers") for position in range(X.shape[1])))
        columns, guessed = [], {}
        for position, label in enumerate(X.columns):
            column, example = _learned(X.iloc[:, position], label, position in categorical)
            columns.append(column)
            if example is not None:
                guessed[label] = example
        if guessed:
            some = ", ".join(f"{cell!r} in {label!r}" for label, cell in guessed.items())
            warn(
                f"Dates of {name} can be read with the day or with the month first ({some}); the "
                "month is taken to come first. Write them as 2024-12-31 if it does not."
            )
        return cls(tuple(columns))

    @property
    def names_of_text(self) -> list[str]:
        """Columns whose cells in a file are text, whatever they look like."""
        as_text = ("text", "dates", "timespans")
        return [str(column.name) for column in self.columns if column.kind in as_text]

    def read(
        self, X: pd.DataFrame | npt.NDArray[Any], name: str = "X"
    ) -> pd.DataFrame | npt.NDArray[Any]:
        """Return a table with every column as what it held in `fit`; it is not copied needlessly.

        Parameters
        ----------
        X : DataFrame or ndarray of shape (n_rows, n_features)
        name : str
            Of the parameter, for messages.

        Raises
        ------
        ValueError
            For a cell that is something else, by the name of its column.
        """
        if not isinstance(X, pd.DataFrame):
            if all(column.kind == "numbers" for column in self.columns) and X.dtype.kind in "biuf":
                if X.dtype.kind == "f" and np.isinf(X).any():
                    self.read(pd.DataFrame(X), name)  # raises and names the column
                return X
            X = pd.DataFrame(X)
        changed = {}
        for position, column in enumerate(self.columns):
            cells = X.iloc[:, position]
            read = _read(column, cells, X.columns[position], name)
            if read is not cells:
                changed[position] = read
        if changed:
            X = X.copy(deep=False)
            for position, read in changed.items():
                X.isetitem(position, read.array)
        return X


def _learned(cells: pd.Series, label: Any, categorical: bool) -> tuple[Column, str | None]:
    """Return what a tidy column holds, with a date whose order of day and month was guessed."""
    kind = _kind_of(cells)
    if kind == "dates":
        return Column(label, kind, zone=_zone(cells)), None
    if kind != "text":
        return Column(label, kind), None
    levels = pd.Series(_levels(cells), dtype=object)
    if not categorical and not isinstance(cells.dtype, pd.CategoricalDtype):
        if are_timespans(levels):
            return Column(label, "timespans"), None
        found = order_of(levels)
        if found is not None:
            order, guessed = found
            # order_of lets no column pass of which only some dates have an offset from UTC
            zoned = read_dates(levels[:1], order, zoned=True).notna().all()
            dates = Column(label, "dates", order, "UTC" if zoned else None)
            return dates, levels[0] if guessed else None
    return Column(label, "text", spelled=_spelled(levels)), None


def names_of_text(table: pd.DataFrame) -> list[str]:
    """Return the columns of a table as it was read whose cells are text in other files as well."""
    return [
        str(name)
        for name, cells in table.items()
        if pd.api.types.infer_dtype(cells, skipna=True) not in (*NUMBERS, "empty")
    ]


def _read(column: Column, cells: pd.Series, label: Any, name: str) -> pd.Series:
    """Read a column, with one sentence for what cannot be read."""
    try:
        refuse_odd_cells(cells)
        read = cells if _is_category_of(column.kind, cells) else column.read(plain(cells))
        refuse_infinity(read)
    except UnreadableError as error:
        cell = error.cell.item() if hasattr(error.cell, "item") else error.cell
        raise ValueError(
            f"{name} has {cell!r} in column {label!r}, which held {column.kind} in fit; replace "
            f"it by one of those ({INSTEAD[column.kind]}) or by a missing value."
        ) from None
    except (TypeError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"Column {label!r} of {name} cannot be used: {reason}.") from error
    return read


def _kind_of(cells: pd.Series) -> Kind:
    """Return the kind of a tidy column."""
    dtype: Any = cells.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return "numbers" if dtype.categories.dtype.kind in "iuf" else "text"
    if dtype.kind == "m":
        return "timespans"
    if dtype.kind == "M" or isinstance(dtype, (pd.DatetimeTZDtype, pd.PeriodDtype)):
        return "dates"
    if not cells.notna().any():
        return "nothing"
    if pd.api.types.is_bool_dtype(dtype):
        return "booleans"
    return "numbers" if pd.api.types.is_numeric_dtype(dtype) else "text"


def _is_category_of(kind: Kind, cells: pd.Series) -> bool:
    """Tell whether cells are categories whose levels are of a kind."""
    if not isinstance(cells.dtype, pd.CategoricalDtype) or _kind_of(cells) != kind:
        return False
    levels = cells.dtype.categories
    return kind == "numbers" or pd.api.types.infer_dtype(levels) in ("string", "empty")


def _zone(cells: pd.Series) -> Any:
    """Return the time zone of dates, None without."""
    return None if isinstance(cells.dtype, pd.PeriodDtype) else cells.dt.tz


def _levels(cells: pd.Series) -> list[str]:
    """Return the different texts of a column."""
    if isinstance(cells.dtype, pd.CategoricalDtype):
        return [str(level) for level in cells.cat.categories]
    return [str(level) for level in cells.dropna().unique()]


def _spelled(levels: Iterable[str]) -> dict[Any, str]:
    """Return how numbers and booleans are written in text, where Python would write otherwise.

    A value that is written in several ways is left to Python's: nobody could tell which is meant.
    """
    known = set(levels)
    spellings: dict[Any, set[str]] = {}
    for text in known:
        value = _value(text)
        if value is not None:
            spellings.setdefault(value, set()).add(text)
    return {
        value: next(iter(texts))
        for value, texts in spellings.items()
        if len(texts) == 1 and _as_python_writes(value) not in texts
    }


def _value(text: str) -> Any:
    """Return the number or boolean that a text stands for, None for other text."""
    if text.lower() in ("true", "false"):
        return ("boolean", text.lower() == "true")  # apart from 1 and 0, which are equal to them
    if not text.isascii() or "_" in text:
        return None
    for number in (int, float):
        try:
            value = number(text)
        except ValueError:
            continue
        return value if np.isfinite(float(value)) else None
    return None


def _as_python_writes(value: Any) -> str:
    """Return a value as text: 7 for 7.0, because a missing cell makes floats of whole numbers."""
    if isinstance(value, tuple):
        value = value[1]
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value)


def _first(cells: pd.Series, wrong: npt.NDArray[np.bool_]) -> Any:
    return cells[wrong].iloc[0]


def _is_time(dtype: Any) -> bool:
    return dtype.kind in "mM" or isinstance(dtype, (pd.DatetimeTZDtype, pd.PeriodDtype))


def _numbers(column: Column, cells: pd.Series) -> pd.Series:
    """Read numbers, those that are written as text among them; booleans count as 1 and 0."""
    if pd.api.types.is_numeric_dtype(cells.dtype):
        return cells
    if _is_time(cells.dtype):
        return _missing(cells, np.float64)

    def number(cell: Any) -> float | None:
        try:
            if not isinstance(cell, str):
                return float(cell)
            value = _value(cell.strip())
            if isinstance(value, tuple):
                value = value[1] if column.kind == "booleans" else None
            return None if value is None else float(value)
        except (TypeError, ValueError):
            return None

    return _all_read(cells, cells.astype(object).map(number, na_action="ignore"), np.float64)


def _all_read(cells: pd.Series, read: pd.Series, dtype: Any = None) -> pd.Series:
    """Return what was read; raise for a cell that was there and is missing now."""
    wrong = (read.isna() & cells.notna()).to_numpy(bool)
    if wrong.any():
        raise UnreadableError(_first(cells, wrong))
    return read if dtype is None else read.where(read.notna(), np.nan).astype(dtype)


def _missing(cells: pd.Series, dtype: Any) -> pd.Series:
    """Return a column that is missing throughout as one of another type; raise if it is not."""
    present = cells.notna().to_numpy(bool)
    if present.any():
        raise UnreadableError(_first(cells, present))
    return pd.Series(np.full(len(cells), np.nan), index=cells.index).astype(dtype)


def _dates(column: Column, cells: pd.Series) -> pd.Series:
    """Read dates; text as ISO 8601 or in the order of `fit`."""
    if isinstance(cells.dtype, pd.PeriodDtype):
        return cells if column.zone is None else _zoned(column, cells.dt.to_timestamp())
    if cells.dtype.kind != "M" and not isinstance(cells.dtype, pd.DatetimeTZDtype):
        if pd.api.types.is_numeric_dtype(cells.dtype) or cells.dtype.kind == "m":
            cells = _missing(cells, "datetime64[us]")
        else:
            cells = _dates_of_objects(column, cells.astype(object))
    return _zoned(column, cells)


def _dates_of_objects(column: Column, cells: pd.Series) -> pd.Series:
    """Read dates that are text, or objects."""

    def text(cell: Any) -> str | None:
        if isinstance(cell, np.datetime64):
            cell = pd.Timestamp(cell)
        return cell.isoformat() if isinstance(cell, datetime.date) else _stripped(cell)

    texts = cells.map(text, na_action="ignore")
    return _all_read(cells, read_dates(texts, column.order, zoned=column.zone is not None))


def _stripped(cell: Any) -> str | None:
    return cell.strip() if isinstance(cell, str) else None


def _zoned(column: Column, dates: pd.Series) -> pd.Series:
    """Return dates in the time zone of `fit`; raise where only one of both has a zone."""
    if (dates.dt.tz is None) != (column.zone is None):
        present = dates.notna().to_numpy(bool)
        if present.any():
            cell = _first(dates, present)
            raise ValueError(
                f"{str(cell)!r} has {'no' if dates.dt.tz is None else 'a'} time zone, other than "
                "the dates in fit; use pandas' dt.tz_localize"
            )
        return dates.dt.tz_localize(column.zone)
    if column.zone is None or str(dates.dt.tz) == str(column.zone):
        return dates
    return dates.dt.tz_convert(column.zone)


def _timespans(column: Column, cells: pd.Series) -> pd.Series:
    """Read timespans; numbers have no unit and are none."""
    if cells.dtype.kind == "m":
        return cells
    if pd.api.types.is_numeric_dtype(cells.dtype) or _is_time(cells.dtype):
        return _missing(cells, "timedelta64[us]")

    def text(cell: Any) -> str | None:
        is_span = isinstance(cell, (datetime.timedelta, np.timedelta64))
        return str(pd.Timedelta(cell)) if is_span else _stripped(cell)

    texts = cells.astype(object).map(text, na_action="ignore")
    return _all_read(cells, read_timespans(texts))


def _text(column: Column, cells: pd.Series) -> pd.Series:
    """Read text; numbers are turned back into the text that they were in `fit`."""
    present = cells.notna().to_numpy(bool)
    if not present.any():
        # a column of NaN, of whatever type, TabPFN would take for numbers
        return pd.Series(np.full(len(cells), None, dtype=object), index=cells.index)
    if _is_time(cells.dtype):
        raise UnreadableError(_first(cells, present))
    if isinstance(cells.dtype, pd.StringDtype) or (
        cells.dtype == object and pd.api.types.infer_dtype(cells, skipna=True) == "string"
    ):
        return cells
    written = cells.astype(object).map(_writer(column.spelled), na_action="ignore")
    return written.astype(object)


def _writer(spelled: Mapping[Any, str]) -> Callable[[Any], str]:
    """Return the function that writes a cell as text, as the levels of a column are spelled."""

    def write(cell: Any) -> str:
        if isinstance(cell, str):
            return cell
        value = cell.item() if isinstance(cell, np.generic) else cell
        if isinstance(value, bool):
            value = ("boolean", value)
        if not isinstance(value, (int, float, tuple)):
            return str(value)
        return spelled.get(value) or _as_python_writes(value)

    return write


def _nothing(column: Column, cells: pd.Series) -> pd.Series:
    """Return missing cells: what was missing throughout in `fit` tells nothing."""
    if not cells.notna().any():
        return cells
    return pd.Series(np.full(len(cells), np.nan), index=cells.index)


_READ: dict[Kind, Callable[[Column, pd.Series], pd.Series]] = {
    "numbers": _numbers,
    "booleans": _numbers,
    "dates": _dates,
    "timespans": _timespans,
    "text": _text,
    "nothing": _nothing,
}
