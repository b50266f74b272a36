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
from finetune_tabpfn.finetuning._fine_tune import Surroundings, fine_tune
from finetune_tabpfn.finetuning._problem import (
    FineTuningProblem,
    NothingToTrainError,
    prepare_problem,
)
from finetune_tabpfn.finetuning._selection import FineTuningResult
from finetune_tabpfn.finetuning._settings import Settings
from finetune_tabpfn.training._checkpoints import Checkpoints
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
    fit: Fit, checkpoints: Checkpoints, listeners: Sequence[Listener]
) -> tuple[list[FineTuningResult], list[_tabpfn.TabPFN]]:
    """Fine-tune for every fold and fit a predictor with each one's weights to all rows.

    Returns
    -------
    results : list of FineTuningResult
    predictors : list of TabPFNClassifier or TabPFNRegressor
    """
    results: list[FineTuningResult] = []
    predictors: list[_tabpfn.TabPFN] = []
    for number in range(len(fit.folds)):
        alone = len(fit.folds) == 1
        blueprint = fit.blueprint if alone else fit.blueprint.copy(fit.seed + number)
        try:
            result = _fine_tune_fold(fit, number, blueprint, checkpoints, listeners)
        except KeyboardInterrupt:  # before its training
            if results:
                results[-1] = replace(results[-1], stop_reason=str(StopReason.INTERRUPTED))
                break
            result = FineTuningResult.untouched(str(StopReason.INTERRUPTED))
        predictors.append(blueprint.deploy(result.weights, fit.table.X, fit.table.y))
        results.append(result)
        if result.ends_the_fit:
            break
    return results, predictors


def _fine_tune_fold(
    fit: Fit,
    number: int,
    blueprint: _tabpfn.Blueprint,
    checkpoints: Checkpoints,
    listeners: Sequence[Listener],
) -> FineTuningResult:
    """Prepare the rows of a fold and train on them, unless there is nothing to train on."""
    timer = fit.timer.share(len(fit.folds) - number)
    training, _ = fit.folds[number]
    moment = partial(_predictor_of_the_moment, blueprint, fit.table)
    callbacks = [callback for listener in listeners for callback in listener.callbacks(moment)]
    try:
        problem = fit.problem(fit.folds[number], blueprint, timer)
    except NothingToTrainError as nothing:
        return FineTuningResult.untouched(str(nothing))
    around = Surroundings(
        seed=fit.seed + number,
        timer=timer,
        finish_seconds=finish_seconds(problem.seconds, len(training.y), len(fit.table.y)),
        callbacks=callbacks,
        checkpoints=checkpoints.fold(number),
        fold=number,
    )
    return fine_tune([problem], fit.settings, around)


def _predictor_of_the_moment(blueprint: _tabpfn.Blueprint, table: LabelledTable) -> dict[str, Any]:
    """Return the attributes of an estimator whose fit had stopped now."""
    predictor = blueprint.snapshot(table.X, table.y)
    return {"predictor_": predictor, "predictors_": [predictor]}
