"""Describe the columns of a real table one by one, without showing single rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from finetune_tabpfn.synthetic._schema import OTHER, Column

MAX_QUANTILES = 100
MAX_DISCRETE = 50
MAX_DECIMALS = 6
DIGITS = 6
ISO_DATE = r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?)?"


def describe(values: pd.Series[Any], min_count: int) -> Column:
    """Return a column with the type, the distribution and the gaps of `values`.

    Every number in it comes of `min_count` rows or more, but for the share of gaps.
    """
    known = plain(values)
    column = _describe_known(str(values.name), known, min_count)
    return replace(column, missing_share=round(1 - len(known) / len(values), 4))


def describe_classes(values: pd.Series[Any], min_count: int) -> Column:
    """Return the column of a target's classes, the most frequent first."""
    known, name = plain(values), str(values.name)
    if pd.api.types.is_bool_dtype(known.dtype):
        return _booleans(name, known, min_count)
    if pd.api.types.is_datetime64_any_dtype(known.dtype):
        raise ValueError(f"The target {name!r} holds dates; it must hold numbers or labels.")
    categories = _shares(known, min_count)
    if OTHER in categories and len(categories) == 1:
        raise ValueError(f"No class of the target {name!r} has min_count={min_count} rows.")
    dtype = {"category": None, "object": "str", "string": "str"}.get(
        str(known.dtype), str(known.dtype)
    )
    return Column(name, "categorical", None, {"categories": categories}, 0.0, dtype)


def plain(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return the known values as booleans, numbers, dates, categories or text.

    Raises
    ------
    ValueError
        For infinite numbers and for anything else.
    """
    types = pd.api.types
    known = values.dropna().infer_objects()
    if isinstance(known.dtype, pd.CategoricalDtype):
        simple = known.cat.categories.inferred_type in ("string", "integer", "floating")
        return known if simple else known.cat.rename_categories(str)
    if types.is_numeric_dtype(known.dtype) and known.dtype.kind != "c":  # booleans are numeric
        if not np.isfinite(known.to_numpy(dtype=np.float64)).all():
            raise ValueError(f"Column {values.name!r} holds infinity; replace it by NaN.")
        return known
    if types.is_datetime64_any_dtype(known.dtype):
        return known.dt.tz_localize(None)
    kind = types.infer_dtype(known)
    if kind not in ("string", "date", "datetime", "mixed-integer", "empty"):
        raise ValueError(f"Column {values.name!r} holds {kind} values; drop or convert it.")
    return known.astype(str)


def _describe_known(name: str, known: pd.Series[Any], min_count: int) -> Column:
    """Describe values without gaps."""
    types = pd.api.types
    if isinstance(known.dtype, pd.CategoricalDtype):
        return Column(name, "categorical", None, {"categories": _shares(known, min_count)})
    if types.is_bool_dtype(known.dtype):
        return _booleans(name, known, min_count)
    if types.is_numeric_dtype(known.dtype):
        return _numbers(name, known, min_count)
    if types.is_datetime64_any_dtype(known.dtype):
        return _dates(name, known, min_count)
    if not len(known):
        return Column(name, "numeric", "quantiles", {"values": [0.0]})
    if known.str.fullmatch(ISO_DATE).all():
        dates = pd.to_datetime(known, format="ISO8601", errors="coerce")
        if dates.notna().all():
            return replace(_dates(name, dates, min_count), dtype="str")
    return _text(name, known, min_count)


def _booleans(name: str, known: pd.Series[Any], min_count: int) -> Column:
    shares = _shares(known.astype(int), min_count)
    dtype = None if known.dtype == bool else str(known.dtype)
    return Column(name, "boolean", None, {"true_share": shares.get(1, 0.0)}, 0.0, dtype)


def _numbers(name: str, known: pd.Series[Any], min_count: int) -> Column:
    """Describe numbers by their values with shares if these repeat, else by quantiles."""
    numbers = known.to_numpy(dtype=np.float64)
    kind = "integer" if pd.api.types.is_integer_dtype(known.dtype) else "numeric"
    parameters: dict[str, Any] = {} if kind == "integer" else _decimals(numbers)
    dtype = None if str(known.dtype) in ("int64", "float64") else str(known.dtype)
    frequent = known.value_counts().loc[lambda counts: counts >= min_count]
    if len(frequent) <= MAX_DISCRETE and frequent.sum() >= 0.99 * len(known) > 0:
        shares = dict(sorted(_shares(known, min_count).items()))
        return Column(name, kind, "discrete", {"values": shares, **parameters}, 0.0, dtype)
    values = [float(f"{value:.{DIGITS}g}") for value in _block_means(numbers, min_count)]
    return Column(name, kind, "quantiles", {"values": values, **parameters}, 0.0, dtype)


def _decimals(numbers: Any) -> dict[str, int]:
    """Return how many decimals the numbers have, if few."""
    for decimals in range(MAX_DECIMALS + 1):
        if (np.round(numbers, decimals) == numbers).all():
            return {"decimals": decimals}
    return {}


def _dates(name: str, known: pd.Series[Any], min_count: int) -> Column:
    """Describe dates by quantiles."""
    whole_days = bool((known == known.dt.normalize()).all())
    seconds = (known - pd.Timestamp(0)).dt.total_seconds().to_numpy()
    values = [
        pd.Timestamp(round(value), unit="s").isoformat()
        for value in _block_means(seconds, min_count)
    ]
    parameters = {"values": values, "freq": "D" if whole_days else "s"}
    return Column(name, "datetime", "quantiles", parameters)


def _text(name: str, known: pd.Series[Any], min_count: int) -> Column:
    """Describe text: categories if most of it repeats, else only its length."""
    counts = known.value_counts()
    if counts[counts >= max(min_count, 2)].sum() >= len(known) / 2:
        categories = {"categories": _shares(known, min_count)}
        return Column(name, "categorical", None, categories, 0.0, "str")
    words = known.map(lambda text: len(text.split()))
    if counts.max() == 1 and words.max() == 1:
        return Column(name, "identifier")
    if len(known) < min_count:
        return Column(name, "text")
    return Column(name, "text", None, {"words": max(1.0, round(float(words.mean()), 1))})


def _shares(known: pd.Series[Any], min_count: int) -> dict[Any, float]:
    """Return the frequent values with their shares, and the share of the other text."""
    counts = known.value_counts()
    frequent = counts[counts >= min_count]
    kept = dict(zip(frequent.index.tolist(), frequent.tolist(), strict=True))
    rest = len(known) - sum(kept.values())
    if not kept or (all(isinstance(value, str) for value in kept) and rest >= min_count):
        kept[OTHER] = kept.get(OTHER, 0) + max(rest, 1)
    total = sum(kept.values())
    return {value: round(count / total, 6) for value, count in kept.items()}


def _block_means(numbers: Any, min_count: int) -> list[float]:
    """Return means of the middle halves of blocks of sorted numbers.

    A mean shows no single value; the middle half keeps an extreme one from being guessed.
    """
    if len(numbers) < min_count:
        return [0.0]
    n_blocks = min(len(numbers) // min_count, MAX_QUANTILES)
    blocks = np.array_split(np.sort(numbers), n_blocks)
    return [float(stats.trim_mean(block, 0.25)) for block in blocks]
