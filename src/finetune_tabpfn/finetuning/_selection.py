"""What is deployed: the base, or the best round, or half-way to it where the hold-out is small."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import nn

from finetune_tabpfn._scoring import RESAMPLES, Predictions
from finetune_tabpfn.finetuning._lora import Adapter
from finetune_tabpfn.finetuning._problem import Course
from finetune_tabpfn.finetuning._trainable import TrainedPart
from finetune_tabpfn.training._callbacks import TimeBudget
from finetune_tabpfn.training._loop import (
    Evaluation,
    NoScoreError,
    Round,
    TrainState,
    Weights,
    improves,
    mix_weights,
    ran_out_of_memory,
)

HALF = 0.5  # of the way from the base to the best round
FEW_ROWS = 200  # of a hold-out: on so many a gain must be larger by half, on fewer more
TRUSTED_ROWS = 100  # of a hold-out: on fewer the best round is often luck, half-way to it less so
Deployed = Literal["base", "best round", "average", "last round"]
CANDIDATES = 2  # the base, and what may be deployed instead


@dataclass(frozen=True)
class Outcome:
    """What a fine-tuning came to.

    Attributes
    ----------
    deployed : {"base", "best round", "average", "last round"}
        Which weights the hold-out speaks for, or without one the last.
    weights : dict of str to Tensor, or None
        Those weights; None leaves the base model as it is.
    base_score, score : float
        Of the base model and of those weights; NaN when nothing was scored.
    history : list of Round
    best_step, n_steps : int
    stop_reason : str
    learning_rate : float
        Of the optimizer, at its peak.
    adapter : Adapter, optional
        What LoRA added to the base model to get those weights.
    error : Exception, optional
        What ended the training; to be raised when the weights are safe.
    """

    deployed: Deployed
    weights: Weights | None
    base_score: float
    score: float
    history: list[Round]
    best_step: int
    n_steps: int
    stop_reason: str
    learning_rate: float = math.nan
    adapter: Adapter | None = None
    error: Exception | None = None

    @classmethod
    def untouched(cls, reason: str) -> Outcome:
        """Return the outcome of a table that cannot be trained on."""
        return cls("base", None, math.nan, math.nan, [], 0, 0, reason)

    @property
    def warning(self) -> str | None:
        """What a user should hear about how the run ended, if anything."""
        reason = self.stop_reason
        kept = "the base model" if self.deployed == "base" else f"the {self.deployed}"
        if reason.startswith("diverged"):
            return f"Fine-tuning {reason}; {kept} is deployed. A lower learning_rate may help."
        if reason.startswith("no score"):
            return f"Fine-tuning ended with {reason}; {kept} is deployed."
        if reason == "out of memory":
            return f"Fine-tuning ran out of memory; {kept} is deployed."
        if reason == "interrupted":
            when = "" if self.n_steps else " before its first step"
            return f"Fine-tuning was interrupted{when}; {kept} is deployed."
        if reason == "time_limit" and len(self.history) < 2:
            return "time_limit left no room for a round of fine-tuning; the base model is deployed."
        if reason in ("too few rows", "constant target", "constant columns"):
            return f"Nothing to fine-tune on ({reason}); the base model is deployed."
        return None


class HoldOut:
    """Scores the network on the hold-outs and tells a gain from luck.

    Parameters
    ----------
    courses : sequence of Course
        Of several, the score is the mean of theirs, each over the size of what the base model
        scores there, which is what is scored first.
    min_gain_se : float
        What counts as a gain on a large hold-out, in standard errors; on a small one it is more,
        since a small table seldom gains, and the best of many rounds is often luck.
    """

    def __init__(self, courses: Sequence[Course], min_gain_se: float) -> None:
        self.courses = courses
        self.scores = [course.score for course in courses if course.score is not None]
        self.n_rows = min(len(score.y) for score in self.scores)
        self.min_gain_se = min_gain_se * math.sqrt(1 + FEW_ROWS / self.n_rows)
        self.scales = [1.0] if len(courses) == 1 else []
        self.score_seconds = 0.0

    @property
    def is_cut(self) -> bool:
        """Whether the validation of a round has fewer context rows than what is deployed."""
        return any(course.table.is_cut for course in self.courses)

    @property
    def is_trusted(self) -> bool:
        """Whether the hold-out may speak for the best round itself, instead of half-way to it."""
        return self.n_rows >= TRUSTED_ROWS or not self.min_gain_se

    def __call__(self, model: nn.Module, *, brief: bool = True) -> Evaluation:
        """Score the model, which is the network that the tables hold.

        With brief contexts, as in every round, or with those that are deployed.
        """
        predictions = [course.table.predict(brief=brief) for course in self.courses]
        began = time.monotonic()
        found = [score(its) for score, its in zip(self.scores, predictions, strict=True)]
        self.score_seconds = max(self.score_seconds, time.monotonic() - began)
        self.scales = self.scales or [abs(score) or 1.0 for score in found]
        score = float(np.mean(np.divide(found, self.scales)))
        return Evaluation(score, self._metrics(predictions, found), predictions)

    def _metrics(self, predictions: list[Predictions], scores: list[float]) -> dict[str, float]:
        """Return what else is recorded: of several tables, the score of each."""
        if len(scores) > 1:
            return {f"score_{number}": score for number, score in enumerate(scores)}
        (course,), (score,) = self.courses, self.scores
        density = course.table.negative_log_density(score.y, score.sample_weight)
        return score.metrics(predictions[0]) | density

    def choice_seconds(self) -> float:
        """Return what the comparison that decides what is deployed will take."""
        return CANDIDATES * RESAMPLES * self.score_seconds if self.min_gain_se else 0.0

    def clearly(self, found: Evaluation, other: Evaluation, min_delta: float = 0.0) -> bool:
        """Tell whether one scored above another by what is no longer taken for luck."""
        if not improves(found.score, other.score, min_delta):
            return False
        if not self.min_gain_se:
            return True
        parts = zip(self.scores, found.predictions, other.predictions, self.scales, strict=True)
        errors = [score.gain_error(one, two) / scale for score, one, two, scale in parts]
        error = math.hypot(*errors) / len(errors)  # of a mean of independent gains
        return found.score - other.score > self.min_gain_se * error

    def deployable(self, found: Evaluation, base: Evaluation) -> bool:
        """Tell whether something clearly beats the base and is as calibrated on every table."""
        parts = zip(self.scores, found.predictions, base.predictions, strict=True)
        honest = not self.min_gain_se or all(
            score.as_calibrated(one, two) for score, one, two in parts
        )
        return honest and self.clearly(found, base)


def choose(
    state: TrainState,
    part: TrainedPart,
    hold_out: HoldOut | None,
    budget: TimeBudget | None,
    learning_rate: float,
    *,
    as_scored: bool = False,
) -> Outcome:
    """Return what is to be deployed.

    The best round, or on a small hold-out half-way from the base to it; the base where the gain
    may be luck, or where the probabilities have got worse. After an error, which may be the
    scorer's, or if the user will not wait, `as_scored`: the best round as it was scored. Without a
    hold-out the last round; the base where the training diverged, since nothing says when.
    """
    base, best = part.plain(state.base_weights), part.plain(state.best_weights)
    mixed = mix_weights(base, best, HALF)
    weights: dict[Deployed, Weights] = {
        "base": base, "average": mixed, "best round": best, "last round": best
    }  # fmt: skip
    shares = {"base": 0.0, "average": HALF, "best round": 1.0, "last round": 1.0}
    deployed: Deployed = "base"
    reference = found = state.base
    if hold_out is None:
        diverged = (state.stop_reason or "").startswith("diverged")
        deployed = "last round" if state.best_round and not diverged else "base"
    elif as_scored or state.error is not None:
        deployed, found = ("best round" if state.best_round else "base"), state.best
    elif state.best_round > 0:
        deployed, reference, found = _contest(weights, state, hold_out, budget)
        if not hold_out.deployable(found, reference):
            deployed, found = "base", reference
    adapter = part.adapter(state.best_weights)
    return Outcome(
        deployed=deployed,
        weights=weights[deployed],
        adapter=None if adapter is None else adapter.scaled(shares[deployed]),
        base_score=math.nan if reference is None else reference.score,
        score=math.nan if found is None else found.score,
        history=state.history,
        best_step=state.best_step,
        n_steps=state.step,
        learning_rate=learning_rate,
        stop_reason=state.stop_reason or "",
        error=state.error,
    )


def _contest(
    weights: dict[Deployed, Weights],
    state: TrainState,
    hold_out: HoldOut,
    budget: TimeBudget | None,
) -> tuple[Deployed, Evaluation, Evaluation]:
    """Return what may be deployed instead of the base, the base's score and its own.

    Scored as they would be deployed if there is time, else as the rounds were.
    """

    def scored(name: Deployed, *, brief: bool) -> Evaluation | None:
        return _evaluate(weights[name], state, hold_out, brief=brief)

    def time_for(seconds: Callable[[TimeBudget], float]) -> bool:
        return budget is None or budget.time_for(seconds(budget))

    assert state.base is not None
    assert state.best is not None
    name: Deployed = "best round" if hold_out.is_trusted else "average"
    interrupted = state.stop_reason == "interrupted"
    if hold_out.is_cut and not interrupted and time_for(lambda its: its.final_check):
        base, found = scored("base", brief=False), scored(name, brief=False)
        if base is not None and found is not None:
            return name, base, found
    if name == "average" and time_for(lambda its: its.validation(state)):
        found = scored(name, brief=True)
        if found is not None:
            return name, state.base, found
    return "best round", state.base, state.best


def _evaluate(
    weights: Weights, state: TrainState, hold_out: HoldOut, *, brief: bool
) -> Evaluation | None:
    """Score weights; None where they cannot be scored, or the user will not wait."""
    state.model.load_state_dict(weights)
    state.model.eval()
    try:
        return hold_out(state.model, brief=brief)
    except (FloatingPointError, NoScoreError, KeyboardInterrupt):
        return None
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        return None
