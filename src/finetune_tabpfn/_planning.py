"""From parameters and rows to what a fit is about: task, base model, folds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from sklearn.base import is_classifier

from finetune_tabpfn import _tabpfn
from finetune_tabpfn._parameters import Parameters
from finetune_tabpfn._tasks import Kind, Task, task_of
from finetune_tabpfn.data._fit_input import FitInput
from finetune_tabpfn.finetuning import _defaults
from finetune_tabpfn.finetuning._budget import Timer
from finetune_tabpfn.finetuning._fit import Fit
from finetune_tabpfn.finetuning._validation_split import ValidationSplit
from finetune_tabpfn.models import _base_models
from finetune_tabpfn.models._base_models import BaseModel
from finetune_tabpfn.utils._warn import warn


@dataclass(frozen=True)
class PlannedFit(Fit):
    """A fit with the base model that it begins with."""

    base_model: BaseModel


def plan_fit(
    parameters: Parameters,
    given: FitInput,
    seed: int,
    timer: Timer,
    specs: _tabpfn.Specs | None = None,
) -> PlannedFit:
    """Say what a fit is about: loads the base model and divides the rows.

    Parameters
    ----------
    parameters : Parameters
        Of the estimator.
    given : FitInput
    seed : int
    timer : Timer
        A download takes no longer than it allows.
    specs : Specs, optional
        The base model, if it is loaded already.

    Raises
    ------
    ValueError
        For a target, base model or division of the rows that cannot be used.
    """
    kind: Kind = "classification" if is_classifier(parameters) else "regression"
    y_val = None if given.validation is None else given.validation.y
    task = task_of(kind, given.table.y, y_val, getattr(parameters, "class_weight", None))
    base_model = _base_models.resolve(
        parameters.base_model, task.kind, download_timeout=timer.remaining
    )
    blueprint = _blueprint(parameters, given, base_model, specs, task, seed)
    _warn_of_time(parameters, given)
    split = ValidationSplit(
        parameters.validation, parameters.n_folds, parameters.learning_rate, parameters.max_steps
    )
    folds = split.folds(given.table, given.validation, task, seed)
    settings = parameters.settings()
    return PlannedFit(
        task=task,
        table=given.table,
        folds=folds,
        blueprint=blueprint,
        scoring=parameters.scoring,
        # several folds share the steps, as they share the time
        settings=replace(settings, max_steps=math.ceil(settings.max_steps / len(folds))),
        seed=seed,
        timer=timer,
        base_model=base_model,
    )


def _blueprint(
    parameters: Parameters,
    given: FitInput,
    base_model: BaseModel,
    specs: _tabpfn.Specs | None,
    task: Task,
    seed: int,
) -> _tabpfn.Blueprint:
    """Return how the predictor is built around the base model."""
    devices = _defaults.devices(parameters.device)
    device = devices[0]
    specs = specs or base_model.load(task.kind, device)
    halved = _defaults.half_precision_inference(
        parameters.precision, device, sum(weight.numel() for weight in specs.model.parameters())
    )
    blueprint = _tabpfn.Blueprint(
        kind=task.kind,
        specs=specs,
        n_estimators=parameters.n_estimators,
        devices=devices,
        categorical_features=given.categorical,
        random_state=seed,
        precision="auto" if halved else "fp32",
        max_context=_defaults.max_context(device),
        fit_mode=parameters.fit_mode,
    )
    task.check_network(blueprint.max_classes, base_model.name)
    return blueprint


def _warn_of_time(parameters: Parameters, given: FitInput) -> None:
    """Warn where rows have dates and what is held out is drawn at random, unasked."""
    way = parameters.validation
    names = [repr(column.name) for column in given.columns.columns if column.kind == "dates"]
    if names and given.validation is None and isinstance(way, str) and way == "random":
        warn(
            f"The column {names[0]} holds dates and validation='random' holds out rows of any "
            "time: where the rows to predict come later, the score is too good. "
            f"validation='time' holds out the last rows, TimeSplit({names[0]}) the latest; a share "
            "such as 0.2 says that random is meant."
        )


def random_seed(random_state: int | np.random.RandomState | None) -> int:
    """Return the seed of a fit; numpy's global state is not touched, even for None."""
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    if random_state is None:
        return int(np.random.default_rng().integers(2**31 - 1))
    return int(random_state)
