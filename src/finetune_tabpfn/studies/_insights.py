"""What is worth knowing of a table before its scores are read: rows, gaps, target, shift."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedKFold, cross_validate

from finetune_tabpfn.data._kinds import Columns
from finetune_tabpfn.data._validation import check_table
from finetune_tabpfn.studies._cleaning import label_texts
from finetune_tabpfn.studies._study_tables import Rows, StudyTables

QUANTILES = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)
ORDERED = ("numbers", "booleans", "dates", "timespans")  # of text, ranks mean nothing
SHOWN = 10  # columns, pairs and classes that are listed at most
COLUMNS_TO_PAIR = 200
ROWS_TO_TELL_APART = 1000  # of either side
LEAST_ROWS = 20  # of either side, to tell them apart


def data_insights(tables: StudyTables) -> dict[str, Any]:
    """Return what is known of the data, as JSON-like values.

    Parameters
    ----------
    tables : StudyTables

    Returns
    -------
    dict
        rows, columns, types, missing, constant_columns, target, correlations, shift.
    """
    X, y = tables.train
    table = pd.DataFrame(check_table(X))
    columns = Columns.of(table)
    ordered = [column.name for column in columns.columns if column.kind in ORDERED]
    numbers = as_numbers(table, columns)[ordered]
    gaps = table.isna().mean()
    return {
        **{name: tables.described()[name] for name in ("rows", "columns")},
        "types": dict(Counter(column.kind for column in columns.columns)),
        "missing": {
            "share": float(table.isna().to_numpy().mean()),
            "columns": largest(gaps[gaps > 0]),
        },
        "constant_columns": [str(n) for n in table if table[n].nunique(dropna=False) < 2][:SHOWN],
        "target": _classes(y) if tables.task == "classification" else quantity(y),
        "correlations": correlations_with(numbers, y, tables.task),
        "shift": _shift_of(tables, columns),
    }


def _classes(y: npt.NDArray[Any]) -> dict[str, Any]:
    counts = label_texts(pd.Series(y)).value_counts()
    shares = counts / counts.sum()
    entropy = float(stats.entropy(shares) / np.log(len(shares))) if len(shares) > 1 else 0.0
    return {
        "classes": len(counts),
        "counts": {str(label): int(n) for label, n in counts.head(SHOWN).items()},
        "smallest_class": int(counts.min()),
        "imbalance": float(counts.max() / counts.min()),
        "balance": entropy,  # of the classes: 1 where all have as many rows
    }


def quantity(y: npt.NDArray[Any]) -> dict[str, Any]:
    """Return mean, spread, quantiles and shape of numbers."""
    varies = np.ptp(y) > 0
    return {
        "mean": float(np.mean(y)),
        "std": float(np.std(y)),
        "quantiles": {str(q): float(np.quantile(y, q)) for q in QUANTILES},
        "skewness": float(stats.skew(y)) if varies else 0.0,
        "kurtosis": float(stats.kurtosis(y)) if varies else 0.0,  # 0 of a normal distribution
    }


def as_numbers(table: pd.DataFrame, columns: Columns) -> pd.DataFrame:
    """Return a table as numbers: dates by their time, other text by the codes of its levels."""
    read = pd.DataFrame(columns.read(table))
    found = {}
    for column in columns.columns:
        cells = read[column.name]
        if column.kind in ("numbers", "booleans"):
            found[column.name] = pd.to_numeric(cells, errors="coerce").astype(float)
        elif column.kind in ("dates", "timespans"):
            times = cells.astype("int64").astype(float)
            found[column.name] = times.mask(cells.isna())
        else:
            codes, _ = pd.factorize(cells.astype(object))
            found[column.name] = pd.Series(codes.astype(float), index=read.index)
    return pd.DataFrame(found)


def correlations_with(numbers: pd.DataFrame, y: npt.NDArray[Any], task: str) -> dict[str, Any]:
    """Return rank correlations: of columns with the target, and the largest between columns."""
    varying = numbers.loc[:, numbers.nunique() > 1].iloc[:, :COLUMNS_TO_PAIR]
    ranks = varying.rank()
    if task == "classification":
        codes, _ = pd.factorize(y, sort=True)
        of_target = ranks.apply(lambda column: _share_between(column, codes))
    else:
        of_target = ranks.corrwith(pd.Series(y).rank())
    between = ranks.corr().to_numpy()
    names = list(ranks.columns)
    pairs = {
        f"{names[i]} ~ {names[j]}": between[i, j] for i, j in combinations(range(len(names)), 2)
    }
    return {
        "measure": "Spearman" if task == "regression" else "correlation ratio of the ranks",
        "with_target": largest(of_target),
        "between_columns": largest(pd.Series(pairs, dtype=float)),
    }


def _share_between(ranks: pd.Series, codes: npt.NDArray[np.int64]) -> float:
    """Return how much of a column's spread lies between the classes, as a correlation."""
    known = ranks.notna().to_numpy()
    groups = ranks[known].groupby(codes[known])
    spread = float(((ranks[known] - ranks[known].mean()) ** 2).sum())
    between = float((groups.size() * (groups.mean() - ranks[known].mean()) ** 2).sum())
    return float(np.sqrt(between / spread)) if spread else 0.0


def largest(values: pd.Series) -> dict[str, float]:
    """Return the values that are largest, whatever their sign."""
    order = values.dropna().abs().sort_values(ascending=False, kind="stable").index[:SHOWN]
    return {str(name): round(float(values[name]), 4) for name in order}


def _shift_of(tables: StudyTables, columns: Columns) -> dict[str, Any] | None:
    """Compare the training rows with those of another table; None without any."""
    against = "test" if tables.test is not None else "validation"
    other: Rows | None = tables.test or tables.validation
    if other is None:
        return None
    return {"against": against, **shift(tables.train[0], other[0], columns)}


def shift(first: pd.DataFrame, second: pd.DataFrame, columns: Columns) -> dict[str, Any]:
    """Tell whether two tables may be drawn alike, by a classifier two-sample test.

    A random forest learns to tell rows of the one from rows of the other; where it cannot, on rows
    that it has not seen, they are alike to it (Lopez-Paz and Oquab 2017, arXiv 1610.06545).

    Parameters
    ----------
    first, second : DataFrame
    columns : Columns
        Of both.

    Returns
    -------
    dict
        rows (of either side), auc (cross-validated; .5 means alike), p_value (one-sided binomial,
        of the share of rows that are told apart), columns (by which most are). All None with fewer
        than 20 rows on a side.
    """
    size = min(len(first), len(second), ROWS_TO_TELL_APART)
    if size < LEAST_ROWS:
        return {"rows": size, "auc": None, "p_value": None, "columns": {}}
    rng = np.random.default_rng(0)
    sides = [side.iloc[np.sort(rng.permutation(len(side))[:size])] for side in (first, second)]
    X = as_numbers(pd.DataFrame(check_table(pd.concat(sides, ignore_index=True))), columns)
    y = np.repeat([0, 1], size)
    found = cross_validate(
        RandomForestClassifier(50, min_samples_leaf=3, random_state=0),
        X,
        y,
        cv=StratifiedKFold(5, shuffle=True, random_state=0),
        scoring=("roc_auc", "accuracy"),
        return_estimator=True,
        n_jobs=1,
    )
    hits = round(float(found["test_accuracy"].mean()) * len(y))
    weights = np.mean([forest.feature_importances_ for forest in found["estimator"]], axis=0)
    return {
        "rows": size,
        "auc": float(found["test_roc_auc"].mean()),
        "p_value": float(stats.binomtest(hits, len(y), 0.5, alternative="greater").pvalue),
        "columns": dict(list(largest(pd.Series(weights, index=X.columns)).items())[:3]),
    }
