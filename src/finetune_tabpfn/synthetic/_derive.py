"""Derive a schema from a real table, so that a table like it can be shared without its rows."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from finetune_tabpfn.data._io import infer_task, split_target
from finetune_tabpfn.synthetic._copula import normal_scores, score_quantiles, untied_correlation
from finetune_tabpfn.synthetic._marginals import describe, describe_classes, plain
from finetune_tabpfn.synthetic._mechanisms import Array
from finetune_tabpfn.synthetic._sampling import codes_of
from finetune_tabpfn.synthetic._schema import Column, Schema, Target
from finetune_tabpfn.utils._constraints import is_whole

MAX_SIGNAL = 0.98  # share of the score's variance


def schema_of(frame: pd.DataFrame, target: str | None = None, *, min_count: int = 10) -> Schema:
    """Describe a table by the distributions of its columns and how they hang together.

    What the schema says of a value comes of at least `min_count` rows. Numbers and dates are
    described by up to 100 quantiles, each the mean of the middle half of a block of sorted
    values, so that no extreme value is shown; or by their values with shares if these repeat.
    Categories of fewer rows become "other", or are left out where the others together are too
    few. Text becomes placeholder text. Names of columns and of frequent categories, and the
    shares of missing cells, are shown. This is no formal guarantee such as differential privacy.

    Parameters
    ----------
    frame : DataFrame
        Numbers, booleans, categories, text and dates; text that is ISO dates throughout is
        described as dates.
    target : str, default=None
        Column to predict. Rows without it are left out.
    min_count : int, default=10
        1 shows everything.

    Returns
    -------
    Schema
        The dependence of the target is linear in the normal scores of the columns; all other
        dependence is pairwise.

    Raises
    ------
    ValueError
        For columns of another type, infinite numbers and repeated names.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from finetune_tabpfn.synthetic import schema_of
    >>> schema = schema_of(load_iris(as_frame=True).frame, "target")
    >>> schema.columns[3].name, schema.columns[3].type, schema.columns[3].parameters["decimals"]
    ('petal width (cm)', 'numeric', 1)
    >>> schema.target.classes
    {0: 0.333333, 1: 0.333333, 2: 0.333333}
    """
    if not is_whole(min_count, 1):
        raise ValueError(f"min_count must be an int from 1 on. Got {min_count!r} instead.")
    if not isinstance(frame, pd.DataFrame) or not frame.size:
        raise ValueError("frame must be a DataFrame with rows and columns.")
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    if not frame.columns.is_unique:
        raise ValueError(f"frame has columns of the same name: {', '.join(frame.columns)}.")
    if target is None:
        columns = [describe(frame[name], min_count) for name in frame.columns]
        return Schema(tuple(columns), None, _pairs(_table_of_codes(frame, columns), min_count))
    X, y = split_target(frame, target)
    X, y = X[y.notna()], y[y.notna()]
    regression = infer_task(y) == "regression"
    label = describe(y, min_count) if regression else describe_classes(y, min_count)
    goal = _codes(y, label)
    columns = [_by_target(describe(X[name], min_count), X[name], goal) for name in X.columns]
    codes = _table_of_codes(X, columns)
    effects = _effects(codes, goal, list(Target(label).classes))
    return Schema(tuple(columns), Target(label, effects, noise=1.0), _pairs(codes, min_count))


def _codes(values: pd.Series[Any], column: Column) -> Array:
    """Return a column as numbers whose order counts, with its gaps."""
    codes = np.full(len(values), np.nan)
    codes[values.notna().to_numpy()] = codes_of(plain(values), column)
    return codes


def _table_of_codes(frame: pd.DataFrame, columns: list[Column]) -> pd.DataFrame:
    """Return the columns that have an order as numbers."""
    return pd.DataFrame(
        {column.name: _codes(frame[column.name], column) for column in columns if column.ordered},
        index=range(len(frame)),
    )


def _by_target(column: Column, values: pd.Series[Any], goal: Array) -> Column:
    """Order categories by the mean of the target, because effects follow their order."""
    if column.type != "categorical":
        return column
    categories = column.parameters["categories"]
    means = pd.Series(goal).groupby(_codes(values, column)).mean()
    order = sorted(range(len(categories)), key=lambda code: means.get(code, 0.0))
    labels = [list(categories)[code] for code in order]
    return replace(column, parameters={"categories": {name: categories[name] for name in labels}})


def _pairs(codes: pd.DataFrame, min_count: int) -> tuple[tuple[str, str, float], ...]:
    """Return the pairs of columns whose normal variables are correlated by more than chance."""
    scores, parts = pd.DataFrame(index=codes.index), {}
    for name in codes:
        scores[name], fidelity = normal_scores(codes[name].to_numpy())
        parts[name] = score_quantiles(scores[name].to_numpy()), fidelity
    matrix = scores.corr(min_periods=min_count).fillna(0.0).to_numpy()
    return tuple(
        (left, right, round(untied_correlation(matrix[i, j], parts[left], parts[right]), 3))
        for (i, left), (j, right) in combinations(enumerate(codes.columns), 2)
        if abs(matrix[i, j]) > 2 / np.sqrt(len(codes))
    )


def _effects(codes: pd.DataFrame, goal: Array, classes: list[Any]) -> dict[Any, Any]:
    """Return the effects of the columns, for each class where there are more than two."""
    if len(classes) < 3:
        return _linear_effects(codes, goal)
    effects = {}
    for code in range(len(classes) - 1, 0, -1):
        left = goal <= code
        effects[classes[code]] = _linear_effects(codes[left], goal[left] == code)
    return effects


def _linear_effects(codes: pd.DataFrame, goal: npt.NDArray[Any]) -> dict[str, float]:
    """Return ridge coefficients of the normal variable behind the target, for noise of 1."""
    columns = [normal_scores(codes[name].to_numpy())[0] for name in codes]
    scores = np.nan_to_num(np.column_stack([np.empty((len(codes), 0)), *columns]))
    goal_scores, fidelity = normal_scores(goal.astype(np.float64))
    between = scores.T @ scores / len(codes)
    towards = scores.T @ np.nan_to_num(goal_scores) / len(codes) / max(fidelity, 0.1)
    ridge = (0.01 + len(between) / len(codes)) * np.eye(len(between))
    effects = np.linalg.solve(between + ridge, towards)
    share = float(effects @ between @ effects)
    if share > MAX_SIGNAL:
        effects *= np.sqrt(MAX_SIGNAL / share)
    effects /= np.sqrt(1 - min(share, MAX_SIGNAL))
    named = zip(codes.columns, effects.round(3).tolist(), strict=True)
    return {str(name): effect for name, effect in named if effect}
