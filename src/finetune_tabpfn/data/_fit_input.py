"""What `fit` is given, checked and read: the table to learn from, and rows to validate on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from finetune_tabpfn.data._kinds import Columns
from finetune_tabpfn.data._validation import (
    LabelledTable,
    Table,
    check_groups,
    check_shape,
    check_table,
    check_target,
    check_weight,
    positions_of,
)
from finetune_tabpfn.utils._warn import warn

IN_A_PIPELINE = '; in a Pipeline, transform_input=["X_val"] sends it through the steps before.'


@dataclass(frozen=True)
class FitInput:
    """What a fit learns from.

    Attributes
    ----------
    table : LabelledTable
        Without rows of weight zero.
    validation : LabelledTable, optional
        The user's own rows to validate on.
    columns : Columns
        What the columns of the table hold, by which every later table is read.
    categorical : list of int, optional
        Positions of the columns that are declared categorical.
    """

    table: LabelledTable
    validation: LabelledTable | None
    columns: Columns
    categorical: list[int] | None


def read_input(
    X: Any,
    y: Any,
    sample_weight: Any = None,
    groups: Any = None,
    X_val: Any = None,
    y_val: Any = None,
    *,
    numeric: bool,
    categorical_features: Sequence[Any] | None = None,
) -> FitInput:
    """Check everything that comes in.

    Parameters
    ----------
    X, y, sample_weight, groups, X_val, y_val
        As of the estimators' `fit`.
    numeric : bool
        Whether the target has to be numbers.
    categorical_features : sequence, optional
        As the parameter of the estimators.

    Raises
    ------
    ValueError
        One sentence that names what cannot be used.
    """
    table = _labelled(check_table(X, min_rows=2), y, numeric)
    table = replace(
        table,
        weight=check_weight(sample_weight, n_rows=len(table.y)),
        groups=check_groups(groups, n_rows=len(table.y)),
    )
    if table.weight is not None:
        table = table.take(np.flatnonzero(table.weight))
    categorical = positions_of(categorical_features, table.X)
    columns = Columns.of(table.X, categorical=categorical or ())
    table = replace(table, X=columns.read(table.X))
    if X_val is None and y_val is None:
        return FitInput(table, None, columns, categorical)
    if X_val is None or y_val is None:
        missing = "X_val" if X_val is None else "y_val"
        raise ValueError(f"{missing} is None; X_val and y_val go together.")
    rows = check_shape(X_val, name="X_val")
    check_same_columns(X_val, rows.shape[1], table.X.shape[1], _names(X))
    validation = _labelled(columns.read(rows, "X_val"), y_val, numeric, "_val")
    return FitInput(table, validation, columns, categorical)


def _labelled(X: Table, y: Any, numeric: bool, suffix: str = "") -> LabelledTable:
    name, table = f"y{suffix}", f"X{suffix}"
    if isinstance(X, pd.DataFrame) and isinstance(y, (pd.Series, pd.DataFrame)):
        _warn_of_another_order(X.index, y.index, name, table)
    return LabelledTable(X, check_target(y, n_rows=len(X), numeric=numeric, name=name, table=table))


def _warn_of_another_order(rows: pd.Index, labels: pd.Index, name: str, table: str) -> None:
    """Warn where rows and labels seem to belong together by their index, and not by their place."""
    if rows.equals(labels) or len(rows) != len(labels):
        return
    if rows.is_unique and labels.is_unique and rows.isin(labels).all():
        warn(
            f"{table} and {name} have the same index in another order and are matched by their "
            f"place, as in scikit-learn; {name}.loc[{table}.index] would match them by their index."
        )


def _names(X: Any) -> list[str] | None:
    """Return the names of columns, as scikit-learn takes them: all text, or none."""
    names = list(getattr(X, "columns", ()))
    return names if names and all(isinstance(name, str) for name in names) else None


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
