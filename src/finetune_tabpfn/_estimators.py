"""The two estimators. `fit` is the table of contents of the whole package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.base import ClassifierMixin, RegressorMixin, is_classifier
from sklearn.utils import Tags
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from finetune_tabpfn import _tabpfn
from finetune_tabpfn._nested import NESTED, assemble, flat
from finetune_tabpfn._parameters import Parameters, documented, explaining, extending
from finetune_tabpfn._planning import PlannedFit, plan_fit, random_seed
from finetune_tabpfn._scoring import name_of
from finetune_tabpfn._sklearn_callbacks import CallbackSupportMixin, FitTask, with_callbacks
from finetune_tabpfn._tasks import Classification, Kind
from finetune_tabpfn.data._fit_input import FitInput, read_input
from finetune_tabpfn.data._row_hashes import row_hashes
from finetune_tabpfn.data._sampling import batches, take_rows
from finetune_tabpfn.data._validation import Table, check_shape, fingerprint
from finetune_tabpfn.finetuning import _defaults
from finetune_tabpfn.finetuning._budget import Timer
from finetune_tabpfn.finetuning._fit import fine_tune_folds
from finetune_tabpfn.finetuning._result import FineTuningResult
from finetune_tabpfn.finetuning._settings import Checkpoint
from finetune_tabpfn.loggers._registry import Loggers
from finetune_tabpfn.models import _base_models, _export
from finetune_tabpfn.training._checkpoints import Checkpoints, same_fit
from finetune_tabpfn.training._device import gradients
from finetune_tabpfn.training._distributed import Alone
from finetune_tabpfn.training._loop import logger
from finetune_tabpfn.training._state import HistoryRow
from finetune_tabpfn.training._torchrun import processes_of_fit
from finetune_tabpfn.utils._warn import warn


class _FinetunedTabPFN(CallbackSupportMixin, Parameters):
    """What both estimators share."""

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
            What a callback or a scorer raised. If an evaluation had scored above the base model,
            the estimator is fitted with the best one's weights all the same, and the exception has
            it as its attribute `best_so_far`.
        """
        timer = Timer(self.time_limit)
        self._validate_params()
        with processes_of_fit(_defaults.devices(self.device)[0]) as processes:
            self._fit(processes, timer, X, y, sample_weight, groups, X_val, y_val)
        return self

    def _fit(self, processes: Alone, timer: Timer, *rows: Any) -> None:
        """Fit in one process, or as one of several that share the training."""
        loggers = processes.on_first(self._loggers, elsewhere=Loggers(None, None))
        checkpoints = processes.on_first(self._checkpoints, elsewhere=Checkpoints(None))
        given = self._read(*rows)
        progress = processes.on_first(
            lambda: FitTask.begin(self, given.table), elsewhere=FitTask(self, None, {})
        )
        seed = processes.from_first(lambda: checkpoints.seed(random_seed(self.random_state)))
        fit = plan_fit(self, given, seed, timer)
        self._take_over(fit)
        processes.check_alike(lambda: same_fit(self._identity(fit, given)))
        processes.on_first(lambda: checkpoints.begin(lambda: self._identity(fit, given)))
        loggers.begin(self._described(fit) | {"resumed": checkpoints.resumed})
        with loggers.told_of_failure():
            result, self.predictor_ = fine_tune_folds(
                fit, checkpoints, (progress, loggers), processes
            )
            self._record(result)
            self._raise_error(result)
            progress.end()
        loggers.end(self)

    def _loggers(self) -> Loggers:
        """Return what records the fit."""
        return Loggers(self.loggers, self.log_dir, bool(self.verbose), self._is_clone)

    def _read(self, X: Any, *others: Any) -> FitInput:
        """Check everything that came in and note the features."""
        given = read_input(
            X,
            *others,
            numeric=not is_classifier(self),
            categorical_features=self.categorical_features,
        )
        validate_data(self, X, skip_check_array=True)
        self.columns_, self.row_hashes_ = given.columns, row_hashes(given.table.X)
        return given

    def _checkpoints(self) -> Checkpoints:
        """Return where the state of the training goes."""
        if isinstance(self.checkpoint, Checkpoint):
            kept = self.checkpoint
            return Checkpoints(kept.folder, kept.resume, kept.every)
        return Checkpoints(self.checkpoint)

    def _take_over(self, fit: PlannedFit) -> None:
        """Set the attributes that are known before the training."""
        self.base_model_ = fit.base_model
        self.scoring_ = name_of(fit.task, self.scoring)

    def _identity(self, fit: PlannedFit, given: FitInput) -> dict[str, Any]:
        """Return what a checkpoint must agree with."""
        data = fingerprint(given.table, given.validation)
        return {"seed": fit.seed, "data": data, **_export.describe_start(self, fit.base_model)}

    def _described(self, fit: PlannedFit) -> dict[str, Any]:
        """Return what loggers are told of the fit before it."""
        n_rows, n_columns = fit.table.X.shape
        sizes = {"task": fit.task.kind, "rows": n_rows, "columns": n_columns}
        sizes["folds"] = len(fit.folds)
        return {**sizes, **_export.describe_start(self, fit.base_model)}

    def _record(self, result: FineTuningResult) -> None:
        """Set the fitted attributes and say what the user should know."""
        rows, names = result.history, ("fold", *HistoryRow.NAMES, "is_deployed")
        self.history_ = pd.DataFrame(rows, columns=None if rows else names)
        self.base_score_, self.best_score_ = result.base_score, result.score
        self.best_step_, self.n_steps_ = result.best_step, result.n_steps
        self.learning_rate_ = result.learning_rate
        self._adapter = result.adapter
        self.stop_reason_ = result.stop_reason
        self.deployed_weights_, self.deployment_reason_ = result.deployed, result.why
        logger.info("%s", result.why)
        for warning in result.warnings:
            warn(warning)

    def _raise_error(self, result: FineTuningResult) -> None:
        """Raise what ended the training, now that the estimator is fitted with what was best."""
        if result.error is not None:
            result.error.best_so_far = self  # type: ignore[attr-defined]
            raise result.error

    def get_embeddings(self, X: Any) -> npt.NDArray[np.floating[Any]]:
        """Return what the fine-tuned network makes of rows before it predicts.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_estimators, n_rows, width)
            One for each member.
        """
        rows = self._check_rows(X)
        return _tabpfn.embed(self.predictor_, rows)

    def save_model(self, path: str | Path) -> Path:
        """Write the fine-tuned network as a checkpoint that plain TabPFN takes as ``model_path``.

        See :func:`finetune_tabpfn.models._export.save_model`; `base_model=path` continues from it.

        Parameters
        ----------
        path : str or pathlib.Path
            Ends in .safetensors or .ckpt; keep the version, such as "v3", in the name.

        Returns
        -------
        pathlib.Path
            The file.
        """
        return _export.save_model(self, path)

    def save_adapter(self, folder: str | Path) -> None:
        """Write what `tuning="lora"` added to the base model, in the format of the library peft.

        `base_model=folder` continues from it. Where the base model's file lies in the folder or
        beside it, they find each other wherever both are moved or sent together.

        Parameters
        ----------
        folder : str or pathlib.Path
            Made if need be. Of several folds the mean of their updates, in an adapter whose rank
            is the sum of theirs.

        Raises
        ------
        ValueError
            When there is no adapter: the weights were tuned in another way, or not at all.
        """
        check_is_fitted(self)
        if self._adapter is None:
            raise ValueError(f'tuning={self.tuning!r} left no adapter; tuning="lora" trains one.')
        base = self.base_model_
        adapter = replace(
            self._adapter,
            base_model=base.reference_from(Path(folder)),
            base_path="" if base.name in _base_models.NAMES else str(base.place),
            base_sha256=base.sha256,
            task="classification" if is_classifier(self) else "regression",
        )
        adapter.save(Path(folder))

    def _check_rows(self, X: Any) -> Table:
        """Check rows to predict, and read them as the table of `fit`."""
        check_is_fitted(self)
        rows = check_shape(X)
        validate_data(self, X, reset=False, skip_check_array=True)
        table = self.columns_.read(rows)
        names = getattr(self.predictor_, "feature_names_in_", None)
        if names is None or hasattr(table, "iloc"):
            return table
        return pd.DataFrame(table, columns=names)  # or the predictor repeats scikit-learn's warning

    @_tabpfn.on_its_own()
    def _in_batches(self, predict: Callable[[Table], Any], rows: Table) -> Any:
        """Return what `predict` says of rows, in batches where they are many."""
        n_rows, n_columns = rows.shape
        device = self.predictor_.devices_[0]
        n_context = min(_tabpfn.n_fitted_rows(self.predictor_), _defaults.max_context(device))
        size = _defaults.rows_at_once(n_columns, n_context)
        if n_rows <= size:
            return predict(rows)
        return _joined([predict(take_rows(rows, some)) for some in batches(n_rows, size)])

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
        """Pickle the predictor on the CPU, so that a machine without these GPUs can load it."""
        state = dict(super().__getstate__())
        predictor = state.get("predictor_")
        if predictor is not None and _tabpfn.is_elsewhere(predictor):
            state["predictor_"] = _tabpfn.copied_to_cpu(predictor)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the predictor to what `device` asks for, if it is here."""
        super().__setstate__(state)
        if predictor := state.get("predictor_"):
            self.predictor_ = _tabpfn.moved(predictor, _defaults.devices_at_hand(self.device))


@documented(
    parameters="""\
class_weight : dict or "balanced", default=None
        What an error on a class costs, relative to the others; "balanced" is inverse to the
        share of the class. Weighs the loss and the validation score, and multiplies the
        predicted probabilities. Classes that are not named weigh 1; a key is the label itself or,
        as in JSON, the label as it is written.
    balanced_contexts : bool, default=False
        Whether the contexts of training are filled with all classes alike, which gives rare
        ones more rows to be read from.
    """,
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

    _parameter_constraints = {  # noqa: RUF012 - scikit-learn's name and form
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "balanced_contexts": ["boolean"],
        **Parameters._parameter_constraints,
    }

    @extending(Parameters)
    def __init__(
        self,
        *,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        balanced_contexts: bool = False,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        self.class_weight = class_weight
        self.balanced_contexts = balanced_contexts

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
        return self._in_batches(lambda some: task.decide(self.predictor_.predict_proba(some)), rows)

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

    def _take_over(self, fit: PlannedFit) -> None:
        super()._take_over(fit)
        assert isinstance(fit.task, Classification)
        self.classes_, self.class_weight_ = fit.task.classes, fit.task.weights


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
            lambda some: _tabpfn.predict_target(self.predictor_, some, output_type, quantiles),
            rows,
        )


ESTIMATORS: dict[str, type[Any]] = {  # by task
    "classification": FinetunedTabPFNClassifier,
    "regression": FinetunedTabPFNRegressor,
}


# every setting by a name of its own
SETTINGS = [*flat(FinetunedTabPFNClassifier().get_params(deep=False)), *NESTED]


def new_estimator(task: Kind, settings: Mapping[str, Any]) -> Any:
    """Return an estimator from settings that each have a name of their own, as in a file.

    Parameters
    ----------
    task : {"classification", "regression"}
    settings : mapping

    Raises
    ------
    ValueError
        For a setting that the task does not have.
    """
    kind = ESTIMATORS[task]
    return kind(**assemble(settings, kind))


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
