"""Distributions of a column, as quantile functions, so that a copula can link the columns."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from finetune_tabpfn.synthetic._mechanisms import Array


def quantiles(u: Array, values: Sequence[float]) -> Array:
    """Interpolate between `values`, the quantiles at the middles of equal parts of (0, 1)."""
    middles = (np.arange(len(values)) + 0.5) / len(values)
    return np.interp(u, middles, np.asarray(values, dtype=np.float64))


def discrete(u: Array, values: Mapping[float, float]) -> Array:
    """Return the quantiles of a variable that takes each value with its share."""
    ordered = sorted(values)
    shares = [values[value] for value in ordered]
    return np.asarray(ordered, dtype=np.float64)[positions(u, shares)]


def positions(u: Array, shares: Sequence[float]) -> Any:
    """Return which of the outcomes with these shares each quantile falls on."""
    edges = np.cumsum(np.asarray(shares, dtype=np.float64) / np.sum(shares))
    return np.searchsorted(edges[:-1], u, side="right")


# the arguments after `u` are the parameters in a schema; lognormal's are of the logarithm
DISTRIBUTIONS: dict[str, Callable[..., Array]] = {
    "normal": lambda u, mean=0.0, std=1.0: stats.norm.ppf(u, mean, std),
    "uniform": lambda u, low, high: low + (high - low) * u,
    "lognormal": lambda u, mean=0.0, std=1.0: np.exp(stats.norm.ppf(u, mean, std)),
    "exponential": lambda u, scale=1.0: stats.expon.ppf(u, scale=scale),
    "student_t": lambda u, df, mean=0.0, scale=1.0: stats.t.ppf(u, df, mean, scale),
    "poisson": lambda u, rate: stats.poisson.ppf(u, rate),
    "quantiles": quantiles,
    "discrete": discrete,
}


def parameters_of(distribution: str) -> dict[str, bool]:
    """Return the names of a distribution's parameters and whether each has to be given."""
    _, *parameters = inspect.signature(DISTRIBUTIONS[distribution]).parameters.values()
    return {parameter.name: parameter.default is parameter.empty for parameter in parameters}
