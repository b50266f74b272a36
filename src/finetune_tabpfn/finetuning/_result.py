"""What one training came to, and what a fine-tuning of one or several did, as a user is told it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from finetune_tabpfn.finetuning._hold_out import Comparison
from finetune_tabpfn.finetuning._lora import Adapter
from finetune_tabpfn.training._state import Evaluation, HistoryRow, Weights
from finetune_tabpfn.training._stop_reasons import NOTHING_TO_TRAIN_ON, StopReason
from finetune_tabpfn.utils._text import counted

DeployedName = Literal["base", "best", "interpolated", "last"]
DEPLOYED_WORDS = {
    "base": "the base model",
    "best": "the model of the best evaluation",
    "interpolated": "the model half-way from the base to the best evaluation",
    "last": "the model of the last evaluation",
}
AVERAGED_WORDS = {  # of several folds
    "base": "the base model",
    "best": "the mean of the {n} folds' best models",
    "interpolated": "the model half-way from the base to the mean of the {n} folds' best",
    "last": "the mean of the {n} folds' last models",
}


@dataclass(frozen=True)
class Trained:
    """What one training came to, before it is decided what is deployed.

    Attributes
    ----------
    name : {"base", "best", "interpolated", "last"}
        What its `weights` are.
    base_weights, weights : dict of str to Tensor, or None
        Of the base model, and what may be deployed instead; None where nothing was trained.
    base, found : Evaluation or None
        Of both, scored alike; None without a hold-out.
    comparison : Comparison, optional
        Of scores on the hold-out.
    history : list of HistoryRow
    best_step, n_steps : int
    stop_reason : str
    learning_rate : float
        Of the optimizer, at its peak.
    adapter : Adapter, optional
        What LoRA added to the base model to get the weights.
    error : Exception, optional
        What ended the training; to be raised when the weights are safe.
    as_scored : bool
        Whether `found` is to be taken for better than `base` if it scored higher, whatever else
        would be asked of it: a scorer failed, or the user would not wait.
    holds : callable, optional
        Tells whether other weights score no worse on the hold-out than both that were scored.
    """

    name: DeployedName
    base_weights: Weights | None
    weights: Weights | None
    base: Evaluation | None
    found: Evaluation | None
    comparison: Comparison | None
    history: list[HistoryRow]
    best_step: int
    n_steps: int
    stop_reason: str
    learning_rate: float = math.nan
    adapter: Adapter | None = None
    error: Exception | None = None
    as_scored: bool = False
    holds: Callable[[Weights], bool] | None = None

    @classmethod
    def untouched(cls, reason: str) -> Trained:
        """Return the outcome of rows that cannot be trained on."""
        return cls("base", None, None, None, None, None, [], 0, 0, reason)

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs to know of it."""
        kept = dict.fromkeys(("base_weights", "comparison", "adapter", "holds"))
        weights: Weights | None = None if self.weights is None else {}
        error = None if self.error is None else RuntimeError(f"process 0: {self.error!r}")
        return {**self.__dict__, **kept, "weights": weights, "error": error}

    @property
    def ends_the_fit(self) -> bool:
        """Whether further folds are not worth beginning."""
        out_of_time = self.stop_reason == StopReason.TIME_LIMIT and not self.n_steps
        interrupted = self.stop_reason == StopReason.INTERRUPTED
        return self.error is not None or interrupted or out_of_time

    def warning(self, deployed: DeployedName) -> str | None:
        """Return what a user should hear about how the run ended, if anything."""
        reason = self.stop_reason
        kept = DEPLOYED_WORDS[deployed]
        if StopReason.DIVERGED.ended(reason):
            return f"Fine-tuning {reason}; {kept} is deployed. A lower learning_rate may help."
        if StopReason.NO_SCORE.ended(reason):
            return f"Fine-tuning ended with {reason}; {kept} is deployed."
        if reason == StopReason.OUT_OF_MEMORY:
            return f"Fine-tuning ran out of memory; {kept} is deployed."
        if reason == StopReason.INTERRUPTED:
            when = "" if self.n_steps else " before its first step"
            return f"Fine-tuning was interrupted{when}; {kept} is deployed."
        if reason == StopReason.TIME_LIMIT and len(self.history) < 2:
            steps = counted(self.n_steps, "step")
            what = f"to score the {steps} of training" if self.n_steps else "for fine-tuning"
            return (
                f"time_limit left no room {what}; the base model is deployed. A longer one will do."
            )
        if reason in NOTHING_TO_TRAIN_ON:
            return f"Nothing to fine-tune on ({reason}); the base model is deployed."
        return None


@dataclass(frozen=True)
class FineTuningResult:
    """What a fine-tuning came to, of one training or of several folds.

    Attributes
    ----------
    deployed : {"base", "best", "interpolated", "last"}
        Which weights the hold-outs speak for, or without one the last.
    weights : dict of str to Tensor, or None
        Those weights, of several folds their mean; None leaves the base model as it is.
    base_score, score : float
        Of the base model and of those weights, over the rows of all hold-outs; NaN when nothing
        was scored.
    adapter : Adapter, optional
        What LoRA added to the base model to get those weights.
    trainings : sequence of Trained
    folds : sequence of int
        Which of the trainings made those weights; with the base deployed, whichever began.
    is_apart : bool
        Whether the folds' weights lie so far apart that their mean predicts worse than each.
    reason : str
        Why that is deployed, without saying what.
    """

    deployed: DeployedName
    weights: Weights | None
    base_score: float
    score: float
    adapter: Adapter | None
    trainings: Sequence[Trained]
    folds: Sequence[int] = ()
    is_apart: bool = False
    reason: str = ""

    @property
    def history(self) -> list[dict[str, float | bool]]:
        """Rows of all trainings, each with its fold and whether its weights are deployed."""
        return [
            {"fold": fold, **row.flat(), "is_deployed": row.step == self._deployed_step(fold)}
            for fold, its in enumerate(self.trainings)
            for row in its.history
        ]

    @property
    def n_steps(self) -> int:
        """Steps of all trainings."""
        return sum(its.n_steps for its in self.trainings)

    @property
    def best_step(self) -> int:
        """Step whose weights are deployed, the median over the folds that made them."""
        return int(np.median([self._deployed_step(fold) for fold in self.folds] or [0]))

    @property
    def learning_rate(self) -> float:
        """Return the optimizer's at its peak, the median over the folds that were trained on."""
        return float(np.median([its.learning_rate for its in self._begun]))

    def _deployed_step(self, fold: int) -> int | None:
        """Return the step of a fold's training whose weights are deployed; None: of no one."""
        if fold not in self.folds:
            return None
        return 0 if self.deployed == "base" else self.trainings[fold].best_step

    @property
    def _begun(self) -> Sequence[Trained]:
        """Trainings, but for folds whose rows could not be trained on; all, if none could."""
        return [its for its in self.trainings if its.weights is not None] or self.trainings

    @property
    def stop_reason(self) -> str:
        """Why the trainings ended; different reasons one after the other."""
        return ", ".join(dict.fromkeys(its.stop_reason for its in self.trainings))

    @property
    def error(self) -> Exception | None:
        """What ended the training; to be raised when the weights are safe."""
        return next((its.error for its in self.trainings if its.error is not None), None)

    @property
    def why(self) -> str:
        """What is deployed and why, in a sentence."""
        words = DEPLOYED_WORDS if len(self.folds) == 1 else AVERAGED_WORDS
        what = words[self.deployed].format(n=len(self.folds))
        return f"{self.reason}: {what} is deployed"

    @property
    def warnings(self) -> list[str]:
        """What a user should hear about how the trainings ended."""
        if self.is_apart:
            return [
                "The mean of the folds' weights predicts worse than each; the base model is "
                "deployed. A lower learning_rate or n_folds=1 may help."
            ]
        begun = [its for its in self.trainings if len(its.history) > 1]
        found = [its.warning(self.deployed) for its in begun or self.trainings]
        for fold, its in enumerate(self.trainings):
            if begun and its.stop_reason in NOTHING_TO_TRAIN_ON:
                found.append(f"Fold {fold} is left out: nothing to train on ({its.stop_reason}).")
        return [warning for warning in dict.fromkeys(found) if warning]
