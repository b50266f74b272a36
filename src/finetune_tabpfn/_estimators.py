"""The two estimators. `fit` is the table of contents of the whole package."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from finetune_tabpfn import _tabpfn
from finetune_tabpfn._parameters import Parameters, documented, explaining
from finetune_tabpfn._scoring import HoldOutScore, name_of
from finetune_tabpfn._sklearn_callbacks import CallbackSupportMixin, FitTask, with_callbacks
from finetune_tabpfn._tasks import Classification, Kind, Regression, Task
from finetune_tabpfn.data._kinds import Columns
from finetune_tabpfn.data._sampling import batches, rows_of
from finetune_tabpfn.data._validation import (
    LabelledTable,
    Table,
    check_groups,
    check_shape,
    check_table,
    check_target,
    check_weight,
    fingerprint,
    positions_of,
)
from finetune_tabpfn.finetuning import _defaults
from finetune_tabpfn.finetuning._fine_tune import fine_tune
from finetune_tabpfn.finetuning._problem import Course, NothingToTrainError, prepare_course
from finetune_tabpfn.finetuning._selection import Outcome
from finetune_tabpfn.finetuning._validation_split import check_same_columns, hold_outs
from finetune_tabpfn.loggers._registry import Loggers
from finetune_tabpfn.models import _base_models, _export
from finetune_tabpfn.training._callbacks import Timer
from finetune_tabpfn.training._checkpoints import Checkpoints, FoldCheckpoints
from finetune_tabpfn.training._loop import Round, gradients
from finetune_tabpfn.utils._warn import warn


class _FinetunedTabPFN(CallbackSupportMixin, Parameters):
    """What both estimators share."""

    _kind: Kind
    _is_clone = False

    @explaining
    @with_callbacks
    @gradients()
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        groups: Any = None,
        X_val: Any = None,
        y_val: Any = None,
    ) -> Any:
        """Fine-tune the base model to a table and fit the predictor.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)
            Numbers, text, categories, dates, booleans, missing values.
        y : array-like of shape (n_rows,)
        sample_weight : array-like of shape (n_rows,), optional
            Weighs the rows in the loss and, where they are held out, in the validation score.
            As context a row has no weight; a row of weight zero is as if it were not there.
        groups : array-like of shape (n_rows,), optional
            Rows of a group are never separated: not by the hold-out, and not into context and
            query rows of a split.
        X_val, y_val : like `X` and `y`, optional
            Rows to validate on. Then all of `X` trains and none of it is held out; the
            validation rows never become context of the predictor.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For input that cannot be used; the message names the parameter.
        KeyboardInterrupt
            For Ctrl-C while the base model is being loaded, or while the predictor is fitted at
            the end. In between it ends the fit's preparing or training, and what was best until
            then is deployed with a warning: the base model, if no step has been made.
        Exception
            What a callback or a scorer raised. If a round had scored above the base model, the
            estimator is fitted with the best one's weights all the same, and the exception
            has it as its attribute `best_so_far`.
        """
        timer = Timer(self.time_limit)
        self._validate_params()
        loggers = Loggers(self.loggers, self.log_dir, bool(self.verbose), self._is_clone)
        checkpoints = Checkpoints(self.checkpoint_dir, self.resume, self.checkpoint_interval)
        table, validation = self._check_tables(X, y, sample_weight, groups, X_val, y_val)
        progress = FitTask.begin(self, table)
        task = self._task(table, validation)
        self.scoring_ = name_of(task, self.scoring)
        seed = checkpoints.seed(random_seed(self.random_state))
        blueprint = self._load_base_model(task, table, seed, timer)
        folds = hold_outs(table, validation, task, self, seed)
        checkpoints.begin(lambda: self._identity(seed, table, validation))
        loggers.begin(self._run(task, table) | {"resumed": checkpoints.resumed})
        listeners = (progress, loggers)
        with loggers.told_of_failure():
            outcomes = self._tune(
                task, blueprint, table, folds, listeners, checkpoints, seed, timer
            )
            self._record(outcomes)
            self._raise_error(outcomes)
            progress.end()
        loggers.end(self)
        return self

    def _check_tables(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        groups: Any = None,
        X_val: Any = None,
        y_val: Any = None,
    ) -> tuple[LabelledTable, LabelledTable | None]:
        """Check everything that came in and note the features."""
        table = self._labelled(check_table(X, min_rows=2), y, "")
        validate_data(self, X, skip_check_array=True)
        table = replace(
            table,
            weight=check_weight(sample_weight, n_rows=len(table.y)),
            groups=check_groups(groups, n_rows=len(table.y)),
        )
        if table.weight is not None:
            table = table.rows(np.flatnonzero(table.weight))
        categorical = positions_of(self.categorical_features, table.X) or ()
        self.columns_ = Columns.of(table.X, categorical=categorical)
        table = replace(table, X=self.columns_.read(table.X))
        if X_val is None and y_val is None:
            return table, None
        if X_val is None or y_val is None:
            missing = "X_val" if X_val is None else "y_val"
            raise ValueError(f"{missing} is None; X_val and y_val go together.")
        rows = check_shape(X_val, name="X_val")
        names = getattr(self, "feature_names_in_", None)
        check_same_columns(X_val, rows.shape[1], self.n_features_in_, names)
        return table, self._labelled(self.columns_.read(rows, "X_val"), y_val, "_val")

    def _labelled(self, X: Table, y: Any, suffix: str) -> LabelledTable:
        numeric = self._kind == "regression"
        y = check_target(y, n_rows=len(X), numeric=numeric, name=f"y{suffix}", table=f"X{suffix}")
        return LabelledTable(X, y)

    def _task(self, table: LabelledTable, validation: LabelledTable | None) -> Task:
        """Return the task of the target."""
        raise NotImplementedError

    def _load_base_model(
        self,
        task: Task,
        table: LabelledTable,
        seed: int,
        timer: Timer,
        specs: _tabpfn.Specs | None = None,
    ) -> _tabpfn.Blueprint:
        """Return the plan of the predictor around the base model, loaded unless it is given."""
        device = _defaults.device(self.device)
        self.base_model_ = _base_models.resolve(
            self.base_model, task.kind, download_timeout=timer.remaining
        )
        specs = specs or self.base_model_.load(task.kind, device)
        halved = _defaults.half_precision_inference(
            self.precision, device, sum(weight.numel() for weight in specs.model.parameters())
        )
        blueprint = _tabpfn.Blueprint(
            kind=task.kind,
            specs=specs,
            n_estimators=self.n_estimators,
            device=device,
            categorical_features=positions_of(self.categorical_features, table.X),
            random_state=seed,
            precision="auto" if halved else "fp32",
            max_context=_defaults.max_context(device),
            fit_mode=self.fit_mode,
        )
        task.check_network(blueprint.max_classes, self.base_model_.name)
        return blueprint

    def _identity(
        self, seed: int, table: LabelledTable, validation: LabelledTable | None
    ) -> dict[str, Any]:
        """Return what a checkpoint must agree with."""
        started = _export.describe_start(self)
        return {"seed": seed, "data": fingerprint(table, validation), **started}

    def _run(self, task: Task, table: LabelledTable) -> dict[str, Any]:
        """Return what loggers are told of the fit before it."""
        rows, columns = table.X.shape
        sizes = {"task": task.kind, "rows": rows, "columns": columns}
        return {**sizes, **_export.describe_start(self)}

    def _tune(
        self,
        task: Task,
        blueprint: _tabpfn.Blueprint,
        table: LabelledTable,
        folds: list[tuple[LabelledTable, LabelledTable | None]],
        listeners: tuple[FitTask, Loggers],
        checkpoints: Checkpoints,
        seed: int,
        timer: Timer,
    ) -> list[Outcome]:
        """Fine-tune for every fold and fit a predictor with each one's weights to all rows."""
        self.predictors_: list[_tabpfn.TabPFN] = []
        outcomes: list[Outcome] = []
        for number, (training, held_out) in enumerate(folds):
            plan = blueprint if len(folds) == 1 else blueprint.copy(seed + number)
            moment = partial(_predictor_of_the_moment, plan, table)
            try:
                outcome = self._fine_tune(
                    task,
                    plan,
                    training,
                    held_out,
                    len(table.y),
                    number,
                    [guest for listener in listeners for guest in listener.guests(moment)],
                    checkpoints.fold(number),
                    seed + number,
                    timer.share(len(folds) - number),
                )
            except KeyboardInterrupt:  # before its training
                if outcomes:
                    outcomes[-1] = replace(outcomes[-1], stop_reason="interrupted")
                    break
                outcome = Outcome.untouched("interrupted")
            self.predictors_.append(plan.deploy(outcome.weights, table.X, table.y))
            outcomes.append(outcome)
            reason = outcome.stop_reason
            out_of_time = reason == "time_limit" and not outcome.n_steps
            if outcome.error is not None or reason == "interrupted" or out_of_time:
                break
        self.predictor_ = self.predictors_[0]
        return outcomes

    def _fine_tune(
        self,
        task: Task,
        blueprint: _tabpfn.Blueprint,
        training: LabelledTable,
        validation: LabelledTable | None,
        n_rows: int,
        fold: int,
        guests: list[object],
        checkpoints: FoldCheckpoints,
        seed: int,
        timer: Timer,
    ) -> Outcome:
        """Prepare the rows once and train on them, unless there is nothing to train on."""
        try:
            course = self._course(task, blueprint, training, validation, timer)
        except NothingToTrainError as nothing:
            return Outcome.untouched(str(nothing))
        return fine_tune(
            [course],
            self,
            guests=guests,
            checkpoints=checkpoints,
            seed=seed,
            timer=timer,
            # what is still to come is preparing again, with all rows
            finish_seconds=0.2 + 1.2 * course.seconds * n_rows / len(training.y),
            fold=fold,
        )

    def _course(
        self,
        task: Task,
        blueprint: _tabpfn.Blueprint,
        training: LabelledTable,
        validation: LabelledTable | None,
        timer: Timer,
    ) -> Course:
        """Prepare the rows once; raises NothingToTrainError."""
        task = task.among(training.y)
        weight, score = self._weights(training), None
        if validation is not None:
            of_rows = self._weights(validation)
            score = HoldOutScore(task, self.scoring, validation.X, validation.y, of_rows)
        return prepare_course(blueprint, task, training, validation, score, weight, timer)

    def _first_course(
        self, seed: int, timer: Timer, specs: _tabpfn.Specs | None, *rows: Any
    ) -> tuple[Course, _tabpfn.Blueprint]:
        """Go the steps of `fit`, with its arguments, up to the training of its first fold.

        Around the network of `specs`, if given.
        """
        table, validation = self._check_tables(*rows)
        task = self._task(table, validation)
        blueprint = self._load_base_model(task, table, seed, timer, specs)
        training, held_out = hold_outs(table, validation, task, self, seed)[0]
        return self._course(task, blueprint, training, held_out, timer), blueprint

    def _weights(self, table: LabelledTable) -> npt.NDArray[np.float64] | None:
        """Return the weights of rows in the loss and in the score."""
        return table.weight

    def _record(self, outcomes: list[Outcome]) -> None:
        """Set the fitted attributes and say what the user should know."""
        rows = [
            {"fold": fold} | row.flat()
            for fold, outcome in enumerate(outcomes)
            for row in outcome.history
        ]
        self.history_ = pd.DataFrame(rows, columns=None if rows else ["fold", *Round.NAMES])
        self.base_score_ = float(np.mean([outcome.base_score for outcome in outcomes]))
        self.best_score_ = float(np.mean([outcome.score for outcome in outcomes]))
        self.best_step_ = int(np.median([outcome.best_step for outcome in outcomes]))
        self.n_steps_ = sum(outcome.n_steps for outcome in outcomes)
        self.learning_rate_ = float(np.median([outcome.learning_rate for outcome in outcomes]))
        self._adapters = [outcome.adapter for outcome in outcomes if outcome.adapter is not None]
        self.stop_reason_ = _all_different(outcome.stop_reason for outcome in outcomes)
        self.deployed_weights_ = _all_different(outcome.deployed for outcome in outcomes)
        for warning in dict.fromkeys(outcome.warning for outcome in outcomes):
            if warning:
                warn(warning)

    def _raise_error(self, outcomes: list[Outcome]) -> None:
        """Raise what ended the training, now that the estimator is fitted with what was best."""
        for outcome in outcomes:
            if outcome.error is not None:
                outcome.error.best_so_far = self  # type: ignore[attr-defined]
                raise outcome.error

    def get_embeddings(self, X: Any) -> npt.NDArray[np.floating[Any]]:
        """Return what the fine-tuned network makes of rows before it predicts.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_estimators, n_rows, width)
            One for each member; of several folds, the first one's network.
        """
        rows = self._check_rows(X)
        return _tabpfn.embed(self.predictor_, rows)

    def save_model(self, path: str | Path) -> Path:
        """Write the fine-tuned network as a checkpoint that plain TabPFN takes as ``model_path``.

        See :func:`finetune_tabpfn.models._export.save_model`; `base_model=path` continues from it.
        """
        return _export.save_model(self, path)

    def save_adapter(self, folder: str | Path) -> None:
        """Write what `tuning="lora"` added to the base model, in the format of the library peft.

        `base_model=folder` continues from it. Where the base model's file lies in the folder or
        beside it, they find each other wherever both are moved or sent together.

        Parameters
        ----------
        folder : str or pathlib.Path
            Made if need be. Of several folds, the first one's adapter is written.

        Raises
        ------
        ValueError
            When there is no adapter: the weights were tuned in another way, or not at all.
        """
        check_is_fitted(self)
        if not self._adapters:
            raise ValueError(f'tuning={self.tuning!r} left no adapter; tuning="lora" trains one.')
        base = self.base_model_
        adapter = replace(
            self._adapters[0],
            base_model=base.reference_from(Path(folder)),
            base_path="" if base.name in _base_models.NAMES else str(base.place),
            base_sha256=base.sha256,
            task=self._kind,
        )
        adapter.save(Path(folder))

    def _check_rows(self, X: Any) -> Table:
        """Check rows to predict, and read them as the table of `fit`."""
        check_is_fitted(self)
        rows = check_shape(X)
        validate_data(self, X, reset=False, skip_check_array=True)
        return self.columns_.read(rows)

    def _in_batches(self, predict: Callable[[Table], Any], rows: Table) -> Any:
        """Return what `predict` says of rows, in batches where they are many."""
        n_rows, n_columns = rows.shape
        device = self.predictor_.devices_[0]
        n_context = min(_tabpfn.n_fitted_rows(self.predictor_), _defaults.max_context(device))
        size = _defaults.rows_at_once(n_columns, n_context)
        if n_rows <= size:
            return predict(rows)
        return _joined([predict(rows_of(rows, some)) for some in batches(n_rows, size)])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags

    def __sklearn_clone__(self) -> Any:
        """Return a clone that knows it is one: searches make many, which share `log_dir`."""
        twin = super().__sklearn_clone__()
        twin._is_clone = True
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the predictor on the CPU, so that a machine without this GPU can load it."""
        state = dict(super().__getstate__())
        predictors = state.get("predictors_")
        if predictors and predictors[0].devices_[0].type != "cpu":
            on_cpu = _tabpfn.copied_to_cpu(predictors)
            state |= {"predictors_": on_cpu, "predictor_": on_cpu[0]}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the predictor to the device that `device` asks for, if it is here."""
        super().__setstate__(state)
        if predictors := state.get("predictors_"):
            device = _defaults.device_at_hand(self.device)
            self.predictors_ = _tabpfn.moved(predictors, device)
            self.predictor_ = self.predictors_[0]


@documented(
    attributes="""\
classes_ : ndarray of shape (n_classes,)
    class_weight_ : ndarray of shape (n_classes,) or None
        What `class_weight` came to.
    """,
    example="""
    >>> from sklearn.datasets import load_iris
    >>> from finetune_tabpfn import FinetunedTabPFNClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = FinetunedTabPFNClassifier(base_model="mini", max_steps=20, random_state=0)
    >>> model.fit(X, y).predict_proba(X[:2]).shape
    (2, 3)
    """,
)
class FinetunedTabPFNClassifier(ClassifierMixin, _FinetunedTabPFN):
    """A TabPFN classifier that adapts its network to the table in `fit`."""

    _kind = "classification"

    def predict_proba(self, X: Any) -> npt.NDArray[np.floating[Any]]:
        """Predict class probabilities.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows, n_classes)
            Columns in the order of `classes_`.
        """
        rows = self._check_rows(X)
        task = Classification(self.classes_, self.class_weight_)

        def predict(some: Table) -> npt.NDArray[np.floating[Any]]:
            proba = [predictor.predict_proba(some) for predictor in self.predictors_]
            return task.decide(proba[0] if len(proba) == 1 else np.mean(proba, axis=0))

        return self._in_batches(predict, rows)

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Predict the most probable class of rows.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows,)
        """
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def _weights(self, table: LabelledTable) -> npt.NDArray[np.float64] | None:
        if self.class_weight_ is None:
            return table.weight
        weight = self.class_weight_[np.searchsorted(self.classes_, table.y)]
        return weight if table.weight is None else weight * table.weight

    def _task(self, table: LabelledTable, validation: LabelledTable | None) -> Task:
        task = Classification.of(table.y, self.class_weight)
        self.classes_, self.class_weight_ = task.classes, task.weights
        unseen = np.empty(0) if validation is None else np.setdiff1d(validation.y, task.classes)
        if len(unseen):
            raise ValueError(
                f"y_val holds the label {unseen.tolist()[0]!r}, which y does not; every label to "
                "validate on needs training rows."
            )
        return task


@documented(
    example="""
    >>> from sklearn.datasets import load_diabetes
    >>> from finetune_tabpfn import FinetunedTabPFNRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = FinetunedTabPFNRegressor(base_model="mini", max_steps=20, random_state=0)
    >>> model.fit(X, y).predict(X[:2], output_type="median").shape
    (2,)
    """,
)
class FinetunedTabPFNRegressor(RegressorMixin, _FinetunedTabPFN):
    """A TabPFN regressor that adapts its network to the table in `fit`."""

    _kind = "regression"

    def predict(
        self, X: Any, *, output_type: str = "mean", quantiles: list[float] | None = None
    ) -> Any:
        """Predict the target, or its distribution.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)
        output_type : {"mean", "median", "mode", "quantiles", "main", "full"}, default="mean"
            As in ``TabPFNRegressor.predict``: "main" is a dict of the first four, "full" adds
            the distribution itself ("criterion") and its "logits".
        quantiles : list of float, optional
            Between 0 and 1, for "quantiles", "main" and "full"; 0.1 ... 0.9 if not given.

        Returns
        -------
        ndarray of shape (n_rows,), list of ndarray of that shape, or dict
        """
        rows = self._check_rows(X)
        return self._in_batches(
            lambda some: _tabpfn.predict_mixture(self.predictors_, some, output_type, quantiles),
            rows,
        )

    def _task(self, table: LabelledTable, validation: LabelledTable | None) -> Task:
        for name, off in (("class_weight", None), ("balanced_contexts", False)):
            if getattr(self, name) != off:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} is for classification; a regressor needs "
                    f"{off}."
                )
        return Regression()


ESTIMATORS: dict[str, type[Any]] = {  # by task
    "classification": FinetunedTabPFNClassifier,
    "regression": FinetunedTabPFNRegressor,
}


def random_seed(random_state: int | np.random.RandomState | None) -> int:
    """Return the seed of a fit; numpy's global state is not touched, even for None."""
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    if random_state is None:
        return int(np.random.default_rng().integers(2**31 - 1))
    return int(random_state)


def _joined(parts: list[Any]) -> Any:
    """Return the answers to consecutive batches as one; in dicts and lists each by itself."""
    first = parts[0]
    if isinstance(first, np.ndarray):
        return np.concatenate(parts)
    if isinstance(first, torch.Tensor):
        return torch.cat(parts)
    if isinstance(first, dict):
        return {key: _joined([part[key] for part in parts]) for key in first}
    if isinstance(first, list):
        return [_joined(list(those)) for those in zip(*parts, strict=True)]
    return first  # what does not depend on the rows


def _predictor_of_the_moment(plan: _tabpfn.Blueprint, table: LabelledTable) -> dict[str, Any]:
    """Return the attributes of an estimator whose fit had stopped now."""
    predictor = plan.snapshot(table.X, table.y)
    return {"predictor_": predictor, "predictors_": [predictor]}


def _all_different(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(words))
