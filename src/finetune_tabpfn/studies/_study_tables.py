"""The tables of a study: rows to train on, to validate on and to test on, checked beforehand."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from finetune_tabpfn._estimators import ESTIMATORS, SETTINGS, new_estimator
from finetune_tabpfn._tasks import Kind, task_of
from finetune_tabpfn.data._io import infer_task, read_table, split_target
from finetune_tabpfn.data._kinds import names_of_text
from finetune_tabpfn.data._sampling import Indices
from finetune_tabpfn.data._validation import LabelledTable, check_table, check_target, fingerprint
from finetune_tabpfn.finetuning._validation_split import divide
from finetune_tabpfn.studies._study_scores import metrics_on, train_metrics
from finetune_tabpfn.studies._study_series import SeriesTables, series_tables, short

SPLIT_SEED = 0  # the same rows are held out for every experiment, whatever its random_state
Rows = tuple[pd.DataFrame, npt.NDArray[Any]]
Tabular = pd.DataFrame | str | Path


@dataclass(frozen=True)
class StudyTables:
    """What experiments are fitted to and scored on.

    Attributes
    ----------
    label : str
        What the table is called.
    target : str
    task : {"classification", "regression"}
    train : tuple of DataFrame and ndarray
        Features and target of all rows to train on; with `folds`, the rows to validate on too.
    validation : tuple, optional
        Rows to validate on that stand in a table of their own.
    folds : list of (train, validation)
        Row numbers of the training table, for each fold.
    test : tuple, optional
    key : str
        Hash of all rows and of their division.
    """

    label: str
    target: str
    task: Kind
    train: Rows
    validation: Rows | None
    folds: list[tuple[Indices, Indices]]
    test: Rows | None
    key: str

    @property
    def n_folds(self) -> int:
        """How often an experiment is fitted."""
        return max(1, len(self.folds))

    def fold(self, number: int) -> tuple[Rows, Rows]:
        """Return the rows to train on and to validate on of a fold."""
        if self.validation is not None:
            return self.train, self.validation
        train, held_out = self.folds[number]
        return _taken(self.train, train), _taken(self.train, held_out)

    def described(self) -> dict[str, Any]:
        """Return what the record of an experiment says of it."""
        train, validation = self.fold(0)
        return {
            "label": self.label,
            "fingerprint": self.key,
            "rows": {
                "train": len(train[1]),
                "validation": len(validation[1]),
                "test": 0 if self.test is None else len(self.test[1]),
            },
            "columns": train[0].shape[1],
            "folds": self.n_folds,
        }

    names = (*SETTINGS,)

    def own_names(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return settings by the names that they have here."""
        return dict(settings)

    def new_estimator(self, settings: Mapping[str, Any]) -> Any:
        """Return an estimator with settings, not fitted."""
        return new_estimator(self.task, settings)

    def fit(self, estimator: Any, number: int) -> Any:
        """Fit an estimator to a fold."""
        (X, y), (X_val, y_val) = self.fold(number)
        return estimator.fit(X, y, X_val=X_val, y_val=y_val)

    def scores(self, estimator: Any, number: int) -> dict[str, dict[str, float]]:
        """Return the metrics of a fitted estimator, of each part."""
        train, validation = self.fold(number)
        scored = {
            "train": train_metrics(estimator, *train),
            "validation": metrics_on(estimator, *validation),
        }
        if self.test is not None:
            scored["test"] = metrics_on(estimator, *self.test)
        return scored


def study_tables(
    train: Tabular,
    validation: Any,
    test: Tabular | None,
    *,
    target: str,
    task: str,
    name: str,
    parameters: Mapping[str, Any] | None = None,
    missing_values: Sequence[Any] = (),
) -> StudyTables | SeriesTables:
    """Read and check the tables of a study.

    Parameters
    ----------
    train, test : DataFrame, str or pathlib.Path
        With the target among their columns.
    validation : DataFrame, str, pathlib.Path, splitter or None
        None holds out a fifth of the rows.
    target : str
    task : {"auto", "classification", "regression", "forecasting"}
    name : str
        What a table is called that comes from no file.
    parameters : mapping, optional
        Of all experiments; those of forecasts say what is when.
    missing_values : sequence of str or number
        Cells of files that stand for missing ones.

    Raises
    ------
    ValueError
        One sentence that names what cannot be used.
    """
    if task == "forecasting":
        return series_tables(
            train,
            validation,
            test,
            target=target,
            name=name,
            parameters=parameters or {},
            missing_values=missing_values,
        )
    if task not in ("auto", *ESTIMATORS):
        raise ValueError(
            f"task={task!r} must be 'auto', 'classification', 'regression' or 'forecasting'."
        )
    table = _table(train, "train", (), missing_values)
    X, y = split_target(table, target)
    kind: Kind = infer_task(y) if task == "auto" else task  # type: ignore[assignment]
    rows = _checked(X, y, kind, "train")
    text = names_of_text(table)
    others: dict[str, Rows | None] = {"validation": None, "test": None}
    for part, given in (("validation", validation), ("test", test)):
        if given is not None and (part == "test" or isinstance(given, (pd.DataFrame, str, Path))):
            other = _table(given, part, text, missing_values)
            others[part] = _checked(*split_target(other, target), kind, part, like=rows[0])
    folds: list[tuple[Indices, Indices]] = []
    if others["validation"] is None:
        folds = _folds(rows, validation, kind)
    else:
        _check_labels(others["validation"][1], rows[1], kind)
    return StudyTables(
        label=Path(train).stem if isinstance(train, (str, Path)) else name,
        target=target,
        task=kind,
        train=rows,
        validation=others["validation"],
        folds=folds,
        test=others["test"],
        key=_key(rows, others["validation"], others["test"], folds, kind, target),
    )


def _table(
    given: Any, part: str, text: Sequence[str], missing_values: Sequence[Any]
) -> pd.DataFrame:
    if isinstance(given, (str, Path)):
        return read_table(given, text=text, missing_values=missing_values)
    if not isinstance(given, pd.DataFrame):
        raise ValueError(
            f"{part}={short(given)} must be a DataFrame with the target among its columns, "
            "or the path of a table."
        )
    return given.reset_index(drop=True)


def _checked(
    X: pd.DataFrame, y: pd.Series, kind: Kind, part: str, like: pd.DataFrame | None = None
) -> Rows:
    """Return features and target; those of the first table, in its order, where there is one."""
    if like is not None:
        missing = [name for name in like.columns if name not in X.columns]
        if missing:
            raise ValueError(f"{part} lacks the column {missing[0]!r}, which train has.")
        X = X[list(like.columns)]
    name = f"{part}[{y.name!r}]"
    labels = check_target(y, n_rows=len(X), numeric=kind == "regression", name=name, table=part)
    check_table(X, name=part, min_rows=2 if part == "train" else 1)
    return X, labels


def _check_labels(y_val: npt.NDArray[Any], y: npt.NDArray[Any], kind: Kind) -> None:
    """Raise for a label to validate on that no row trains."""
    unseen = np.setdiff1d(y_val, y).tolist() if kind == "classification" else []
    if unseen:
        raise ValueError(
            f"validation holds the label {unseen[0]!r}, which train does not; every label to "
            "validate on needs rows to train on."
        )


def _folds(rows: Rows, validation: Any, kind: Kind) -> list[tuple[Indices, Indices]]:
    """Return the row numbers of every fold."""
    X, y = rows
    if validation is None:
        numbered = LabelledTable(np.arange(len(y))[:, None], y)
        rng = np.random.default_rng(SPLIT_SEED)
        parts = divide(numbered, task_of(kind, y), "random", rng)
        train, held_out = (np.asarray(part.X).ravel() for part in parts)
        return [(train, held_out)]
    if not hasattr(validation, "split"):
        raise ValueError(
            f"validation={short(validation)} must be a table, its path, a splitter of "
            "scikit-learn, or None, which holds out a fifth of the rows."
        )
    first, second = _split(validation, X, y), _split(validation, X, y)
    for one, other in zip(first, second, strict=True):
        if not np.array_equal(one[1], other[1]):
            raise ValueError(
                f"validation={validation!r} divides the rows anew with every call; give it a "
                "random_state, so that all experiments are scored on the same rows."
            )
    if kind == "classification":  # nobody could predict the others
        first = [(train, rest[np.isin(y[rest], y[train])]) for train, rest in first]
    if not first or not all(len(train) and len(rest) for train, rest in first):
        raise ValueError(f"validation={validation!r} leaves one side of a split empty.")
    return first


def _split(splitter: Any, X: pd.DataFrame, y: npt.NDArray[Any]) -> list[tuple[Indices, Indices]]:
    try:
        return [(np.asarray(train), np.asarray(rest)) for train, rest in splitter.split(X, y)]
    except (ValueError, TypeError) as error:
        raise ValueError(f"validation={splitter!r} cannot split the rows: {error}") from error


def _taken(rows: Rows, numbers: Indices) -> Rows:
    return rows[0].iloc[numbers].reset_index(drop=True), rows[1][numbers]


def _key(
    train: Rows,
    validation: Rows | None,
    test: Rows | None,
    folds: list[tuple[Indices, Indices]],
    kind: Kind,
    target: str,
) -> str:
    parts = [None if rows is None else LabelledTable(*rows) for rows in (train, validation, test)]
    digest = hashlib.sha256(f"{kind} {target} {fingerprint(*parts)}".encode())
    for pair in folds:
        for numbers in pair:
            digest.update(np.asarray(numbers, dtype=np.int64).tobytes() + b"|")
    return digest.hexdigest()[:32]
