"""Search spaces: one definition for the searches of a study, of scikit-learn and of Optuna."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.model_selection import ParameterGrid, ParameterSampler
from sklearn.utils import check_random_state

from finetune_tabpfn._nested import NESTED
from finetune_tabpfn.utils._constraints import is_number, is_whole

Settings = dict[str, Any]
AS_WIDE_AS_LOG = 9  # values of which the largest is this many times the smallest differ by factors


@dataclass(frozen=True)
class Range:
    """All numbers from `low` to `high`.

    Parameters
    ----------
    low, high : float or int
        Both belong to it. Whole numbers where both are.
    log : bool, default=False
        Whether every factor is as likely as another, instead of every difference.

    Examples
    --------
    >>> from finetune_tabpfn.studies import Range
    >>> f"{Range(1e-5, 1e-3, log=True).rvs(random_state=0):.3g}"
    '0.000125'
    >>> Range(1, 8).rvs(random_state=0)
    5
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not (is_number(self.low) and is_number(self.high)):
            raise ValueError(f"{self} must have two numbers as its ends.")
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"{self} must have a low end below its high end.")
        if self.log and self.low <= 0:
            raise ValueError(f"{self} must begin above 0, because log=True.")

    @property
    def is_whole(self) -> bool:
        """Whether it holds whole numbers alone."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def rvs(self, random_state: int | np.random.RandomState | None = None) -> float | int:
        """Draw a number; the searches of scikit-learn ask for it by this name.

        Parameters
        ----------
        random_state : int or numpy.random.RandomState, optional

        Returns
        -------
        float or int
        """
        rng = check_random_state(random_state)
        # a whole number has as much room as any other, those at the ends too
        low, high = (self.low - 0.5, self.high + 0.5) if self.is_whole else (self.low, self.high)
        if self.log:
            found = math.exp(rng.uniform(math.log(low), math.log(high)))
        else:
            found = float(rng.uniform(low, high))
        found = min(max(found, self.low), self.high)
        return round(found) if self.is_whole else found

    def suggest(self, trial: Any, name: str) -> float | int:
        """Ask a trial of Optuna for a number.

        Parameters
        ----------
        trial : optuna.Trial
        name : str
            Of the setting.

        Returns
        -------
        float or int
        """
        if self.is_whole:
            return trial.suggest_int(name, self.low, self.high, log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)


class SearchSpace(dict[str, Any]):
    """Settings of the estimators by name, each with a list of values or a `Range`.

    The names are those of files and of a study's `parameters`: ``learning_rate``, ``ema_decay``,
    ``lora_rank``.

    Examples
    --------
    >>> from finetune_tabpfn.studies import Range, SearchSpace
    >>> space = SearchSpace(learning_rate=Range(1e-4, 1e-2, log=True), ema_decay=[0.0, 0.95])
    >>> list(space.for_sklearn())
    ['learning_rate', 'training__ema_decay']
    """

    def for_sklearn(self, prefix: str = "") -> dict[str, Any]:
        """Return it as `RandomizedSearchCV` and `HalvingRandomSearchCV` take it.

        Parameters
        ----------
        prefix : str
            Of the estimator's step in a pipeline, such as ``"model__"``.

        Returns
        -------
        dict
            By the names that `set_params` takes.
        """
        return {f"{prefix}{_nested_name(name)}": values for name, values in self.items()}

    def suggest(self, trial: Any) -> Settings:
        """Ask a trial of Optuna for settings, as `set_params` of the estimators takes them.

        Parameters
        ----------
        trial : optuna.Trial

        Returns
        -------
        dict
        """
        return {_nested_name(name): value for name, value in self.ask(trial).items()}

    def ask(self, trial: Any) -> Settings:
        """Ask a trial of Optuna for settings, each by a name of its own.

        Parameters
        ----------
        trial : optuna.Trial

        Returns
        -------
        dict
        """
        return {
            name: values.suggest(trial, name)
            if isinstance(values, Range)
            else trial.suggest_categorical(name, list(values))
            for name, values in self.items()
        }


def search_space(task: str = "classification", base_model: str = "auto") -> SearchSpace:
    """Return a search space that is sensible for most tables.

    The learning rate matters most; after it the number of splits per step, which weights are
    trained, and how long the averaged weights remember. Three dozen random draws cover it.

    Parameters
    ----------
    task : {"classification", "regression", "forecasting"}
        Classification adds `balanced_contexts`; forecasting whether a level is followed.
    base_model : str
        "mini" is small and learns at higher rates than the TabPFN versions: from 1e-4 to 2e-3
        instead of 5e-6 to 5e-4, the range of Rubachev et al. 2025 (arXiv 2506.08982).

    Returns
    -------
    SearchSpace
        A dict; change what you know better.

    Examples
    --------
    >>> from finetune_tabpfn.studies import search_space
    >>> search_space(base_model="mini")["learning_rate"]
    Range(low=0.0001, high=0.002, log=True)
    """
    if task not in ("classification", "regression", "forecasting"):
        raise ValueError(f"task={task!r} must be 'classification', 'regression' or 'forecasting'.")
    rates = Range(1e-4, 2e-3, log=True) if base_model == "mini" else Range(5e-6, 5e-4, log=True)
    space = SearchSpace(
        learning_rate=rates,
        batch_size=[1, 2, 4],
        tuning=["full", "last_layers", "norm"],
        ema_decay=[0.0, 0.9, 0.95],
    )
    if task == "classification":
        space["balanced_contexts"] = [False, True]
    if task == "forecasting":
        space["detrend"] = ["auto", False]
    return space


def ends_of(space: Mapping[str, Any]) -> list[Settings]:
    """Return settings that between them hold every value of the lists and both ends of ranges."""
    values = {
        name: [found.low, found.high] if isinstance(found, Range) else list(found)
        for name, found in space.items()
    }
    longest = max(map(len, values.values()))
    return [{n: v[place % len(v)] for n, v in values.items()} for place in range(longest)]


def grid_of(param_grid: Mapping[str, Any]) -> list[Settings]:
    """Return all combinations of a grid, the last name changing fastest."""
    for name, values in _checked(param_grid, "param_grid").items():
        if not isinstance(values, Sequence) or isinstance(values, str):
            raise ValueError(
                f"param_grid has {name}={values!r}; a grid needs a list of values, and "
                "random_search draws from a Range."
            )
    return [_plain(settings) for settings in ParameterGrid(dict(param_grid))]


def draws_of(space: Mapping[str, Any], n_iter: int, random_state: int) -> list[Settings]:
    """Return random settings; of lists alone no more than there are combinations."""
    for name, values in _checked(space, "space").items():
        if not hasattr(values, "rvs") and (
            isinstance(values, str) or not isinstance(values, Sequence)
        ):
            raise ValueError(
                f"space has {name}={values!r}, which must be a list of values, a Range or a "
                "distribution of scipy.stats."
            )
    if not is_whole(n_iter, 1):
        raise ValueError(f"n_iter={n_iter!r} must be a whole number from 1.")
    if not any(hasattr(values, "rvs") for values in space.values()):
        n_iter = min(n_iter, len(ParameterGrid(dict(space))))
    return [_plain(s) for s in ParameterSampler(dict(space), n_iter, random_state=random_state)]


def refined(param_grid: Mapping[str, Any], best: Settings) -> dict[str, list[Any]]:
    """Return a finer grid around the best settings of another.

    Of numbers, the best one and the middle of the way to its neighbours (geometric where the
    values differ by factors); at an end of the grid also one step beyond it. Of anything else, the
    best alone.
    """
    return {name: _around(list(values), best[name]) for name, values in param_grid.items()}


def differ_by_factors(numbers: Sequence[float]) -> bool:
    """Tell whether sorted numbers are so far apart that their factors matter, not differences."""
    return numbers[0] > 0 and numbers[-1] / numbers[0] >= AS_WIDE_AS_LOG


def _around(values: list[Any], best: Any) -> list[Any]:
    numbers = sorted({v for v in values if isinstance(v, (int, float)) and v is not True})
    if len(numbers) < 2 or best not in numbers or len(numbers) < len(values):
        return [best]
    by_factors = differ_by_factors(numbers)
    place = numbers.index(best)
    found = {best}
    for one, other in pairwise(numbers):
        if best in (one, other):
            middle = math.sqrt(one * other) if by_factors else (one + other) / 2
            found.add(_like(middle, values))
    if place in (0, len(numbers) - 1):
        inner = numbers[1] if place == 0 else numbers[-2]
        beyond = best * math.sqrt(best / inner) if by_factors else best + (best - inner) / 2
        if beyond > 0:
            found.add(_like(beyond, values))
    return sorted(found)


def _like(number: float, values: list[Any]) -> float | int:
    """Return a number as the others are written: whole where they are, else with few digits."""
    return round(number) if all(isinstance(v, int) for v in values) else float(f"{number:.4g}")


def _checked(space: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    if not isinstance(space, Mapping) or not space:
        raise ValueError(
            f"{what}={space!r} must be a mapping of names to values, with one at least."
        )
    for name, values in space.items():
        if isinstance(values, Sequence) and not len(values):
            raise ValueError(f"{what} has {name}={values!r}; one value at least would do.")
    return space


def _plain(settings: Mapping[str, Any]) -> Settings:
    """Return settings with numbers of Python's instead of numpy's."""
    return {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in settings.items()
    }


def _nested_name(name: str) -> str:
    """Return how `set_params` calls a setting."""
    return next(_homes(name), name)


def _homes(name: str) -> Iterator[str]:
    for parameter, (_, names) in NESTED.items():
        for short, long in names.items():
            if name == long:
                yield f"{parameter}__{short}"
