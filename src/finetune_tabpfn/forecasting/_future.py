"""The rows to forecast: what comes after the last target of each series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from finetune_tabpfn.forecasting._grid import Positions
from finetune_tabpfn.forecasting._rows import History, Places, refuse_unknown


def coming_rows(
    history: History,
    horizon: int,
    covariates: Sequence[Any],
    future: pd.DataFrame | None,
    known: pd.DataFrame,
) -> pd.DataFrame:
    """Return the rows of the next periods, series by series, with their covariates.

    Parameters
    ----------
    history : History
    horizon : int
        Periods after the last target of each series.
    covariates : sequence of str
    future : DataFrame, optional
        Where the covariates stand; rows of other stamps are not looked at. A series that it has no
        rows of is not forecast.
    known : DataFrame
        The rows of the history: a covariate that is never missing there may not be in `future`.

    Raises
    ------
    ValueError
        For covariates that are not given for every row.
    """
    if not len(covariates):
        return history.rows(_next_places(history, horizon, np.arange(len(history.series))))
    if future is None:
        raise ValueError(
            f"future=None: the covariates {list(covariates)!r} must be known for the {horizon} "
            "periods to forecast; give a DataFrame with them, or fit with those that are not as "
            "past_covariates."
        )
    refuse_unknown([*history.layout.names, *covariates], future, "future")
    given = history.places(future)
    places = _next_places(history, horizon, np.unique(given.series))
    rows, position = history.rows(places), places.position
    keys = pd.MultiIndex.from_arrays([given.series, given.position])
    wanted = pd.MultiIndex.from_arrays([places.series, position])
    lacking = np.flatnonzero(~wanted.isin(keys))
    if len(lacking):
        stamp = history.grid.stamps(position)[lacking[0]]
        raise ValueError(
            f"future has no row for {stamp}, for which the covariates {list(covariates)!r} must be "
            "known."
        )
    values = future[list(covariates)].set_axis(keys)
    values = values[~values.index.duplicated(keep="last")].reindex(wanted)
    for name in covariates:
        missing = np.flatnonzero(values[name].isna())
        if len(missing) and known[name].notna().all():
            stamp = history.grid.stamps(position)[missing[0]]
            raise ValueError(
                f"future lacks the covariate {name!r} for {stamp}; it must be known for every "
                "period to forecast, else fit with it as one of past_covariates."
            )
    return rows.assign(**{name: values[name].to_numpy() for name in covariates})


def _next_places(history: History, horizon: int, which: Positions) -> Places:
    """Return the next places of some series, series by series."""
    series = np.repeat(which, horizon)
    return Places(history.last[series] + np.tile(np.arange(1, horizon + 1), len(which)), series)
