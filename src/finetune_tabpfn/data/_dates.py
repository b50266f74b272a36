"""Dates and timespans written as text, read cell by cell.

pandas guesses the format of a column from its first cell, so that a date would mean one day beside
some rows and another day beside others. Here a cell is ISO 8601 (2024-12-31, with or without a
time), 2024/12/31, or three numbers with the year last, whose order is decided once in `fit`.
"""

from __future__ import annotations

import re
from typing import Literal

import pandas as pd

Order = Literal["day first", "month first"]

_TIME = r"(?P<time>[T ]\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?)?"
_OFFSET = r"(?P<offset>Z|[+-]\d\d:?\d\d)?"
YEAR_FIRST = re.compile(
    r"(?P<year>\d{4})(?P<mark>[-/])(?P<month>\d{1,2})(?P=mark)(?P<day>\d{1,2})" + _TIME + _OFFSET
)
YEAR_LAST = re.compile(
    r"(?P<first>\d{1,2})(?P<mark>[-/.])(?P<second>\d{1,2})(?P=mark)(?P<year>\d{4})"
    + _TIME
    + _OFFSET
)
# as pandas and Python write timespans, and ISO 8601
TIMESPAN = re.compile(
    r"-?\d+ days?(,? [+-]?\d{1,2}:\d\d:\d\d(\.\d+)?)?"
    r"|-?P(\d+D)?(T(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?"
)
A_NUMBER = r"\s*[-+]?[\d.]*(?:[eE][-+]?\d+)?\s*"
MONTHS = 12


def order_of(texts: pd.Series) -> tuple[Order, bool] | None:
    """Return the order of day and month in cells of text, and whether it is a guess.

    Parameters
    ----------
    texts : Series of str
        Without missing cells, each once.

    Returns
    -------
    tuple of {"day first", "month first"} and bool, or None
        None where not every cell is a date, or no order fits all. With dots the day comes first;
        where nothing tells, the month does, and that is a guess.
    """
    numbers, dotted, zoned = [], False, set()
    for text in texts:
        found = YEAR_FIRST.fullmatch(text)
        if found is None:
            found = YEAR_LAST.fullmatch(text)
            if found is None:
                return None
            numbers.append((int(found["first"]), int(found["second"])))
            dotted = dotted or found["mark"] == "."
        zoned.add(found["offset"] is not None)
    day_first = any(first > MONTHS for first, _ in numbers)
    month_first = any(second > MONTHS for _, second in numbers)
    if ((day_first or dotted) and month_first) or len(zoned) != 1:
        return None
    order: Order = "day first" if day_first or dotted else "month first"
    if read_dates(texts, order, zoned=zoned.pop()).isna().any():
        return None
    return order, bool(numbers) and not (day_first or month_first or dotted)


def read_dates(texts: pd.Series, order: Order | None, *, zoned: bool) -> pd.Series:
    """Return the dates that cells of text stand for, missing for what is none.

    Parameters
    ----------
    texts : Series of str
        Missing cells stay missing.
    order : {"day first", "month first"}, optional
        Of dates with the year last. Without it only those with dots, which are day first, are
        dates.
    zoned : bool
        Whether they have to have an offset from UTC, or must not have one.

    Returns
    -------
    Series of datetime64
        In UTC if `zoned`.
    """
    iso = {text: _iso(text, order, zoned) for text in texts.dropna().unique()}
    cells = texts.map(iso, na_action="ignore").astype(object)
    return pd.to_datetime(cells, format="ISO8601", errors="coerce", utc=zoned)


def are_timespans(texts: pd.Series) -> bool:
    """Tell whether all cells of text, none of them missing, are timespans with their unit."""
    return (
        all(TIMESPAN.fullmatch(text) for text in texts) and not read_timespans(texts).isna().any()
    )


def read_timespans(texts: pd.Series) -> pd.Series:
    """Return the timespans that cells of text stand for, missing for what is none.

    As pandas writes them ("1 days 02:00:00", "P1DT2H") or "02:00:00"; a number without a unit is
    none.
    """
    bare = texts.astype("string").str.fullmatch(A_NUMBER).fillna(False).astype(bool)
    return pd.to_timedelta(texts.astype(object).mask(bare.to_numpy()), errors="coerce")


def _iso(text: str, order: Order | None, zoned: bool) -> str | None:
    """Return a date as ISO 8601 writes it, None for what is no date."""
    found = YEAR_FIRST.fullmatch(text)
    if found is not None:
        month, day = found["month"], found["day"]
    else:
        found = YEAR_LAST.fullmatch(text)
        if found is None or (order is None and found["mark"] != "."):
            return None
        day, month = found["first"], found["second"]
        if order == "month first":
            day, month = month, day
    if (found["offset"] is not None) != zoned:
        return None
    time = (found["time"] or "")[1:].replace(",", ".")
    if time:
        hour, _, rest = time.partition(":")
        time = f"T{hour:0>2}:{rest}"
    elif found["offset"]:
        return None
    return f"{found['year']}-{month:0>2}-{day:0>2}{time}{found['offset'] or ''}"
