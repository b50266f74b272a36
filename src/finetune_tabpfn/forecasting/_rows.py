"""Rows of time series: which column holds the stamps, which the series, and each row's place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from finetune_tabpfn.forecasting._grid import Grid, Positions, read_stamps, reads_as_dates
from finetune_tabpfn.utils._warn import warn

Floats = npt.NDArray[np.float64]
THE_INDEX = "the index"


@dataclass(frozen=True)
class Layout:
    """Where a table has its stamps and the names of its series.

    Attributes
    ----------
    time_column : str or None
        None: the index holds the stamps.
    id_column : str or None
        None: the table is one series.
    """

    time_column: Any
    id_column: Any

    @classmethod
    def of(cls, X: Any, time_column: Any = None, id_column: Any = None) -> Layout:
        """Find the stamps of a table: the column that is named, the index, or the one of dates.

        Raises
        ------
        ValueError
            For a table without dates, or a column that it lacks.
        TypeError
            For anything but a DataFrame.
        """
        if not isinstance(X, pd.DataFrame):
            raise TypeError(
                f"X is a {type(X).__name__}; a DataFrame is needed, with a column of dates or a "
                "DatetimeIndex."
            )
        for parameter, name in (("time_column", time_column), ("id_column", id_column)):
            if name is not None and name not in X.columns:
                raise ValueError(
                    f"{parameter}={name!r} is not a column of X, which has "
                    f"{', '.join(map(repr, X.columns))}."
                )
        if time_column is None and not isinstance(X.index, (pd.DatetimeIndex, pd.PeriodIndex)):
            time_column = _only_column_of_dates(X)
        return cls(time_column, id_column)

    @property
    def time_name(self) -> str:
        """The time column, in words."""
        return THE_INDEX if self.time_column is None else str(self.time_column)

    @property
    def names(self) -> list[Any]:
        """Columns that hold no values of a series."""
        return [name for name in (self.id_column, self.time_column) if name is not None]

    def stamps(self, X: pd.DataFrame) -> pd.DatetimeIndex:
        """Return the stamps of the rows."""
        cells = X.index if self.time_column is None else X[self.time_column]
        return read_stamps(cells, self.time_name)

    def ids(self, X: pd.DataFrame) -> pd.Series:
        """Return the name of every row's series."""
        if self.id_column is None:
            return pd.Series(np.zeros(len(X), dtype=np.int64))
        ids = X[self.id_column].reset_index(drop=True)
        if ids.isna().any():
            raise ValueError(
                f"The id column {self.id_column!r} is missing in {int(ids.isna().sum())} rows; "
                "give every row a series."
            )
        return ids


def _only_column_of_dates(X: pd.DataFrame) -> Any:
    """Return the one column of dates; where none is of that type, the one of text that is dates."""
    names = [name for name in X.columns if _holds_dates(X[name])]
    names = names or [name for name in X.columns if reads_as_dates(X[name])]
    if len(names) == 1:
        return names[0]
    all_of = ", ".join(map(repr, names or X.columns))
    found = f"{len(names)} columns of dates ({all_of})" if names else f"none (it has {all_of})"
    raise ValueError(
        f"time_column=None takes a DatetimeIndex or the one column of dates, and X has {found}; "
        "name the column."
    )


def _holds_dates(column: pd.Series) -> bool:
    return (
        isinstance(column.dtype, (pd.DatetimeTZDtype, pd.PeriodDtype)) or column.dtype.kind == "M"
    )


@dataclass(frozen=True)
class Places:
    """The places of rows: on the grid, and among the series."""

    position: Positions
    series: Positions


@dataclass(frozen=True)
class History:
    """The targets of several series on one grid.

    Attributes
    ----------
    layout : Layout
    grid : Grid
    series : Index
        Their names, in the order of the columns of `values`.
    values : ndarray of shape (n_places, n_series)
        NaN where there is none.
    past : dict of str to ndarray of shape (n_places, n_series)
        Covariates that are known up to the last target alone, in the same form.
    """

    layout: Layout
    grid: Grid
    series: pd.Index
    values: Floats
    past: Mapping[Any, Floats] = field(default_factory=dict)

    @classmethod
    def of(
        cls, X: pd.DataFrame, y: Any, layout: Layout, freq: Any, past: Sequence[Any] = ()
    ) -> History:
        """Put rows on a grid.

        Parameters
        ----------
        X : DataFrame
        y : array-like of shape (n_rows,)
        layout : Layout
        freq : str, DateOffset or None
        past : sequence of str
            Columns of covariates that are known up to the last target alone.

        Raises
        ------
        ValueError
            For stamps that repeat within a series, and whatever else cannot be used.
        """
        stamps, ids = layout.stamps(X), layout.ids(X)
        grid = Grid.of(stamps, freq, layout.time_name)
        series = pd.Index(ids.unique())
        places = Places(grid.positions(stamps, layout.time_name), series.get_indexer(pd.Index(ids)))
        refuse_repeated(places, stamps, series, layout, grid)
        shape = (int(places.position.max()) + 1, len(series))
        found = {name: read_numbers(X, name, "The past covariate").to_numpy() for name in past}
        panels = {name: _panel(cells, places, shape) for name, cells in found.items()}
        return cls(layout, grid, series, _panel(y, places, shape), panels)

    def places(self, X: pd.DataFrame) -> Places:
        """Return the places of other rows.

        Raises
        ------
        ValueError
            For a series that the history does not have.
        """
        ids = self.layout.ids(X)
        codes = self.series.get_indexer(pd.Index(ids))
        if (codes < 0).any():
            unknown = ids[codes < 0].iloc[0]
            raise ValueError(
                f"The id column {self.layout.id_column!r} holds the series {unknown!r}, which fit "
                "did not have."
            )
        stamps = self.layout.stamps(X)
        return Places(self.grid.positions(stamps, self.layout.time_name), codes.astype(np.int64))

    def rows(self, places: Places) -> pd.DataFrame:
        """Return a table with the stamps, and the names of the series, of places."""
        stamps = self.grid.stamps(places.position)
        by_index = self.layout.time_column is None
        rows = pd.DataFrame(index=stamps if by_index else pd.RangeIndex(len(stamps)))
        if self.layout.id_column is not None:
            rows[self.layout.id_column] = self.series[places.series].to_numpy()
        if not by_index:
            rows[self.layout.time_column] = stamps
        return rows

    def until(self, n_places: int) -> History:
        """Return the history of the first places."""
        past = {name: panel[:n_places] for name, panel in self.past.items()}
        return replace(self, values=self.values[:n_places], past=past)

    @property
    def last(self) -> Positions:
        """The last place of each series that has a value; -1 for one without any."""
        there = np.isfinite(self.values)
        return np.where(there.any(axis=0), len(there) - 1 - there[::-1].argmax(axis=0), -1)


def _panel(cells: Any, places: Places, shape: tuple[int, int]) -> Floats:
    """Return values of rows by place and series, NaN where there is no row."""
    panel = np.full(shape, np.nan)
    panel[places.position, places.series] = cells
    return panel


def refuse_repeated(
    places: Places, stamps: pd.DatetimeIndex, series: pd.Index, layout: Layout, grid: Grid
) -> None:
    """Raise for two rows of a series at one place."""
    keys = pd.DataFrame({"series": places.series, "position": places.position})
    twice = keys.duplicated().to_numpy()
    if not twice.any():
        return
    first = int(twice.argmax())
    of = "" if layout.id_column is None else f" in the series {series[places.series[first]]!r}"
    rows = int((keys == keys.iloc[first]).all(axis=1).sum())
    advice = "aggregate them"
    if layout.id_column is None:
        advice += ", or name the column of several series as id_column"
    if grid.below_days and grid.zone is None:
        advice += ", or give an hour that clocks go back its time zone"
    raise ValueError(
        f"The time column {layout.time_name!r} holds {rows} rows for {stamps[first]}{of} "
        f"(frequency {grid.frequency.freqstr}); {advice}."
    )


def refuse_unknown(names: Sequence[Any], X: pd.DataFrame, what: str) -> None:
    """Raise for names of covariates that a table does not have."""
    for name in names:
        if name not in X.columns:
            raise ValueError(
                f"{what} lacks the covariate {name!r}; a covariate must be known for every row "
                "that is predicted, else name it in `past_covariates`."
            )


def check_covariates(
    covariates: Sequence[Any] | None,
    past: Sequence[Any] | None,
    X: pd.DataFrame,
    layout: Layout,
    what: str,
) -> None:
    """Raise for covariates that a table does not have, or that are something else already."""
    refuse_unknown(covariates or (), X, what)
    for name in past or ():
        if name not in X.columns:
            raise ValueError(f"{what} lacks the past covariate {name!r}.")
        if name in (covariates or ()):
            raise ValueError(
                f"{name!r} is named in covariates and in past_covariates; it is one of the former "
                "if it is known for the periods to forecast, else of the latter."
            )
    for name in (*(covariates or ()), *(past or ())):
        if name in layout.names:
            raise ValueError(f"{name!r} is the time or id column and cannot be a covariate, too.")


def warn_of_empty(ids: pd.Series, known: pd.Series) -> None:
    """Warn of series that have no target, and so no forecast."""
    there = set(known)
    empty = [name for name in ids.unique() if name not in there]
    if empty:
        warn(
            f"{len(empty)} of {ids.nunique()} series have no target and are not forecast, such as "
            f"{empty[0]!r}."
        )


def read_target(df: pd.DataFrame, target: Any) -> pd.Series:
    """Return the target of rows as numbers, NaN where it is missing.

    Raises
    ------
    ValueError
        For a column that is not there or missing throughout, or that holds anything but finite
        numbers.
    """
    if target not in df.columns:
        names = ", ".join(map(repr, df.columns))
        raise ValueError(f"target={target!r} is not a column of df, which has {names}.")
    cells = read_numbers(df, target, "target=")
    if not cells.notna().any():
        raise ValueError(f"target={target!r} is missing in all rows.")
    return cells


def read_numbers(df: pd.DataFrame, name: Any, what: str) -> pd.Series:
    """Return a column as numbers, NaN where it is missing.

    Raises
    ------
    ValueError
        For anything but finite numbers; `what` says what the column is.
    """
    said = f"{what}{'' if what.endswith('=') else ' '}{name!r}"
    if df[name].dtype.kind in "mM":
        raise ValueError(f"{said} holds times; give it numbers of a unit.")
    cells = pd.to_numeric(df[name], errors="coerce").astype(np.float64)
    wrong = ((cells.isna() & df[name].notna()) | np.isinf(cells)).to_numpy()
    if wrong.any():
        cell = df[name][wrong].iloc[0]
        shown = cell.item() if isinstance(cell, np.generic) else cell
        raise ValueError(f"{said} holds {shown!r}; it must hold finite numbers.")
    return cells
