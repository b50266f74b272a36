"""Draw a table from a schema."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from finetune_tabpfn.synthetic._copula import draw, normal_scores
from finetune_tabpfn.synthetic._distributions import DISTRIBUTIONS, positions
from finetune_tabpfn.synthetic._mechanisms import (
    Array,
    assign_classes,
    class_counts,
    cut_into_classes,
    gaps,
    random_signal,
)
from finetune_tabpfn.synthetic._schema import OTHER, Column, Schema, Target
from finetune_tabpfn.utils._constraints import is_whole

WORDS = ("lorem", "ipsum", "dolor", "sit", "amet", "consectetur", "elit", "sed", "tempor")


def table_from_schema(
    schema: Schema | Mapping[str, Any] | str | Path,
    n_rows: int = 1000,
    random_state: int | np.random.Generator | None = None,
) -> tuple[pd.DataFrame, pd.Series[Any] | None]:
    """Make a table, and its target if the schema has one.

    Parameters
    ----------
    schema : Schema, mapping, str or path
        A mapping is read by `Schema.from_dict`, a path by `Schema.from_yaml`.
    n_rows : int, default=1000
    random_state : int or numpy.random.Generator, default=None
        The same int and schema give the same table, bitwise on one machine.

    Returns
    -------
    X : DataFrame of shape (n_rows, n_columns)
    y : Series of shape (n_rows,), or None
        None where the schema has no target.

    Examples
    --------
    >>> from finetune_tabpfn.synthetic import table_from_schema
    >>> schema = {
    ...     "columns": [{"name": "age", "type": "integer", "distribution": "poisson", "rate": 40}],
    ...     "target": {"name": "ill", "type": "boolean", "true_share": 0.2, "effects": {"age": 1}},
    ... }
    >>> X, y = table_from_schema(schema, n_rows=50, random_state=0)
    >>> X["age"].dtype, int(y.sum())
    (dtype('int64'), 10)
    """
    schema = _read(schema)
    if not is_whole(n_rows, 1):
        raise ValueError(f"n_rows must be an int from 1 on. Got {n_rows!r} instead.")
    rng = np.random.default_rng(random_state)
    uniforms = draw(_correlation(schema), n_rows, rng)
    columns, inputs = {}, {}
    for column, u in zip(schema.columns, uniforms.T, strict=True):
        values = _values(column, u, rng)
        missing = gaps(column.missing_share, n_rows, rng)
        columns[column.name] = values.mask(missing) if missing.any() else values
        if column.ordered:
            scores, _ = normal_scores(codes_of(values, column))
            inputs[column.name] = np.where(missing, 0.0, scores)
    target = schema.target
    y = None if target is None else _target(target, inputs, n_rows, rng).rename(target.column.name)
    X = pd.DataFrame(columns)
    return X, y


def codes_of(values: pd.Series[Any], column: Column) -> Array:
    """Return the known values of a column as numbers whose order counts.

    Categories that the column does not have are "other", or else NaN.
    """
    if column.type == "categorical":
        number = {label: i for i, label in enumerate(column.parameters["categories"])}
        other = number.get(OTHER, np.nan)
        return np.array([number.get(value, other) for value in values], dtype=np.float64)
    if column.type == "datetime":
        dates = pd.to_datetime(values, format="ISO8601")
        return np.asarray((dates - pd.Timestamp(0)).dt.total_seconds(), dtype=np.float64)
    return np.asarray(values, dtype=np.float64)


def _read(schema: Schema | Mapping[str, Any] | str | Path) -> Schema:
    if isinstance(schema, Schema):
        return schema
    if isinstance(schema, (str, Path)):
        return Schema.from_yaml(schema)
    return Schema.from_dict(schema)


def _correlation(schema: Schema) -> Array:
    """Return the correlation matrix of the normal variables behind the columns."""
    place = {column.name: j for j, column in enumerate(schema.columns)}
    matrix = np.eye(len(place))
    for left, right, value in schema.correlation:
        matrix[place[left], place[right]] = matrix[place[right], place[left]] = value
    return matrix


def _values(column: Column, u: Array, rng: np.random.Generator) -> pd.Series[Any]:
    """Return a complete column at the quantiles `u`."""
    own = column.numbers()
    dtype: Any = column.dtype  # pandas-stubs want a literal
    if column.type == "categorical":
        return _labelled(column, positions(u, list(own["categories"].values())))
    if column.type == "boolean":
        dtype = dtype or ("boolean" if column.missing_share else "bool")
        return pd.Series(u > 1 - own.get("true_share", 0.5)).astype(dtype)
    if column.type == "identifier":
        return pd.Series([f"{column.name}_{i + 1}" for i in rng.permutation(len(u))])
    if column.type == "text":
        lengths = 1 + rng.poisson(own.get("words", 5) - 1, size=len(u))
        return pd.Series([" ".join(rng.choice(WORDS, length)) for length in lengths])
    rounding = {name: own.pop(name) for name in ("decimals", "freq") if name in own}
    numbers = DISTRIBUTIONS[str(column.distribution)](u, **own)
    if column.type == "datetime":
        dates = pd.to_datetime(np.round(numbers), unit="s").floor(rounding.get("freq", "s"))
        return pd.Series(dates.astype(str) if dtype == "str" else dates)
    if column.type == "integer":
        return pd.Series(np.rint(numbers)).astype(dtype or "int64")
    numbers = np.round(numbers, rounding["decimals"]) if rounding else numbers
    return pd.Series(numbers).astype(dtype or "float64")


def _labelled(column: Column, codes: Any) -> pd.Series[Any]:
    """Return categories as pandas' category type, or as the type that the column asks for."""
    labels, dtype = list(column.parameters["categories"]), column.dtype
    if dtype is None:
        return pd.Series(pd.Categorical.from_codes(codes.tolist(), pd.Index(labels)))
    values: Any = pd.Series([labels[code] for code in codes])
    return values if dtype == "str" else values.astype(dtype)


def _target(
    target: Target, inputs: dict[str, Array], n_rows: int, rng: np.random.Generator
) -> pd.Series[Any]:
    """Return the target of columns that are given by their normal scores."""
    mechanism = np.random.default_rng(target.seed)
    matrix = np.column_stack([np.empty((n_rows, 0)), *inputs.values()])

    def score(effects: Mapping[str, float] | None) -> Array:
        """Return the signal of these effects, or of a random function, with noise."""
        noise = target.noise * rng.normal(size=n_rows)
        if effects is None:
            return noise + random_signal(matrix, mechanism)
        return noise + sum(effect * inputs[name] for name, effect in effects.items())

    if not target.classes:
        ranks = cut_into_classes(score(target.effects), np.ones(n_rows, dtype=np.int64))
        return _values(target.column, (ranks + 0.5) / n_rows, rng)
    counts = class_counts(list(target.classes.values()), n_rows)
    if target.effects is not None and not target.per_class:
        codes = cut_into_classes(score(target.effects), counts)
    else:
        codes = assign_classes(lambda code: score(target.effects_of(code)), counts)
    if target.column.type == "boolean":
        return pd.Series(codes == 1)
    return _labelled(target.column, codes)
