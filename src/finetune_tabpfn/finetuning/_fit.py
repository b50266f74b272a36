"""A fit to one table: what it is about, and the folds that it goes through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from finetune_tabpfn import _tabpfn
from finetune_tabpfn._scoring import HoldOutScore, Scoring
from finetune_tabpfn._tasks import Task
from finetune_tabpfn.data._validation import LabelledTable
from finetune_tabpfn.finetuning._budget import Timer, finish_seconds
from finetune_tabpfn.finetuning._defaults import FOLD_STEPS
from finetune_tabpfn.finetuning._fine_tune import Surroundings, fine_tune
from finetune_tabpfn.finetuning._problem import (
    FineTuningProblem,
    NothingToTrainError,
    prepare_problem,
)
from finetune_tabpfn.finetuning._result import FineTuningResult, Trained
from finetune_tabpfn.finetuning._selection import select
from finetune_tabpfn.finetuning._settings import Settings
from finetune_tabpfn.training._checkpoints import Checkpoints
from finetune_tabpfn.training._distributed import ALONE, Alone
from finetune_tabpfn.training._stop_reasons import StopReason

Fold = tuple[LabelledTable, LabelledTable | None]  # rows to train on, and rows to validate on


class Listener(Protocol):
    """Whoever is told of the trainings of a fit."""

    def callbacks(self, attributes: Any) -> Sequence[object]:
        """Return callbacks of the training loop.

        Parameters
        ----------
        attributes : callable
            Returns what makes an estimator predict with the weights of the moment.
        """
        ...


@dataclass(frozen=True)
class Fit:
    """What a fit is about.

    Attributes
    ----------
    task : Task
    table : LabelledTable
        All rows that the predictor has as context.
    folds : list of (LabelledTable, LabelledTable or None)
    blueprint : Blueprint
        Of the predictor, around the base model's network.
    scoring : str, callable or None
    settings : Settings
    seed : int
    timer : Timer
    """

    task: Task
    table: LabelledTable
    folds: list[Fold]
    blueprint: _tabpfn.Blueprint
    scoring: Scoring
    settings: Settings
    seed: int
    timer: Timer

    def problem(
        self,
        fold: Fold | None = None,
        blueprint: _tabpfn.Blueprint | None = None,
        timer: Timer | None = None,
    ) -> FineTuningProblem:
        """Prepare the rows of a fold, the first one if none is given.

        Raises
        ------
        NothingToTrainError
        """
        training, held_out = fold or self.folds[0]
        task = self.task.among(training.y)
        score = None
        if held_out is not None:
            weight = self.task.row_weights(held_out.y, held_out.weight)
            score = HoldOutScore(task, self.scoring, held_out.X, held_out.y, weight)
        weight = self.task.row_weights(training.y, training.weight)
        around = blueprint or self.blueprint
        return prepare_problem(around, task, training, held_out, score, weight, timer or self.timer)


def fine_tune_folds(
    fit: Fit,
    checkpoints: Checkpoints,
    listeners: Sequence[Listener],
    processes: Alone = ALONE,
) -> tuple[FineTuningResult, _tabpfn.TabPFN]:
    """Fine-tune for every fold and fit the predictor with the mean of the weights to all rows.

    Returns
    -------
    result : FineTuningResult
    predictor : TabPFNClassifier or TabPFNRegressor
    """
    trainings: list[Trained] = []
    for number in range(len(fit.folds)):
        if trainings:  # its prepared table is not needed any more
            trainings[-1] = replace(trainings[-1], holds=None)
        try:
            trainings.append(_fine_tune_fold(fit, number, checkpoints, listeners, processes))
        except KeyboardInterrupt:  # before its training
            if trainings:
                trainings[-1] = replace(trainings[-1], stop_reason=str(StopReason.INTERRUPTED))
            else:
                trainings.append(Trained.untouched(str(StopReason.INTERRUPTED)))
            break
        if processes.from_first(lambda: _is_the_last(fit.timer, trainings[-1])):
            break
    result = processes.from_first(lambda: select(trainings))
    return result, fit.blueprint.deploy(result.weights, fit.table.X, fit.table.y)


def _fine_tune_fold(
    fit: Fit,
    number: int,
    checkpoints: Checkpoints,
    listeners: Sequence[Listener],
    processes: Alone,
) -> Trained:
    """Prepare the rows of a fold and train on them, unless there is nothing to train on."""
    n_folds, left = len(fit.folds), len(fit.folds) - number
    training, _ = fit.folds[number]
    # each fold begins with the base model, and its network is gone when it is over; its ensemble
    # members are those of the predictor, since what is validated is what will be deployed
    blueprint = fit.blueprint if n_folds == 1 else fit.blueprint.copy()
    moment = partial(_predictor_of_the_moment, blueprint, fit.table)
    heard = processes.for_first(listeners)
    callbacks = [callback for listener in heard for callback in listener.callbacks(moment)]
    try:
        problem = fit.problem(fit.folds[number], blueprint, fit.timer.share(left))
    except NothingToTrainError as nothing:
        return Trained.untouched(str(nothing))
    finish = finish_seconds(problem.seconds, len(training.y), len(fit.table.y))
    around = Surroundings(
        seed=fit.seed + number,
        timer=fit.timer,
        parts=left,
        finish_seconds=finish,
        callbacks=callbacks,
        checkpoints=checkpoints.fold(number),
        fold=number,
        n_folds=n_folds,
        processes=processes,
    )
    return fine_tune([problem], fit.settings, around)


def _is_the_last(timer: Timer, last: Trained) -> bool:
    """Tell whether the time that is left does not hold another fold that is worth it.

    It need not hold quite as many steps as were planned for, or a little delay in one fold would
    leave the time of the next unused.
    """
    if last.ends_the_fit:
        return True
    if timer.remaining is None or not last.n_steps:
        return False
    seconds = last.history[-1].seconds / last.n_steps
    return FOLD_STEPS / 2 * seconds > timer.remaining


def _predictor_of_the_moment(blueprint: _tabpfn.Blueprint, table: LabelledTable) -> dict[str, Any]:
    """Return the attributes of an estimator whose fit had stopped now."""
    return {"predictor_": blueprint.snapshot(table.X, table.y)}
