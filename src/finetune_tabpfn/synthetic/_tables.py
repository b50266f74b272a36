"""Tables from a handful of parameters, each of which does one measurable thing."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri
from sklearn.utils._param_validation import (
    Interval,
    Options,
    StrOptions,
)

from finetune_tabpfn.synthetic._mechanisms import (
    Array,
    assign_classes,
    class_counts,
    gaps,
    random_signal,
    standardised,
)
from finetune_tabpfn.utils._constraints import check_parameters

Task = Literal["binary", "multiclass", "regression"]
Missing = Literal["mcar", "mar", "mnar"]

GROUP_SHARE = 0.3  # of the signal's variance, where there are groups
DRIFT_SHIFT = 1.0  # standard deviations that a column's mean moves by at full drift
OUTLIER_RANGE = (10.0, 20.0)  # in standard deviations

_SHARE = [Interval(Real, 0, 1, closed="both")]
_SHARE_BELOW_ONE = [Interval(Real, 0, 1, closed="left")]
CONSTRAINTS: dict[str, list[Any]] = {
    "n_rows": [Interval(Integral, 1, None, closed="left")],
    "n_columns": [Interval(Integral, 1, None, closed="left")],
    "task": [StrOptions({"binary", "multiclass", "regression"})],
    "n_classes": [Interval(Integral, 2, None, closed="left")],
    "categorical_share": _SHARE,
    "cardinality": [Interval(Integral, 2, None, closed="left")],
    "missing_share": _SHARE_BELOW_ONE,
    "missing": [StrOptions({"mcar", "mar", "mnar"})],
    "correlation": _SHARE_BELOW_ONE,
    "irrelevant_share": _SHARE_BELOW_ONE,
    "noise": [Interval(Real, 0, None, closed="left")],
    "imbalance": _SHARE_BELOW_ONE,
    "heavy_tails": _SHARE_BELOW_ONE,
    "outlier_share": _SHARE_BELOW_ONE,
    "n_groups": [Interval(Integral, 2, None, closed="left"), Options(Integral, {0})],
    "drift": _SHARE,
    "random_state": [Interval(Integral, 0, None, closed="left"), np.random.Generator, None],
}


def make_table(
    n_rows: int = 1000,
    n_columns: int = 10,
    task: Task = "binary",
    *,
    n_classes: int = 3,
    categorical_share: float = 0.3,
    cardinality: int = 5,
    missing_share: float = 0.0,
    missing: Missing = "mcar",
    correlation: float = 0.0,
    irrelevant_share: float = 0.2,
    noise: float = 0.3,
    imbalance: float = 0.0,
    heavy_tails: float = 0.0,
    outlier_share: float = 0.0,
    n_groups: int = 0,
    drift: float = 0.0,
    random_state: int | np.random.Generator | None = None,
) -> tuple[pd.DataFrame, pd.Series[Any]]:
    """Make a table and its target.

    The target is a random function of the relevant columns, the sum of a linear part (40 % of
    its variance), sines of single columns, products of two columns and small trees (20 % each),
    plus noise. Classes are cut from such scores: two at a quantile of one score, more one after
    the other, the rarest first, each from a score of its own.

    Parameters
    ----------
    n_rows : int, default=1000
        Rows. The same seed makes the same mechanism whatever the number of rows.
    n_columns : int, default=10
        Columns, not counting `group` and `time`.
    task : {"binary", "multiclass", "regression"}, default="binary"
        The target: "binary" is 0 or 1, "multiclass" 0, 1, 2, ... with 0 the most frequent class,
        "regression" a quantity with mean 0.
    n_classes : int, default=3
        Classes of a multi-class target.
    categorical_share : float, default=0.3
        Share of the columns that are categorical; the others are numbers, each on a scale of
        its own.
    cardinality : int, default=5
        Categories of a categorical column.
    missing_share : float, default=0.0
        Share of the cells that are missing, in each column that has gaps.
    missing : {"mcar", "mar", "mnar"}, default="mcar"
        Which cells are missing: "mcar" any, "mar" the more often the higher the first column is,
        which stays complete, "mnar" the more often the higher the missing value itself is. Of
        categories, the number counts.
    correlation : float, default=0.0
        Correlation of any two relevant columns, and of any two irrelevant ones, before
        categories are cut and tails stretched.
    irrelevant_share : float, default=0.2
        Share of the columns that the target and the other columns know nothing of. Their names
        say so. One column stays relevant.
    noise : float, default=0.3
        Standard deviation of the noise, where that of the signal is 1: the R² to be had is
        1 / (1 + noise²). 0 makes the target a function of the columns.
    imbalance : float, default=0.0
        0: classes of one size. Else the rarest class has 1 - imbalance times the rows of the
        most frequent one, and the sizes between are a geometric row. Of no effect in regression.
    heavy_tails : float, default=0.0
        The h of Tukey's h distribution, of the numeric columns and of a numeric target: 0 is
        normal; moments from 1 / h on do not exist.
    outlier_share : float, default=0.0
        Share of the cells of the numeric columns that are replaced by values 10 to 20 standard
        deviations from the mean. The target comes of the values that were there before.
    n_groups : int, default=0
        Groups of rows, such as patients or shops, in the column `group`. They differ in the
        target's level: 30 % of the signal's variance.
    drift : float, default=0.0
        How far the world changes from the first row to the last; the rows are in the order of
        the column `time`. At 1 the last rows follow another function than the first ones, and
        the means of the relevant columns have moved by a standard deviation.
    random_state : int or numpy.random.Generator, default=None
        An int makes the table reproducible, bitwise on one machine.

    Returns
    -------
    X : DataFrame of shape (n_rows, n_columns), or more with `group` and `time`
    y : Series of shape (n_rows,), named "target"

    Raises
    ------
    ValueError
        When a parameter is out of its range, in one sentence.

    Examples
    --------
    >>> from finetune_tabpfn.synthetic import make_table
    >>> X, y = make_table(200, 3, missing_share=0.1, random_state=0)
    >>> list(X.columns)
    ['numeric_1', 'categorical_2', 'irrelevant_numeric_3']
    >>> y.value_counts().sort_index().to_dict()
    {0: 100, 1: 100}
    """
    _check(locals())
    mechanism, rows = np.random.default_rng(random_state).spawn(2)
    categorical = _spread(n_columns, categorical_share)
    relevant = np.arange(n_columns) < max(1, n_columns - round(irrelevant_share * n_columns))
    time = drift * np.linspace(0, 1, n_rows)
    groups = rows.integers(n_groups, size=n_rows) if n_groups else None

    values = _latent(relevant, n_rows, correlation, rows)
    values += DRIFT_SHIFT * np.outer(time, relevant * mechanism.choice([-1, 1], n_columns))
    values[:, categorical] = _cut(values[:, categorical], cardinality, mechanism)
    inputs = _inputs(values, categorical, cardinality, mechanism)

    def score() -> Array:
        """Return the signal of another function, with noise."""
        level = mechanism.normal(size=n_groups)[groups] if groups is not None else None
        signal = _signal(inputs[:, relevant], time, level, mechanism)
        return signal + noise * rows.normal(size=n_rows)

    y: npt.NDArray[Any]
    if task == "regression":
        y = _stretched(score(), heavy_tails, np.sqrt(1 + noise**2))
    else:
        y = _classes(score, n_rows, 2 if task == "binary" else n_classes, imbalance)

    X = pd.DataFrame(
        {
            _name(j, categorical[j], relevant[j]): _categories(values[:, j], "level", cardinality)
            if categorical[j]
            else _numbers(values[:, j], heavy_tails, outlier_share, mechanism, rows)
            for j in range(n_columns)
        }
    )
    _hide(X, missing_share, missing, values, rows)
    if groups is not None:
        X.insert(0, "group", pd.Series(_categories(groups, "group", n_groups)))
    if drift:
        X.insert(0, "time", pd.date_range("2020-01-01", periods=n_rows, freq="h"))
    return X, pd.Series(y, name="target")


def _check(given: dict[str, Any]) -> None:
    """Raise for parameters that are out of range, alone or together."""
    check_parameters(CONSTRAINTS, given, "make_table")
    n_rows, n_groups = given["n_rows"], given["n_groups"]
    n_classes = {"binary": 2, "multiclass": given["n_classes"]}.get(given["task"], 1)
    if n_rows < n_classes:
        raise ValueError(f"n_rows={n_rows} is too few for {n_classes} classes; give a row to each.")
    if n_rows < n_groups:
        raise ValueError(f"n_groups={n_groups} is more than n_rows={n_rows}.")
    if given["missing"] == "mar" and given["missing_share"] and given["n_columns"] == 1:
        raise ValueError("missing='mar' needs n_columns of 2 or more: the first has no gaps.")


def _spread(n_columns: int, share: float) -> npt.NDArray[np.bool_]:
    """Return a mask of `share` of the columns, evenly spread."""
    return np.diff(np.floor(np.arange(n_columns + 1) * share + 0.5)) > 0


def _name(position: int, categorical: bool, relevant: bool) -> str:
    kind = "categorical" if categorical else "numeric"
    return f"{'' if relevant else 'irrelevant_'}{kind}_{position + 1}"


def _latent(
    relevant: npt.NDArray[np.bool_], n_rows: int, correlation: float, rng: np.random.Generator
) -> Array:
    """Return standard normal columns; relevant ones share one factor, irrelevant ones another."""
    factors = rng.normal(size=(n_rows, 2))[:, relevant.astype(int)]
    own = rng.normal(size=(n_rows, len(relevant)))
    return np.sqrt(correlation) * factors + np.sqrt(1 - correlation) * own


def _cut(latent: Array, cardinality: int, mechanism: np.random.Generator) -> Array:
    """Return the numbers of categories of random sizes instead of normal values."""
    sizes = mechanism.uniform(0.5, 1.5, size=(latent.shape[1], cardinality))
    borders = ndtri(np.cumsum(sizes / sizes.sum(axis=1, keepdims=True), axis=1)[:, :-1])
    return (latent[:, :, None] > borders).sum(axis=2).astype(np.float64)


def _inputs(
    values: Array,
    categorical: npt.NDArray[np.bool_],
    cardinality: int,
    mechanism: np.random.Generator,
) -> Array:
    """Return what the target sees: numbers as they are, a random number for each category."""
    inputs = values.copy()
    for j in np.flatnonzero(categorical):
        inputs[:, j] = mechanism.permutation(cardinality)[values[:, j].astype(int)]
    return standardised(inputs)


def _signal(
    inputs: Array, time: Array, level: Array | None, mechanism: np.random.Generator
) -> Array:
    """Return what the target would be without noise; it turns into another function in time."""
    signal = random_signal(inputs, mechanism)
    if time.any():
        angle = time * np.pi / 2
        signal = np.cos(angle) * signal + np.sin(angle) * random_signal(inputs, mechanism)
    if level is not None:
        signal *= np.sqrt(1 - GROUP_SHARE)
        signal += np.sqrt(GROUP_SHARE) * standardised(level)
    return signal


def _classes(
    score: Callable[[], Array], n_rows: int, n_classes: int, imbalance: float
) -> npt.NDArray[np.int64]:
    """Return a class per row; the sizes of the classes are a geometric row."""
    counts = class_counts((1 - imbalance) ** np.linspace(0, 1, n_classes), n_rows)
    return assign_classes(lambda code: score(), counts)


def _stretched(values: Array, h: float, scale: float = 1.0) -> Array:
    """Return values with heavier tails: Tukey's h transform, which keeps their order."""
    return values * np.exp(h * (values / scale) ** 2 / 2)


def _numbers(
    latent: Array,
    heavy_tails: float,
    outlier_share: float,
    mechanism: np.random.Generator,
    rows: np.random.Generator,
) -> Array:
    """Return a numeric column on a scale of its own."""
    numbers = _stretched(latent, heavy_tails)
    wrong = rows.permutation(len(latent))[: round(outlier_share * len(latent))]
    numbers[wrong] = rows.choice([-1, 1], len(wrong)) * rows.uniform(*OUTLIER_RANGE, len(wrong))
    scale = 10 ** mechanism.uniform(-1, 2)
    return scale * (mechanism.uniform(-2, 2) + numbers)


def _categories(codes: npt.NDArray[Any], name: str, number: int) -> pd.Categorical[Any]:
    """Return numbered categories."""
    labels = pd.Index([f"{name}_{i + 1}" for i in range(number)])
    return pd.Categorical.from_codes(codes.astype(int).tolist(), labels)


def _hide(
    X: pd.DataFrame, share: float, missing: Missing, values: Array, rng: np.random.Generator
) -> None:
    """Make cells of the table missing."""
    for j, name in enumerate(X.columns):
        if missing != "mar" or j:
            cause = {"mcar": None, "mar": values[:, 0], "mnar": values[:, j]}[missing]
            X[name] = X[name].mask(gaps(share, len(X), rng, cause))
