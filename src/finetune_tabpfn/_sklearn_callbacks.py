"""scikit-learn's own callbacks (1.9 and newer): a fit is a task, each evaluation its subtask."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from finetune_tabpfn._parameters import Parameters
from finetune_tabpfn.data._validation import LabelledTable
from finetune_tabpfn.finetuning import _defaults
from finetune_tabpfn.training._callbacks import Callback
from finetune_tabpfn.training._state import TrainState

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9 has none

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing to support."""

    def with_callbacks(method: Any) -> Any:
        """Leave a method as it is."""
        return method


@dataclass
class FitTask:
    """What scikit-learn's callbacks are told of one fit.

    Parameters
    ----------
    estimator : FinetunedTabPFNClassifier or FinetunedTabPFNRegressor
    context : sklearn.callback.CallbackContext or None
        None tells nobody anything.
    data : dict
        `X`, `y` and `metadata` of the fit.
    """

    estimator: Any
    context: Any
    data: dict[str, Any]

    @classmethod
    def begin(cls, estimator: Parameters, table: LabelledTable) -> FitTask:
        """Begin the task of a fit to a table."""
        weight = {} if table.weight is None else {"sample_weight": table.weight}
        data = {"X": table.X, "y": table.y, "metadata": weight}
        if not hasattr(estimator, "_init_callback_context"):
            return cls(estimator, None, data)
        context = estimator._init_callback_context(max_subtasks=_most_evaluations(estimator))
        context.call_on_fit_task_begin(estimator=estimator, **data)
        return cls(estimator, context, data)

    def callbacks(self, attributes: Callable[[], dict[str, Any]]) -> list[Callback]:
        """Return the callback that reports the evaluations, if anybody listens.

        Parameters
        ----------
        attributes : callable
            Returns what makes the estimator predict with the weights of the moment; called only
            if a callback asks for a fitted estimator.
        """
        if not getattr(self.estimator, "_skl_callbacks", None):
            return []
        return [_Rounds(self, attributes)]

    def end(self) -> None:
        """End the task: the estimator is fitted."""
        if self.context is not None:
            self.context.call_on_fit_task_end(
                estimator=self.estimator,
                **self.data,
                reconstruction_attributes=dict,  # the estimator itself is fitted
            )


class _Rounds(Callback):
    """Reports every evaluation as a subtask of the fit."""

    def __init__(self, fit: FitTask, attributes: Callable[[], dict[str, Any]]) -> None:
        self.fit, self.attributes = fit, attributes
        self.evaluation: Any = None

    def after_step(self, state: TrainState) -> None:
        """Begin an evaluation with its first step; not before it, which a callback may prevent."""
        self._begin()

    def before_evaluation(self, state: TrainState) -> None:
        """Begin evaluation 0, which has no steps."""
        self._begin()

    def after_evaluation(self, state: TrainState) -> str | None:
        """End the evaluation; a callback may stop the fit."""
        stop = self.evaluation.call_on_fit_task_end(
            estimator=self.fit.estimator,
            **self.fit.data,
            reconstruction_attributes=self.attributes,
        )
        self.evaluation = None
        return "stopped by a callback of scikit-learn" if stop else None

    def on_train_end(self, state: TrainState) -> None:
        """End an evaluation that was cut."""
        if self.evaluation is not None:
            self.evaluation.call_on_fit_task_end(estimator=self.fit.estimator, **self.fit.data)

    def _begin(self) -> None:
        if self.evaluation is None:
            self.evaluation = self.fit.context.subcontext(task_name="evaluation")
            self.evaluation.call_on_fit_task_begin(estimator=self.fit.estimator, **self.fit.data)


def _most_evaluations(parameters: Parameters) -> int:
    """Return the most evaluations of a fit: for each fold the base, full ones, one cut short."""
    interval = parameters.eval_interval
    steps = _defaults.EVAL_INTERVAL if isinstance(interval, str) else interval
    folds = _defaults.FOLDS if parameters.n_folds == "auto" else parameters.n_folds
    return math.ceil(parameters.max_steps / steps) + 3 * folds
