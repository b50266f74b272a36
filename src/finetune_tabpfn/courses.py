"""A table as a fine-tuning takes it: prepared rows to train on, and a hold-out with its score."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from finetune_tabpfn import _tabpfn, recipe
from finetune_tabpfn.data import Rows
from finetune_tabpfn.inputs import LabelledTable
from finetune_tabpfn.scoring import HoldOutScore
from finetune_tabpfn.tasks import Task

MIN_TRAIN_ROWS = 8  # fewer leave nothing to split into context and query rows


@dataclass(frozen=True)
class Course:
    """What one table contributes to a fine-tuning.

    Attributes
    ----------
    table : PreparedTable
    score : HoldOutScore
    groups : ndarray of int64 of shape (n_train,), optional
        Group codes, which no split separates.
    seconds : float
        What it took to prepare.
    """

    table: _tabpfn.PreparedTable
    score: HoldOutScore
    groups: Rows | None = None
    seconds: float = 0.0


class NothingToTrainError(ValueError):
    """Raised for rows that cannot be trained on; its text is why, in a few words."""


def prepare_course(
    blueprint: _tabpfn.Blueprint,
    task: Task,
    training: LabelledTable,
    validation: LabelledTable,
    score: HoldOutScore,
    weight: npt.NDArray[np.float64] | None,
) -> Course:
    """Prepare the rows of a table once.

    Parameters
    ----------
    blueprint : Blueprint
    task : Task
        Of the training rows.
    training, validation : LabelledTable
    score : HoldOutScore
        Of the validation rows.
    weight : ndarray of shape (n_train,), optional
        Of the training rows in the loss.

    Raises
    ------
    NothingToTrainError
    """
    if len(training.y) < MIN_TRAIN_ROWS or not len(validation.y):
        raise NothingToTrainError("too few rows")
    if len(np.unique(training.y)) == 1:
        raise NothingToTrainError("constant target")
    began = time.monotonic()
    table = _tabpfn.prepare(
        blueprint,
        task,
        training.X,
        training.y,
        validation.X,
        weight,
        validation_context=recipe.validation_context(blueprint.device),
    )
    return Course(table, score, training.groups, time.monotonic() - began)
