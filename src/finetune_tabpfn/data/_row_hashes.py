"""A number for every row of a table, by which rows are known again that a model was fitted on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Hashes = npt.NDArray[np.uint64]
CHANCE = 0.01  # of the rows; so many more than repeat by themselves are no accident


def row_hashes(X: pd.DataFrame | npt.NDArray[Any]) -> Hashes:
    """Return a hash of each row, the same wherever its cells are: 8 bytes a row.

    Parameters
    ----------
    X : DataFrame or ndarray of shape (n_rows, n_features)
        As `Columns.read` returns it: a column holds one kind of cells.
    """
    frame = pd.DataFrame(X)
    found = np.zeros(len(frame), dtype=np.uint64)
    for position in range(frame.shape[1]):
        cells = pd.util.hash_array(_plain(frame.iloc[:, position]))
        found = found * np.uint64(1_000_003) ^ cells
    return found


def _plain(cells: pd.Series) -> npt.NDArray[Any]:
    """Return cells as numbers or text, whatever type they have."""
    if isinstance(cells.dtype, pd.CategoricalDtype):
        cells = cells.astype(cells.cat.categories.dtype if not cells.isna().any() else object)
        cells = cells.infer_objects()
    if pd.api.types.is_numeric_dtype(cells.dtype):
        return cells.to_numpy(dtype=np.float64, na_value=np.nan) + 0.0  # -0.0 is 0.0
    texts = cells.astype(str).to_numpy(dtype=object, copy=True)
    texts[cells.isna().to_numpy()] = "nan"  # before pandas 3 None was "None"
    return texts


def n_known(rows: Hashes, fitted: Hashes) -> int:
    """Return how many rows are among others; 0 where as many would be by accident.

    In a table of few columns rows repeat: the share of them that do is what new rows have in
    common with it by accident.
    """
    known = int(np.isin(rows, fitted).sum())
    distinct, counts = np.unique(fitted, return_counts=True)
    repeated = 1 - (counts == 1).sum() / len(fitted) if len(distinct) else 0.0
    return known if known > (repeated + CHANCE) * len(rows) else 0
