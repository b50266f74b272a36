"""Calendar features: where a stamp stands in the hour, day, week, month and year."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from finetune_tabpfn.forecasting._grid import Grid, Positions

HOUR, DAY = pd.Timedelta(hours=1), pd.Timedelta(days=1)
CYCLES: dict[
    str, tuple[pd.Timedelta, pd.Timedelta]
] = {  # its length, and from which step it says nothing
    "minute_of_hour": (HOUR, HOUR),
    "hour_of_day": (DAY, DAY),
    "day_of_week": (7 * DAY, 7 * DAY),
    "day_of_month": (31 * DAY, 7 * DAY),
    "day_of_year": (365 * DAY, 360 * DAY),
}


def cycles_of(grid: Grid, n_places: int) -> list[str]:
    """Return the cycles of the calendar that a series goes through at least once, in several steps.

    Parameters
    ----------
    grid : Grid
    n_places : int
        That the series spans.
    """
    stamps = grid.flat_stamps(np.arange(max(n_places, 2)))
    step = pd.Timedelta(np.median(np.diff(stamps)))
    span = step * n_places
    return [
        name
        for name, (length, too_coarse) in CYCLES.items()
        if step < too_coarse and span >= 0.98 * length
    ]


def calendar_features(grid: Grid, positions: Positions, cycles: list[str]) -> dict[str, Any]:
    """Return sine and cosine of cycles, as clocks and calendars on the wall show them."""
    stamps = grid.local_stamps(positions)
    day = (stamps - stamps.normalize()) / DAY
    features: dict[str, Any] = {}
    for name in cycles:
        if name == "minute_of_hour":
            turn = (day * 24) % 1
        elif name == "hour_of_day":
            turn = day
        elif name == "day_of_week":
            turn = (stamps.day_of_week + day) / 7
        elif name == "day_of_month":
            turn = (stamps.day - 1 + day) / stamps.days_in_month
        else:
            turn = (stamps.day_of_year - 1 + day) / np.where(stamps.is_leap_year, 366, 365)
        features |= waves(name, np.asarray(turn, dtype=np.float64))
    return features


def waves(name: str, turn: Any) -> dict[str, Any]:
    """Return sine and cosine of a cycle by the share of it that has passed."""
    angle = 2 * np.pi * turn
    return {f"{name}_sin": np.sin(angle), f"{name}_cos": np.cos(angle)}
