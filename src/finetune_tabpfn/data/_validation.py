"""What may come in: tables and targets are checked here and otherwise left as they are.

DataFrames stay DataFrames, because TabPFN's own cleaning handles categories, text, dates,
booleans and missing values. What training sees, validation and prediction see.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import issparse
from sklearn.utils import check_array
from sklearn.utils.validation import column_or_1d

from finetune_tabpfn.data._columns import DATES, SPANS, table_of_objects, tidy_columns
from finetune_tabpfn.data._sampling import Indices, TimeOrder, take_rows

Table = pd.DataFrame | npt.NDArray[Any]
NUMBER_KINDS = "biuf"  # numpy's letters for arrays of booleans, integers and floats


@dataclass(frozen=True)
class LabelledTable:
    """Rows with their targets and, if given, weights, group codes and their order in time."""

    X: Table
    y: npt.NDArray[Any]
    weight: npt.NDArray[np.float64] | None = None
    groups: Indices | None = None
    time: TimeOrder | None = None

    def take(self, rows: Indices) -> LabelledTable:
        """Return the table of some of the rows."""
        return LabelledTable(
            take_rows(self.X, rows),
            self.y[rows],
            None if self.weight is None else self.weight[rows],
            None if self.groups is None else self.groups[rows],
            None if self.time is None else self.time.take(rows),
        )


def fingerprint(*tables: LabelledTable | None) -> str:
    """Return a hash of the cells, targets, weights and groups of tables, in their order."""
    digest = hashlib.sha256()
    for table in tables:
        parts = () if table is None else (table.X, table.y, table.weight, table.groups)
        for part in parts:
            if part is None:
                digest.update(b"none")
                continue
            frame = pd.DataFrame(part)
            digest.update(repr([(str(name), str(frame[name].dtype)) for name in frame]).encode())
            digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def check_table(X: Any, *, name: str = "X", min_rows: int = 1) -> Table:
    """Return a table to learn from as a DataFrame or a two-dimensional array of numbers.

    Raises
    ------
    ValueError
        As `check_shape`, and for cells that cannot be used.
    """
    X = check_shape(X, name=name, min_rows=min_rows)
    if isinstance(X, pd.DataFrame):
        return tidy_columns(X, name)
    if X.dtype.kind not in NUMBER_KINDS:
        return tidy_columns(table_of_objects(X), name)
    if X.dtype.kind == "f" and np.isinf(X).any():
        tidy_columns(pd.DataFrame(X), name)  # raises and names the column
    return X


def check_shape(X: Any, *, name: str = "X", min_rows: int = 1) -> Table:
    """Return a table as a DataFrame or a two-dimensional array, its cells as they are.

    Parameters
    ----------
    X : DataFrame, array-like or list of lists of shape (n_rows, n_features)
    name : str
        Of the parameter, for messages.
    min_rows : int

    Raises
    ------
    ValueError
        For anything but a table with rows and columns.
    TypeError
        For sparse matrices.
    """
    if isinstance(X, (list, tuple)) and X and isinstance(X[0], (list, tuple)):
        X = _table_of_lists(X, name)
    # a sparse matrix may be a dict as well
    if X is None or (isinstance(X, (str, dict)) and not issparse(X)):
        how = f"pd.DataFrame({name})" if isinstance(X, dict) else "a DataFrame"
        raise ValueError(f"{name} is of the type {type(X).__name__}; {how} would be a table.")
    if not isinstance(X, pd.DataFrame):
        X = check_array(
            X,
            dtype=None,
            ensure_all_finite=False,
            ensure_min_samples=min_rows,
            input_name=name,
        )
    for axis, minimum, what in ((0, min_rows, "sample(s)"), (1, 1, "feature(s)")):
        if X.shape[axis] < minimum:
            raise ValueError(
                f"{name} has {X.shape[axis]} {what} (shape={X.shape}) while a minimum of "
                f"{minimum} is required."
            )
    return X


def check_target(
    y: Any, *, n_rows: int, numeric: bool, name: str = "y", table: str = "X"
) -> npt.NDArray[Any]:
    """Return a target as a one-dimensional array without missing values.

    Parameters
    ----------
    y : array-like of shape (n_rows,) or (n_rows, 1)
    n_rows : int
        Of the table it belongs to.
    numeric : bool
        Whether it has to be numbers, which are returned as float64.
    name, table : str
        Of the parameters, for messages.
    """
    if y is None:
        raise ValueError(f"fit requires {name} to be passed, but the target {name} is None.")
    if isinstance(y, str):
        raise ValueError(
            f"{name}={y!r} is a text; where it is a column of {table}, {table}.pop({y!r}) takes it "
            "out as the target."
        )
    if isinstance(y, pd.DataFrame):
        y = y.to_numpy(dtype=object)
    elif isinstance(y, (pd.Series, pd.Index, pd.api.extensions.ExtensionArray)):
        y = np.asarray(y)  # scikit-learn makes floats of nullable integers and booleans
    y = column_or_1d(y, warn=True)
    if len(y) != n_rows:
        raise ValueError(f"{table} has {n_rows} rows but {name} has {len(y)}; they must agree.")
    missing = int(pd.isna(y).sum())
    if missing:
        raise ValueError(
            f"Input {name} contains NaN in {missing} of {n_rows} rows; drop the rows without "
            "a label, as `finetune-tabpfn prepare` does for files."
        )
    y = _of_one_type(y)
    if numeric:
        _refuse_times(y, name)
        try:
            y = np.asarray(y, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{name} holds values that are not numbers ({error}); a regressor needs numbers, "
                "FinetunedTabPFNClassifier takes labels."
            ) from error
    if y.dtype.kind == "f" and np.isinf(y).any():
        raise ValueError(f"Input {name} contains infinity; a target must be finite.")
    return y


def _of_one_type(y: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return objects that are all booleans or all numbers, as nullable columns are, as such."""
    types: dict[str, Any] = {"boolean": np.bool_, "integer": np.int64, "floating": np.float64}
    kind = pd.api.types.infer_dtype(y, skipna=False) if y.dtype == object else ""
    try:
        return y.astype(types[kind]) if kind in types else y
    except OverflowError:  # beyond 64 bits
        return y


def _refuse_times(y: npt.NDArray[Any], name: str) -> None:
    """Raise for dates and timespans, of which numpy makes numbers of whatever unit they have."""
    kind = pd.api.types.infer_dtype(y, skipna=True)
    if kind in DATES or kind in SPANS:
        unit = "days since a date" if kind in DATES else "seconds (dt.total_seconds())"
        raise ValueError(
            f"{name} holds {'dates' if kind in DATES else 'timespans'} such as "
            f"{str(pd.Series(y).iloc[0])!r}; a regressor needs numbers: {unit}, for example."
        )


def check_weight(sample_weight: Any, *, n_rows: int) -> npt.NDArray[np.float64] | None:
    """Return the weights of the rows as an array, None without any.

    Raises
    ------
    ValueError
        For weights of another number, negative or infinite ones, or none above zero.
    """
    if sample_weight is None:
        return None
    if isinstance(sample_weight, str):
        raise ValueError(
            f"sample_weight={sample_weight!r} must hold a number for each row; class_weight weighs "
            "classes."
        )
    weight = np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != (n_rows,):
        raise ValueError(
            f"sample_weight has the shape {weight.shape}; X has {n_rows} rows and needs a weight "
            "for each."
        )
    if not np.isfinite(weight).all() or (weight < 0).any():
        raise ValueError("sample_weight must hold finite numbers, none below zero.")
    if not weight.any():
        raise ValueError("sample_weight is zero for all rows; at least two need more than that.")
    return weight


def check_groups(groups: Any, *, n_rows: int) -> Indices | None:
    """Return the groups of the rows as codes 0 ... n_groups - 1, None without any."""
    if groups is None:
        return None
    codes, _ = pd.factorize(np.asarray(groups).ravel())
    if len(codes) != n_rows:
        raise ValueError(f"groups has {len(codes)} entries but X has {n_rows} rows.")
    if (codes < 0).any():
        raise ValueError("groups has missing values; give every row a group.")
    return codes.astype(np.int64)


def positions_of(columns: Sequence[Any] | None, X: Table) -> list[int] | None:
    """Return positions of the columns that are given as positions, names or a mask.

    Raises
    ------
    ValueError
        For a column that `X` does not have.
    """
    if columns is None:
        return None
    given = list(columns)
    n_features = X.shape[1]
    if given and all(isinstance(column, (bool, np.bool_)) for column in given):
        if len(given) != n_features:
            raise ValueError(
                f"categorical_features is a mask of {len(given)} columns, X has {n_features}."
            )
        return [int(position) for position in np.flatnonzero(given)]
    names = list(X.columns) if isinstance(X, pd.DataFrame) else []
    positions = []
    for column in given:
        if isinstance(column, str) and column in names:
            positions.append(names.index(column))
        elif isinstance(column, (int, np.integer)) and 0 <= column < n_features:
            positions.append(int(column))
        else:
            raise ValueError(
                f"categorical_features={column!r} is not a column of X; give positions below "
                f"{n_features}, column names or a mask."
            )
    return positions


def _table_of_lists(X: Sequence[Sequence[Any]], name: str) -> Table:
    """Return lists of rows as a table; numpy alone would turn mixed rows into text."""
    if len({len(row) for row in X}) > 1:
        raise ValueError(f"{name} is a list of rows of different lengths.")
    frame = pd.DataFrame(X)
    numeric = all(pd.api.types.is_numeric_dtype(dtype) for dtype in frame.dtypes)
    return frame.to_numpy() if numeric else frame
