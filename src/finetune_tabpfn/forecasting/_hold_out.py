"""Which periods a forecaster holds out: the last horizons, or rows of the user's that follow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from finetune_tabpfn.finetuning import _defaults
from finetune_tabpfn.forecasting._rows import History, Layout, read_target

MIN_ROWS = 8  # to train on


def last_horizons(
    history: History, horizon: int, n_windows: int | None, context_length: int | None
) -> int:
    """Return how many periods at the end are held out: some horizons, about a fifth of the stamps.

    Parameters
    ----------
    history : History
    horizon : int
    n_windows : int, optional
        Horizons that the user asks for.
    context_length : int, optional
        Stamps that there are at most.

    Raises
    ------
    ValueError
        Where not even one horizon can be held out, or not as many as are asked for.
    """
    n_stamps = int(np.isfinite(history.values).any(axis=1).sum())
    allowed = f"{n_stamps} stamps allow"
    if context_length is not None and context_length < n_stamps:
        n_stamps, allowed = context_length, f"context_length={context_length} allows"
    longest = (n_stamps - MIN_ROWS) // 2
    if horizon > longest:
        raise ValueError(
            f"horizon={horizon} is longer than {allowed}: one horizon is held out, one lies "
            f"before the rows that are described, and {MIN_ROWS} rows train; "
            + (f"{longest} would do." if longest > 0 else "more stamps are needed.")
        )
    most = (n_stamps - horizon - MIN_ROWS) // horizon
    if n_windows is not None and n_windows > most:
        raise ValueError(
            f"n_validation_windows={n_windows} of {horizon} periods are more than {allowed}; at "
            f"most {most} would do."
        )
    if n_windows is not None:
        return n_windows * horizon
    share = _defaults.hold_out_fraction(n_stamps * len(history.series))
    return min(max(1, round(share * n_stamps / horizon)), most) * horizon


def with_later(
    df: pd.DataFrame,
    later: pd.DataFrame,
    layout: Layout,
    target: Any,
    names: tuple[str, str] = ("df", "df_val"),
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return rows and later rows, with the columns of the first, as one table; and the first.

    Rows without a target are left out of both. `names` say in messages what they are.

    Raises
    ------
    ValueError
        For a column that the later rows lack, or where they begin before the others have ended.
    """
    missing = [name for name in df.columns if name not in later.columns]
    if missing:
        raise ValueError(f"{names[1]} lacks the column {missing[0]!r}, which {names[0]} has.")
    parts = [rows[read_target(rows, target).notna().to_numpy()] for rows in (df, later)]
    end, first = layout.stamps(parts[0]).max(), layout.stamps(parts[1]).min()
    if (end.tz is None) != (first.tz is None):
        raise ValueError(f"{names[0]} and {names[1]} must both have a time zone, or none.")
    if first <= end:
        raise ValueError(
            f"{names[1]} begins at {first}, and {names[0]} ends at {end}; {names[1]} must come "
            f"after all of {names[0]}."
        )
    by_index = layout.time_column is None
    whole = pd.concat([parts[0], parts[1][list(df.columns)]], ignore_index=not by_index)
    return whole, parts[0]


def later_rows(
    history: History, end: int, horizon: int, n_windows: int | None, context_length: int | None
) -> int:
    """Return how many periods the user's own rows to validate on are, which begin at a place.

    Raises
    ------
    ValueError
        Where too few stamps lie before them, or the end of `df` is to be held out as well.
    """
    if n_windows is not None:
        raise ValueError(
            f"n_validation_windows={n_windows} holds out the end of df, but df_val is given; leave "
            "one of them out."
        )
    n_before = int(np.isfinite(history.values[:end]).any(axis=1).sum())
    longest = n_before - MIN_ROWS
    if horizon > longest:
        raise ValueError(
            f"horizon={horizon} is longer than {n_before} stamps before df_val allow: one lies "
            f"before the rows that are described, and {MIN_ROWS} rows train; "
            + (f"{longest} would do." if longest > 0 else "more stamps are needed.")
        )
    n_held_out = len(history.values) - end
    if context_length is not None and context_length < n_held_out + MIN_ROWS:
        raise ValueError(
            f"context_length={context_length} holds no {MIN_ROWS} stamps before the {n_held_out} "
            f"of df_val; {n_held_out + MIN_ROWS} would do."
        )
    return n_held_out
