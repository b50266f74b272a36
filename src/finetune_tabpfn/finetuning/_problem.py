"""A table as a fine-tuning takes it: prepared rows to train on, and a hold-out with its score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from finetune_tabpfn import _tabpfn
from finetune_tabpfn._scoring import HoldOutScore
from finetune_tabpfn._tasks import Task
from finetune_tabpfn.data._sampling import Indices, TimeOrder
from finetune_tabpfn.data._validation import LabelledTable
from finetune_tabpfn.finetuning import _defaults
from finetune_tabpfn.finetuning._budget import WARM_UP_SHARE, Timer
from finetune_tabpfn.training._stop_reasons import StopReason

MIN_TRAIN_ROWS = 8  # fewer leave nothing to split into context and query rows


@dataclass(frozen=True)
class FineTuningProblem:
    """What one table contributes to a fine-tuning.

    Attributes
    ----------
    table : PreparedTable
    score : HoldOutScore, optional
        None without a hold-out.
    groups : ndarray of int64 of shape (n_train,), optional
        Group codes, which no split separates.
    time : TimeOrder, optional
        Of the training rows: query rows of a split then come after its context rows.
    seconds : float
        What it takes to prepare, without warming up.
    """

    table: _tabpfn.PreparedTable
    score: HoldOutScore | None
    groups: Indices | None = None
    time: TimeOrder | None = None
    seconds: float = 0.0


class NothingToTrainError(ValueError):
    """Raised for rows that cannot be trained on; its text is why, in a few words."""


def prepare_problem(
    blueprint: _tabpfn.Blueprint,
    task: Task,
    training: LabelledTable,
    validation: LabelledTable | None,
    score: HoldOutScore | None,
    weight: npt.NDArray[np.float64] | None,
    timer: Timer,
) -> FineTuningProblem:
    """Prepare the rows of a table once.

    Parameters
    ----------
    blueprint : Blueprint
    task : Task
        Of the training rows.
    training : LabelledTable
    validation : LabelledTable, optional
        None trains without validating.
    score : HoldOutScore, optional
        Of the validation rows.
    weight : ndarray of shape (n_train,), optional
        Of the training rows in the loss.
    timer : Timer
        Where preparing takes a good part of its limit, it is timed again: the first time may have
        been spent on warming up, and the same is still to come with all rows.

    Raises
    ------
    NothingToTrainError
    """
    if len(training.y) < MIN_TRAIN_ROWS or (validation is not None and not len(validation.y)):
        raise NothingToTrainError(StopReason.TOO_FEW_ROWS)
    if len(np.unique(training.y)) == 1:
        raise NothingToTrainError(StopReason.CONSTANT_TARGET)
    began = timer.clock()
    try:
        table = _tabpfn.prepare(
            blueprint,
            task,
            training.X,
            training.y,
            None if validation is None else validation.X,
            weight,
            validation_context=_defaults.validation_context(blueprint.device),
        )
    except _tabpfn.ConstantTableError as error:
        raise NothingToTrainError(StopReason.CONSTANT_COLUMNS) from error
    seconds = timer.clock() - began
    if timer.limit is not None and seconds > WARM_UP_SHARE * timer.limit and timer.is_early:
        began = timer.clock()
        blueprint.fit(training.X, training.y)
        seconds = min(seconds, timer.clock() - began)
    return FineTuningProblem(table, score, training.groups, training.time, seconds)
