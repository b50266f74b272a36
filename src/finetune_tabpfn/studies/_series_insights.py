"""What is worth knowing of the data of a study: of series, their regimes as well."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from finetune_tabpfn.data._kinds import Columns
from finetune_tabpfn.data._validation import check_table
from finetune_tabpfn.forecasting._insights import regime_insights
from finetune_tabpfn.studies._insights import (
    ORDERED,
    SHOWN,
    as_numbers,
    correlations_with,
    data_insights,
    largest,
    quantity,
)
from finetune_tabpfn.studies._study_series import SeriesTables
from finetune_tabpfn.studies._study_tables import StudyTables

LAGS = (1, 2, 3)  # of the autocorrelation, beside the season


def insights_of(tables: StudyTables | SeriesTables) -> dict[str, Any]:
    """Return what is known of the data of a study, as JSON-like values."""
    return series_insights(tables) if isinstance(tables, SeriesTables) else data_insights(tables)


def series_insights(tables: SeriesTables) -> dict[str, Any]:
    """Return what is known of series, as JSON-like values.

    Parameters
    ----------
    tables : SeriesTables

    Returns
    -------
    dict
        rows, columns, types, missing, constant_columns, target, correlations (of the other columns
        with the target, each series in its own spread; and of the target with itself some periods
        before), shift (None: `regimes` has the drift) and regimes (`regime_insights` of at most ten
        series, those that drift most).
    """
    layout, target = tables.history.layout, tables.target
    others = tables.train.drop(columns=[target, *layout.names]).reset_index(drop=True)
    table = pd.DataFrame(check_table(others)) if others.shape[1] else others
    columns = Columns.of(table).columns if others.shape[1] else []
    gaps = table.isna().mean()
    return {
        **{name: tables.described()[name] for name in ("rows", "columns", "series", "frequency")},
        "types": dict(Counter(column.kind for column in columns)),
        "missing": {
            "share": float(table.isna().to_numpy().mean()) if len(columns) else 0.0,
            "columns": largest(gaps[gaps > 0]),
        },
        "constant_columns": [str(n) for n in table if table[n].nunique(dropna=False) < 2][:SHOWN],
        "target": quantity(tables.train[target].to_numpy(dtype=np.float64)),
        "correlations": _correlations(tables, table, columns),
        "shift": None,
        "regimes": _regimes(tables),
    }


def _correlations(tables: SeriesTables, table: pd.DataFrame, columns: Any) -> dict[str, Any]:
    """Return correlations with the target, each series in its own spread."""
    places = tables.history.places(tables.train)
    ordered = [column.name for column in columns if column.kind in ORDERED]
    numbers = as_numbers(table, Columns.of(table))[ordered] if ordered else pd.DataFrame()
    y = pd.Series(tables.train[tables.target].to_numpy(dtype=np.float64))
    by_series = numbers.apply(lambda column: _within(column, places.series))
    found = correlations_with(by_series, _within(y, places.series).to_numpy(), "regression")
    end = int(places.position.max()) + 1
    panel = pd.DataFrame(tables.history.values[:end])
    lags = sorted({*LAGS, tables.season})
    own = {str(lag): _autocorrelation(panel, lag) for lag in lags if lag < end - 2}
    return {**found, "autocorrelation": own}


def _within(values: pd.Series, series: Any) -> pd.Series:
    """Return values less the mean of their series, in its standard deviation."""
    groups = values.groupby(series)
    spread = groups.transform("std").replace(0, np.nan)
    return (values - groups.transform("mean")) / spread


def _autocorrelation(panel: pd.DataFrame, lag: int) -> float | None:
    """Return how series correlate with themselves some periods before, the median series."""
    each = [series.corr(series.shift(lag)) for _, series in panel.items() if series.std() > 0]
    known = [value for value in each if np.isfinite(value)]
    return round(float(np.median(known)), 4) if known else None


def _regimes(tables: SeriesTables) -> dict[str, Any]:
    """Return volatility, its high periods and drift of the series that drift most."""
    layout, known = tables.history.layout, tables.known
    against = "test" if tables.test is not None else "validation"
    before = known if tables.test is not None else tables.fold(tables.n_folds - 1)[0]
    whole = known if tables.test is None else pd.concat([known, tables.test])
    if layout.time_column is not None:
        whole = whole.reset_index(drop=True)
    n_test = len(tables.history.values) - 1 - int(tables.history.places(before).position.max())
    found = regime_insights(
        whole,
        tables.target,
        n_test=n_test,
        time_column=layout.time_column,
        id_column=layout.id_column,
        freq=tables.history.grid.frequency,
    )
    order = found["drift"].abs().sort_values(ascending=False, kind="stable").index[:SHOWN]
    return {
        "against": against,
        "series": {str(name): _plain(found.loc[name]) for name in order},
    }


def _plain(row: pd.Series) -> dict[str, Any]:
    plain = {
        str(name): bool(value) if name == "relative" else float(value)
        for name, value in row.items()
        if name != "high_periods"
    }
    periods = [[str(first), str(last)] for first, last in row["high_periods"]]
    return {**plain, "high_periods": periods[:SHOWN]}
