"""Which rows of a table are held out to validate on."""

from __future__ import annotations

import warnings
from itertools import islice
from numbers import Real
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from finetune_tabpfn._parameters import Parameters
from finetune_tabpfn._tasks import Task
from finetune_tabpfn.data._sampling import Rows, hold_out, hold_out_groups, last_rows
from finetune_tabpfn.data._validation import LabelledTable
from finetune_tabpfn.finetuning import _defaults
from finetune_tabpfn.utils._warn import warn

IN_A_PIPELINE = '; in a Pipeline, transform_input=["X_val"] sends it through the steps before.'


def hold_outs(
    table: LabelledTable,
    validation: LabelledTable | None,
    task: Task,
    parameters: Parameters,
    seed: int,
) -> list[tuple[LabelledTable, LabelledTable | None]]:
    """Return training rows and hold-out rows, once or for each of several folds.

    Parameters
    ----------
    table : LabelledTable
    validation : LabelledTable, optional
        The user's own rows to validate on; all of `table` trains then.
    task : Task
    parameters : Parameters
        Of the estimator.
    seed : int

    Returns
    -------
    list of (training, held_out)
        No hold-out where `validation` is None and the user has given no rows.
    """
    way, n_folds = parameters.validation, parameters.n_folds
    if n_folds > 1:
        if validation is not None:
            raise ValueError(f"n_folds={n_folds} does not go with X_val; leave it at 1.")
        return [*divide_in_folds(table, task, way, n_folds, seed)]
    if validation is not None:
        _refuse_two_hold_outs(parameters)
        return [(table, validation)]
    if way is None:
        if parameters.learning_rate == "auto":
            raise ValueError(
                'learning_rate="auto" is chosen on a hold-out, and validation=None leaves none; '
                "give a number, None for the usual one, or rows as X_val."
            )
        return [(table, None)]
    rng = np.random.default_rng((seed, 0))
    fraction = parameters.validation_fraction or _defaults.hold_out_fraction(len(table.y))
    return [divide(table, task, way, fraction, rng)]


def _refuse_two_hold_outs(parameters: Parameters) -> None:
    """Raise where rows are given and asked for as well; the order of time is no request."""
    for name in ("validation", "validation_fraction"):
        value = getattr(parameters, name)
        if not isinstance(value, (str, type(None))):
            raise ValueError(
                f"{name}={value!r} holds rows out of X, but X_val is given; leave one of them out."
            )


def check_same_columns(X_val: Any, n_columns: int, n_expected: int, names: Any) -> None:
    """Make sure that rows to validate on have the columns of `X`.

    Parameters
    ----------
    X_val : DataFrame or array-like
        As it came in.
    n_columns, n_expected : int
        Of `X_val`, and of `X`.
    names : ndarray of str or None
        Of the columns of `X`.

    Raises
    ------
    ValueError
        One sentence that says what differs.
    """
    own = [name for name in getattr(X_val, "columns", ()) if isinstance(name, str)]
    expected = [] if names is None else list(names)
    if own and expected and own != expected:
        for name in expected:
            if name not in own:
                raise ValueError(f"X_val lacks the column {name!r} of X{IN_A_PIPELINE}")
        for name in own:
            if name not in expected:
                raise ValueError(f"X_val has the column {name!r}, which X has not{IN_A_PIPELINE}")
        raise ValueError("X_val has the columns of X in another order; X_val[X.columns] has not.")
    if n_columns != n_expected:
        raise ValueError(f"X_val has {n_columns} columns and X has {n_expected}{IN_A_PIPELINE}")
    if bool(own) != bool(expected):
        which = "X_val has names of columns and X has none"
        if expected:
            which = "X has names of columns and X_val has none"
        warn(f"{which}, so they are matched by their place{IN_A_PIPELINE}")


def divide(
    table: LabelledTable, task: Task, validation: Any, fraction: float, rng: np.random.Generator
) -> tuple[LabelledTable, LabelledTable]:
    """Divide a table into training rows and hold-out rows.

    Parameters
    ----------
    table : LabelledTable
    task : Task
    validation : "random", "time", float or splitter
        As the parameter of the estimators.
    fraction : float
        Share of the rows to hold out for "random" and "time".
    rng : numpy.random.Generator

    Returns
    -------
    training, held_out : LabelledTable
        Hold-out rows of a class that no training row has are left out: nobody could predict
        them, and so no score could be taken.

    Raises
    ------
    ValueError
        When a splitter gives no rows to train on or none to validate on.
    """
    if isinstance(validation, Real):
        validation, fraction = "random", float(validation)
    train, held_out = _rows(table, task, validation, fraction, rng)
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
    strata = task.strata(table.y)
    splitter = validation
    if isinstance(validation, (str, Real)):
        if validation == "time":
            raise ValueError(
                f"n_folds={n_folds} does not go with validation='time'; a TimeSeriesSplit does."
            )
        kind = StratifiedKFold if table.groups is None else StratifiedGroupKFold
        splitter = kind(n_folds, shuffle=True, random_state=seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of strata that are smaller than the number of folds
            splits = list(islice(splitter.split(table.X, strata, table.groups), n_folds))
    except ValueError as error:
        raise ValueError(f"n_folds={n_folds} cannot divide the rows: {error}") from error
    return [_parts(table, task, train, held_out) for train, held_out in splits]


def _parts(
    table: LabelledTable, task: Task, train: Rows, held_out: Rows
) -> tuple[LabelledTable, LabelledTable]:
    """Return both sides of a division, without hold-out rows that nobody could predict."""
    training = table.rows(train)
    if task.kind == "classification":
        held_out = held_out[np.isin(table.y[held_out], training.y)]
    return training, table.rows(held_out)


def _rows(
    table: LabelledTable, task: Task, validation: Any, fraction: float, rng: np.random.Generator
) -> tuple[Rows, Rows]:
    """Return the numbers of the rows to train on and to hold out."""
    if validation == "time":
        return last_rows(len(table.y), fraction)
    if validation != "random":
        return _first_split(table, validation)
    strata = task.strata(table.y)
    if table.groups is not None:
        return hold_out_groups(strata, table.groups, fraction, rng)
    return hold_out(strata, fraction, rng)


def _first_split(table: LabelledTable, splitter: Any) -> tuple[Rows, Rows]:
    """Return the first split of a splitter of scikit-learn."""
    try:
        train, held_out = next(iter(splitter.split(table.X, table.y, table.groups)))
    except (ValueError, StopIteration) as error:
        raise ValueError(f"validation={splitter!r} cannot split the rows: {error}") from error
    if not (len(train) and len(held_out)):
        raise ValueError(f"validation={splitter!r} leaves one side of the split empty.")
    return np.asarray(train), np.asarray(held_out)
