"""Which rows of a table are held out to validate on."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from itertools import islice
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from finetune_tabpfn._tasks import Task
from finetune_tabpfn.data._sampling import Indices, hold_out, hold_out_groups, shuffled_groups
from finetune_tabpfn.data._time_split import TimeSplit, time_split_of
from finetune_tabpfn.data._validation import LabelledTable
from finetune_tabpfn.finetuning import _defaults


@dataclass(frozen=True)
class ValidationSplit:
    """How a table is divided into rows to train on and rows to validate on.

    Parameters
    ----------
    validation : "random", "time", float, int, splitter, array-like or None
        As the parameter of the estimators. "time" and `TimeSplit` also say when the rows are from.
    n_folds : int or "auto"
        "auto" may make several where the rows are divided at random.
    learning_rate : float, "auto" or None
        "auto" needs a hold-out.
    max_steps : int
        Of all folds together.
    """

    validation: Any
    n_folds: int | str
    learning_rate: Any = None
    max_steps: int = 0

    def folds(
        self, table: LabelledTable, validation: LabelledTable | None, task: Task, seed: int
    ) -> list[tuple[LabelledTable, LabelledTable | None]]:
        """Return training rows and hold-out rows, once or for each of several folds.

        Parameters
        ----------
        table : LabelledTable
        validation : LabelledTable, optional
            The user's own rows to validate on; all of `table` trains then.
        task : Task
        seed : int

        Returns
        -------
        list of (training, held_out)
            No hold-out where `validation` is None and the user has given no rows.
        """
        way = self.validation
        n_folds = self._number(table, validation, task)
        if (by_time := time_split_of(way)) is not None:
            table = replace(table, time=by_time.order(table.X))
        if n_folds > 1:
            if validation is not None:
                raise ValueError(f"n_folds={n_folds} does not go with X_val; leave it at 1.")
            return [*divide_in_folds(table, task, way, n_folds, seed)]
        if validation is not None:
            if way is not None and not isinstance(way, str):  # the order of time is no request
                raise ValueError(
                    f"validation={way!r} holds rows out of X, but X_val is given; leave one of "
                    "them out."
                )
            return [(table, validation)]
        if way is None:
            if self.learning_rate == "auto":
                raise ValueError(
                    'learning_rate="auto" is chosen on a hold-out, and validation=None leaves '
                    "none; give a number, None for the usual one, or rows as X_val."
                )
            return [(table, None)]
        rng = np.random.default_rng((seed, 0))
        return [divide(table, task, way, rng)]

    def _number(self, table: LabelledTable, validation: LabelledTable | None, task: Task) -> int:
        """Return how many folds there are."""
        if self.n_folds == "auto":
            at_random = isinstance(self.validation, str) and self.validation == "random"
            few_groups = table.groups is not None and len(np.unique(table.groups)) < _defaults.FOLDS
            if validation is not None or not at_random or few_groups:
                return 1
            if self.learning_rate == "auto":  # which every fold would try out anew
                return 1
        return _defaults.n_folds(self.n_folds, task.strata(table.y), self.max_steps)


def divide(
    table: LabelledTable,
    task: Task,
    validation: Any,
    rng: np.random.Generator,
    fraction: float | None = None,
) -> tuple[LabelledTable, LabelledTable]:
    """Divide a table into training rows and hold-out rows.

    Parameters
    ----------
    table : LabelledTable
    task : Task
    validation : "random", "time", float, int, splitter or array-like
        As the parameter of the estimators.
    rng : numpy.random.Generator
    fraction : float, optional
        Share of the rows to hold out for "random" and "time", if not the usual one.

    Returns
    -------
    training, held_out : LabelledTable
        Hold-out rows of a class that no training row has are left out: nobody could predict
        them, and so no score could be taken.

    Raises
    ------
    ValueError
        When no rows are left to train on or none to validate on.
    """
    train, held_out = _rows(table, task, validation, rng, fraction)
    return _parts(table, task, train, held_out)


def divide_in_folds(
    table: LabelledTable, task: Task, validation: Any, n_folds: int, seed: int
) -> list[tuple[LabelledTable, LabelledTable]]:
    """Divide a table several times, so that every row is held out once.

    Parameters
    ----------
    table : LabelledTable
    task : Task
    validation : "random" or splitter
        "random": stratified folds, of whole groups where the table has groups. Of a splitter,
        the first splits.
    n_folds : int
    seed : int

    Returns
    -------
    list of (training, held_out)

    Raises
    ------
    ValueError
        When the rows cannot be divided so often.
    """
    strata, groups = task.strata(table.y), table.groups
    splitter = validation
    if isinstance(validation, (str, Real)):
        if validation == "time":
            raise ValueError(
                f"n_folds={n_folds} does not go with validation='time'; "
                f"TimeSplit(n_splits={n_folds}) does."
            )
        if groups is None:
            splitter = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
        else:
            groups = shuffled_groups(groups, seed)
            splitter = StratifiedGroupKFold(n_folds)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of strata that are smaller than the number of folds
            splits = list(islice(splitter.split(table.X, strata, groups), n_folds))
    except ValueError as error:
        raise ValueError(f"n_folds={n_folds} cannot divide the rows: {error}") from error
    return [_parts(table, task, train, held_out) for train, held_out in splits]


def _parts(
    table: LabelledTable, task: Task, train: Indices, held_out: Indices
) -> tuple[LabelledTable, LabelledTable]:
    """Return both sides of a division, without hold-out rows that nobody could predict."""
    training = table.take(train)
    if task.kind == "classification":
        held_out = held_out[np.isin(table.y[held_out], training.y)]
    return training, table.take(held_out)


def _rows(
    table: LabelledTable,
    task: Task,
    validation: Any,
    rng: np.random.Generator,
    fraction: float | None,
) -> tuple[Indices, Indices]:
    """Return the numbers of the rows to train on and to hold out."""
    n_rows = len(table.y)
    fraction = fraction or _defaults.hold_out_fraction(n_rows)
    if isinstance(validation, Integral):
        if int(validation) >= n_rows:
            raise ValueError(
                f"validation={validation} holds out as many rows as there are ({n_rows}) or more; "
                "give fewer."
            )
        validation = int(validation) / n_rows
    if isinstance(validation, Real):
        validation, fraction = "random", float(validation)
    if (by_time := time_split_of(validation)) is not None:
        return _last_split(by_time, table, fraction)
    if isinstance(validation, str):
        strata = task.strata(table.y)
        if table.groups is not None:
            return hold_out_groups(strata, table.groups, fraction, rng)
        return hold_out(strata, fraction, rng)
    if hasattr(validation, "split"):
        return _first_split(table, validation)
    return _given_rows(n_rows, validation)


def _given_rows(n_rows: int, validation: Any) -> tuple[Indices, Indices]:
    """Return the rows to train on and the ones that are named to be held out: numbers or a mask."""
    named = np.asarray(validation)
    numbers = np.arange(n_rows)
    if named.ndim == 1 and named.dtype == bool and len(named) == n_rows:
        held_out = numbers[named]
    elif named.ndim == 1 and named.dtype.kind in "iu" and np.isin(named, numbers).all():
        held_out = np.unique(named)
    else:
        raise ValueError(
            f"validation={validation!r} must name rows to hold out by numbers from 0 to "
            f"{n_rows - 1}, or by a mask of {n_rows} truth values."
        )
    train = np.setdiff1d(numbers, held_out)
    if not (len(train) and len(held_out)):
        raise ValueError(
            f"validation names {len(held_out)} of {n_rows} rows, which leaves one side of the "
            "split empty."
        )
    return train, held_out


def _last_split(
    by_time: TimeSplit, table: LabelledTable, fraction: float
) -> tuple[Indices, Indices]:
    """Return the split of which the last rows are held out."""
    time = table.time or by_time.order(table.X)
    *_, last = by_time.split_moments(time, table.groups, fraction)
    return last


def _first_split(table: LabelledTable, splitter: Any) -> tuple[Indices, Indices]:
    """Return the first split of a splitter of scikit-learn."""
    try:
        train, held_out = next(iter(splitter.split(table.X, table.y, table.groups)))
    except (ValueError, StopIteration) as error:
        raise ValueError(f"validation={splitter!r} cannot split the rows: {error}") from error
    if not (len(train) and len(held_out)):
        raise ValueError(f"validation={splitter!r} leaves one side of the split empty.")
    return np.asarray(train), np.asarray(held_out)
