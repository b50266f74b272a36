"""The tables of a run: training rows, and rows that are set aside to validate and test on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from finetune_tabpfn._tasks import Classification, Kind, Regression, Task
from finetune_tabpfn.data._io import infer_task, read_table, split_target, warn_of_row_numbers
from finetune_tabpfn.data._kinds import names_of_text
from finetune_tabpfn.data._validation import LabelledTable, check_groups, check_target, check_weight
from finetune_tabpfn.finetuning._validation_split import divide
from finetune_tabpfn.runs._config import Data, RunConfig

TEST_STREAM = 1  # of the seed; the hold-out is drawn from another one


@dataclass(frozen=True)
class Tables:
    """The tables of a run.

    Attributes
    ----------
    task : Task
        Of the target of all training rows, those set aside among them.
    train : LabelledTable
    validation, test : LabelledTable or None
    """

    task: Task
    train: LabelledTable
    validation: LabelledTable | None
    test: LabelledTable | None

    @property
    def sizes(self) -> dict[str, int]:
        """Rows by what they are for."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: len(part.y) for name, part in parts.items() if part is not None}


def read_tables(config: RunConfig) -> Tables:
    """Read the tables that a configuration names and set rows for the test aside.

    Raises
    ------
    ValueError
        When a file cannot be read, or lacks a column or a label that it needs.
    """
    data = config.data
    table = read_table(data.path, missing_values=data.missing_values)
    features, target = split_target(table, data.target)
    warn_of_row_numbers(features.drop(columns=list(data.drop), errors="ignore"), data.path)
    kind: Kind = infer_task(target) if data.task == "auto" else data.task  # type: ignore[assignment]
    whole = _labelled(features, target, data, kind)
    task: Task = Regression() if kind == "regression" else Classification.of(whole.y)
    text = names_of_text(table)
    validation = _read_like(whole, data.validation_path, data, task, text)
    if data.test_path is not None or not data.test_fraction:
        return Tables(task, whole, validation, _read_like(whole, data.test_path, data, task, text))
    way = "time" if config.parameters["validation"] == "time" else "random"
    seed = config.parameters["random_state"]
    rng = np.random.default_rng(None if seed is None else (seed, TEST_STREAM))
    train, test = divide(whole, task, way, rng, data.test_fraction)
    return Tables(task, train, validation, test)


def _labelled(X: pd.DataFrame, y: pd.Series, data: Data, kind: Kind) -> LabelledTable:
    """Return rows with targets, weights and groups; the columns of those are no features."""
    dropped = [str(name) for name in data.drop]
    for key, names in (("drop", dropped), ("group", [data.group]), ("weight", [data.weight])):
        for name in names:
            if name is not None and name not in X.columns:
                raise ValueError(f"data.{key}: {name!r} is not a column of {data.path}.")
    return LabelledTable(
        X.drop(columns=[*dropped, *filter(None, (data.group, data.weight))]),
        check_target(y, n_rows=len(X), numeric=kind == "regression"),
        _column(X, data.weight, check_weight),
        _column(X, data.group, check_groups),
    )


def _read_like(
    first: LabelledTable, path: str | None, data: Data, task: Task, text: list[str]
) -> LabelledTable | None:
    """Read another table with the features of the first, None without a path.

    What was text there is text here.
    """
    if path is None:
        return None
    table = read_table(path, text=text, missing_values=data.missing_values)
    names = list(cast(pd.DataFrame, first.X).columns)
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise ValueError(f"{path} lacks the column {missing[0]!r} that {data.path} has.")
    X, target = split_target(table, data.target)
    y = check_target(target, n_rows=len(X), numeric=task.kind == "regression")
    if isinstance(task, Classification):
        unseen = np.setdiff1d(y, task.classes)
        if len(unseen):
            raise ValueError(f"{path} holds the label {unseen[0]!r}, which {data.path} does not.")
    weight = data.weight if data.weight in X.columns else None
    return LabelledTable(X[names], y, _column(X, weight, check_weight))


def _column(X: pd.DataFrame, name: str | None, check: Any) -> npt.NDArray[Any] | None:
    """Return a checked column, None without a name."""
    if name is None:
        return None
    try:
        return check(X[name], n_rows=len(X))
    except ValueError as error:
        raise ValueError(f"The column {name!r} cannot be used: {error}.") from error
