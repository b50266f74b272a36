"""Stamps on a regular grid: the frequency of a time column, and each stamp's place on it.

On the grid a missing stamp is a gap that lags step over. From days upwards it runs in local time,
so that a day is a day where clocks change; below, in UTC, where no hour comes twice.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.tseries.frequencies import to_offset

from finetune_tabpfn.data._dates import order_of, read_dates

Positions = npt.NDArray[np.int64]
DAY = pd.Timedelta(days=1)
MIN_STAMPS = 3
CELLS_TO_TRY = 50  # of a column of text, to tell whether it holds dates
MIN_FILLED = 0.3  # of the places of an inferred grid that must have a stamp
QUARTER = re.compile(r"\d{4}-?[Qq][1-4]")
OFFSETS = pd.offsets
AT_THE_END = (  # of months, so that a stamp belongs to the next place
    OFFSETS.MonthEnd,
    OFFSETS.BusinessMonthEnd,
    OFFSETS.QuarterEnd,
    OFFSETS.BQuarterEnd,
    OFFSETS.YearEnd,
    OFFSETS.BYearEnd,
)


def read_stamps(cells: pd.Series | pd.Index, name: str) -> pd.DatetimeIndex:
    """Return the stamps of a column: dates, periods, or text that is dates.

    Parameters
    ----------
    cells : Series or Index
    name : str
        Of the column, for messages.

    Raises
    ------
    ValueError
        For numbers, missing stamps, or text that is no date.
    """
    column = pd.Series(cells)
    if column.isna().any():
        raise ValueError(
            f"The time column {name!r} lacks {int(column.isna().sum())} of {len(column)} stamps; "
            "drop those rows."
        )
    if isinstance(column.dtype, pd.PeriodDtype):
        return pd.DatetimeIndex(column.dt.to_timestamp())
    if isinstance(column.dtype, pd.DatetimeTZDtype) or column.dtype.kind == "M":
        return pd.DatetimeIndex(column)
    if pd.api.types.is_numeric_dtype(column):
        raise ValueError(
            f"The time column {name!r} holds numbers such as {column.iloc[0]}, not dates; "
            f"{_dates_of(column)}."
        )
    return _stamps_of_text(column, name)


def reads_as_dates(column: pd.Series) -> bool:
    """Tell whether a column is text whose first cells are all dates."""
    if not (column.dtype == object or isinstance(column.dtype, pd.StringDtype)):
        return False
    first = column.dropna().head(CELLS_TO_TRY)
    texts = first.astype(str)
    if first.empty or not texts.str.contains(r"\d[-/.: Qq]").all():
        return False
    try:
        _stamps_of_text(first, "")
    except ValueError:
        return False
    return True


def _dates_of(numbers: pd.Series) -> str:
    """Say how numbers become dates: years, seconds since 1970, or the counts of periods."""
    low, high = numbers.min(), numbers.max()
    if low > 1500 and high < 2500:
        return f'years are written {low:.0f}-01-01, or pd.to_datetime(column, format="%Y")'
    if low > 1e8:
        unit = "s" if high < 1e11 else "ms" if high < 1e14 else "ns"
        return f'pd.to_datetime(column, unit="{unit}") makes them of such numbers'
    return (
        'where they only count periods, pd.Timestamp("2000-01-01") + pd.to_timedelta(column, '
        'unit="D") gives them dates'
    )


def _stamps_of_text(column: pd.Series, name: str) -> pd.DatetimeIndex:
    try:
        return pd.DatetimeIndex(pd.to_datetime(column, format="ISO8601"))
    except (ValueError, TypeError):
        texts = column.astype(str)
    if texts.str.fullmatch(QUARTER).all():
        return pd.DatetimeIndex(pd.PeriodIndex(texts, freq="Q").to_timestamp())
    found = order_of(pd.Series(texts.unique()))
    if found is None:
        raise ValueError(
            f"The time column {name!r} holds {column.iloc[0]!r}, which is no date; write dates as "
            "2024-12-31."
        )
    order, ambiguous = found
    if ambiguous:
        raise ValueError(
            f"The time column {name!r} holds {texts.iloc[0]!r}, which can be read with the day or "
            "with the month first; write dates as 2024-12-31."
        )
    zoned = texts.str.contains(r"(?:Z|[+-]\d\d:?\d\d)$").all()
    return pd.DatetimeIndex(read_dates(texts, order, zoned=bool(zoned)))


@dataclass(frozen=True)
class Grid:
    """A regular grid of stamps.

    Attributes
    ----------
    start : Timestamp
        Of position 0, without a zone.
    frequency : DateOffset
    zone : tzinfo, optional
        Of the stamps that come in and go out.
    """

    start: pd.Timestamp
    frequency: Any
    zone: Any = None

    @classmethod
    def of(cls, stamps: pd.DatetimeIndex, freq: Any = None, name: str = "time") -> Grid:
        """Return the grid that stamps lie on.

        Parameters
        ----------
        stamps : DatetimeIndex
            In any order; several series may share one.
        freq : str or DateOffset, optional
            None infers it.
        name : str
            Of the column, for messages.

        Raises
        ------
        ValueError
            For a frequency that pandas does not know, or that cannot be inferred.
        """
        daily = _of_whole_days(stamps)
        if freq is not None:
            offset = _known_frequency(freq)
            flat = _without_zone(stamps, below_days=_below_days(offset))
            return cls(_first_place(flat.min(), offset), offset, stamps.tz)
        flat = _without_zone(stamps, below_days=not daily).unique().sort_values()
        return cls(flat[0], _inferred(flat, name), stamps.tz)

    @property
    def below_days(self) -> bool:
        """Whether the frequency is finer than days."""
        return _below_days(self.frequency)

    def positions(self, stamps: pd.DatetimeIndex, name: str = "time") -> Positions:
        """Return the places of stamps on the grid; one between two places is at the first.

        Raises
        ------
        ValueError
            For a stamp before the start, or with a zone where `fit` had none.
        """
        if (stamps.tz is None) != (self.zone is None):
            has = "no time zone" if stamps.tz is None else f"the time zone {stamps.tz}"
            raise ValueError(
                f"The time column {name!r} has {has}, other than in fit ({self.zone}); convert it."
            )
        if not len(stamps):
            return np.empty(0, dtype=np.int64)
        local = stamps if self.zone is None else stamps.tz_convert(self.zone)
        flat = _without_zone(local, below_days=self.below_days)
        if flat.min() < self.start:
            raise ValueError(
                f"The time column {name!r} holds {flat.min()}, which lies before the first stamp "
                f"of fit ({self.start})."
            )
        places = pd.date_range(self.start, flat.max(), freq=self.frequency)
        if isinstance(self.frequency, AT_THE_END):
            places = pd.date_range(self.start, periods=len(places) + 1, freq=self.frequency)
            return places.searchsorted(flat, side="left").astype(np.int64)
        return (places.searchsorted(flat, side="right") - 1).astype(np.int64)

    def stamps(self, positions: Positions) -> pd.DatetimeIndex:
        """Return the stamps of places, in the zone that stamps came in."""
        flat = self.flat_stamps(positions)
        if self.zone is None:
            return flat
        if self.below_days:
            return flat.tz_localize("UTC").tz_convert(self.zone)
        return flat.tz_localize(self.zone, nonexistent="shift_forward", ambiguous=True)

    def local_stamps(self, positions: Positions) -> pd.DatetimeIndex:
        """Return what a clock on the wall says at places."""
        stamps = self.stamps(positions)
        return stamps if self.zone is None else stamps.tz_localize(None)

    def flat_stamps(self, positions: Positions) -> pd.DatetimeIndex:
        """Return the stamps of places as the grid counts them."""
        n_places = int(np.max(positions, initial=0)) + 1
        return pd.date_range(self.start, periods=n_places, freq=self.frequency)[positions]


def _of_whole_days(stamps: pd.DatetimeIndex) -> bool:
    """Tell whether all stamps have the same time of day, in their own zone, on different days."""
    local = stamps.tz_localize(None) if stamps.tz is not None else stamps
    return len((local - local.normalize()).unique()) == 1


def _without_zone(stamps: pd.DatetimeIndex, below_days: bool) -> pd.DatetimeIndex:
    if stamps.tz is None:
        return stamps
    return (stamps.tz_convert("UTC") if below_days else stamps).tz_localize(None)


def _known_frequency(freq: Any) -> Any:
    try:
        return to_offset(freq)
    except ValueError as error:
        raise ValueError(
            f"freq={freq!r} is no frequency of pandas; 'h', 'D', 'B', 'W-MON', 'MS' and '15min' "
            "are some."
        ) from error


def _below_days(offset: Any) -> bool:
    return isinstance(offset, OFFSETS.Tick) and pd.Timedelta(offset) % DAY != pd.Timedelta(0)


def _first_place(first: pd.Timestamp, offset: Any) -> pd.Timestamp:
    """Return the place on the grid of a frequency that holds the first stamp."""
    if _below_days(offset):
        return first.floor(offset)
    turn = offset.rollforward if isinstance(offset, AT_THE_END) else offset.rollback
    return turn(first.normalize())


def _inferred(stamps: pd.DatetimeIndex, name: str) -> Any:
    """Return the frequency of sorted, distinct stamps, of which some may be missing."""
    if len(stamps) >= MIN_STAMPS:
        known = _known_to_pandas(stamps)
        if known is not None and not isinstance(known, OFFSETS.Hour):
            return known
        for candidate in _candidates(stamps):
            places = pd.date_range(stamps[0], stamps[-1], freq=candidate)
            filled = len(stamps) >= MIN_FILLED * len(places)
            if filled and stamps.isin(places).all():
                return candidate
    raise ValueError(
        f"freq=None: the frequency of the time column {name!r} cannot be inferred from "
        f"{len(stamps)} different stamps {_distances(stamps)}; name it, such as freq='D', and "
        "each stamp counts for its period, or resample."
    )


def _known_to_pandas(stamps: pd.DatetimeIndex) -> Any:
    """Return the frequency of stamps of which none is missing, None for others."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of what it will return in pandas 4
        found = pd.infer_freq(stamps)
    return None if found is None else to_offset(found)


def _candidates(stamps: pd.DatetimeIndex) -> list[Any]:
    """Return frequencies whose grid the stamps may lie on, the likeliest first."""
    usual = pd.Timedelta(pd.Series(np.diff(stamps)).mode().iloc[0])
    first = stamps[0]
    if usual % DAY != pd.Timedelta(0):
        return [to_offset(usual)]
    if usual < pd.Timedelta(days=28):
        found: list[Any] = [OFFSETS.Day(usual.days)]
        if usual == 7 * DAY:
            return [OFFSETS.Week(weekday=first.day_of_week)]
        if usual == DAY and not (stamps.day_of_week >= 5).any():
            found.insert(0, OFFSETS.BDay())
        return found
    months, month = round(usual / pd.Timedelta(days=30.44)), first.month
    by_months: dict[int, list[Any]] = {
        1: [OFFSETS.MonthBegin(), OFFSETS.MonthEnd()],
        3: [OFFSETS.QuarterBegin(startingMonth=month), OFFSETS.QuarterEnd(startingMonth=month)],
        12: [OFFSETS.YearBegin(month=month), OFFSETS.YearEnd(month=month)],
    }
    return [*by_months.get(months, []), pd.DateOffset(months=months)]


def _distances(stamps: pd.DatetimeIndex) -> str:
    if len(stamps) < 2:
        return "(it takes three)"
    distances = pd.Series(np.diff(stamps))
    return f"({distances.min()} to {distances.max()} apart)"
