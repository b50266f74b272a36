"""What is deployed: base, best round or half-way between, as the hold-out tells."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import nn

from finetune_tabpfn.callbacks import TimeBudget
from finetune_tabpfn.courses import Course
from finetune_tabpfn.lora import Adapter
from finetune_tabpfn.scoring import RESAMPLES, Predictions
from finetune_tabpfn.training import (
    Evaluation,
    Round,
    TrainState,
    Weights,
    improves,
    mix_weights,
)
from finetune_tabpfn.tuning import TrainedPart

HALF = 0.5  # of the way from the base to the best round
FEW_ROWS = 200  # of a hold-out: on so many a gain must be larger by half, on fewer more
TRUSTED_ROWS = 100  # of a hold-out: on fewer the best round is often luck, half-way to it less so
CANDIDATES = 3  # base, half-way and best round


@dataclass(frozen=True)
class Outcome:
    """What a fine-tuning came to.

    Attributes
    ----------
    deployed : {"base", "best round", "average"}
        Which weights scored best on the hold-out.
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
    """

    deployed: Literal["base", "best round", "average"]
    weights: Weights | None
    base_score: float
    score: float
    history: list[Round]
    best_step: int
    n_steps: int
    stop_reason: str
    learning_rate: float = math.nan
    adapter: Adapter | None = None

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
        if reason == "out of memory":
            return f"Fine-tuning ran out of memory; {kept} is deployed."
        if reason == "interrupted":
            return f"Fine-tuning was interrupted; {kept} is deployed."
        if reason == "time_limit" and len(self.history) < 2:
            return "time_limit left no room for a round of fine-tuning; the base model is deployed."
        if reason in ("too few rows", "constant target"):
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
        self.n_rows = min(len(course.score.y) for course in courses)
        self.min_gain_se = min_gain_se * math.sqrt(1 + FEW_ROWS / self.n_rows)
        self.scales = [1.0] if len(courses) == 1 else []
        self.score_seconds = 0.0

    @property
    def is_cut(self) -> bool:
        """Whether the validation of a round has fewer context rows than what is deployed."""
        return any(course.table.is_cut for course in self.courses)

    @property
    def is_trusted(self) -> bool:
        """Whether the hold-out is large enough to speak for the best round itself."""
        return self.n_rows >= TRUSTED_ROWS

    def __call__(self, model: nn.Module, *, brief: bool = True) -> Evaluation:
        """Score the model, which is the network that the tables hold.

        With brief contexts, as in every round, or with those that are deployed.
        """
        predictions = [course.table.predict(brief=brief) for course in self.courses]
        began = time.monotonic()
        found = [course.score(its) for course, its in zip(self.courses, predictions, strict=True)]
        self.score_seconds = max(self.score_seconds, time.monotonic() - began)
        self.scales = self.scales or [abs(score) or 1.0 for score in found]
        score = float(np.mean(np.divide(found, self.scales)))
        return Evaluation(score, self._metrics(predictions, found), predictions)

    def _metrics(self, predictions: list[Predictions], scores: list[float]) -> dict[str, float]:
        """Return what else is recorded: of several tables, the score of each."""
        if len(scores) > 1:
            return {f"score_{number}": score for number, score in enumerate(scores)}
        (course,) = self.courses
        density = course.table.negative_log_density(course.score.y, course.score.sample_weight)
        return course.score.metrics(predictions[0]) | density

    def choice_seconds(self) -> float:
        """Return what the three comparisons that decide what is deployed will take."""
        return 3 * 2 * RESAMPLES * self.score_seconds if self.min_gain_se else 0.0

    def clearly(self, found: Evaluation, other: Evaluation, min_delta: float = 0.0) -> bool:
        """Tell whether one scored above another by what is no longer taken for luck."""
        if not improves(found.score, other.score, min_delta):
            return False
        if not self.min_gain_se:
            return True
        parts = zip(self.courses, found.predictions, other.predictions, self.scales, strict=True)
        errors = [course.score.gain_error(one, two) / scale for course, one, two, scale in parts]
        error = math.hypot(*errors) / len(errors)  # of a mean of independent gains
        return found.score - other.score > self.min_gain_se * error

    def all_the_way(self, best: Evaluation, half: Evaluation) -> bool:
        """Tell whether to go to the best round instead of half-way there."""
        if not self.min_gain_se:
            return best.score >= half.score
        return self.is_trusted and not self.clearly(half, best)

    def deployable(self, found: Evaluation, base: Evaluation) -> bool:
        """Tell whether something clearly beats the base and is as calibrated on every table."""
        parts = zip(self.courses, found.predictions, base.predictions, strict=True)
        honest = not self.min_gain_se or all(
            course.score.as_calibrated(one, two) for course, one, two in parts
        )
        return honest and self.clearly(found, base)


def choose(
    state: TrainState,
    part: TrainedPart,
    hold_out: HoldOut,
    budget: TimeBudget | None,
    learning_rate: float,
) -> Outcome:
    """Return what is to be deployed.

    The best round, or half-way from the base to it: where that is clearly better on the hold-out,
    and where the hold-out is small; the base where the gain may be luck, or where the
    probabilities have got worse.
    """
    base, best = part.plain(state.base_weights), part.plain(state.best_weights)
    candidates, shares = {"base": base}, {"base": 0.0, "average": HALF, "best round": 1.0}
    deployed, found = "base", {"base": state.base}
    if state.best_round > 0:
        candidates |= {"average": mix_weights(base, best, HALF), "best round": best}
        found = _scores(candidates, state, hold_out, budget)
        deployed = _winner(found, hold_out)
    scores = {name: its.score for name, its in found.items() if its is not None}
    adapter = part.adapter(state.best_weights)
    return Outcome(
        deployed=deployed,  # type: ignore[arg-type]
        weights=candidates[deployed],
        adapter=None if adapter is None else adapter.scaled(shares[deployed]),
        base_score=scores.get("base", math.nan),
        score=scores.get(deployed, math.nan),
        history=state.history,
        best_step=state.best_step,
        n_steps=state.step,
        learning_rate=learning_rate,
        stop_reason=state.stop_reason or "",
    )


def _scores(
    candidates: dict[str, Weights],
    state: TrainState,
    hold_out: HoldOut,
    budget: TimeBudget | None,
) -> dict[str, Evaluation | None]:
    """Score what may be deployed: as it would be if there is time, else as the rounds were."""

    def time_for(seconds: float) -> bool:
        unlimited = budget is None or budget.time_for(seconds)
        return unlimited and state.stop_reason != "interrupted"

    found = {"base": state.base, "best round": state.best}
    if hold_out.is_cut and time_for(0.0 if budget is None else budget.final_check):
        fully = {}
        for name, weights in candidates.items():
            fully[name] = _evaluate(weights, state, hold_out, brief=False)
            if fully[name] is None:
                return found
        return fully
    if time_for(0.0 if budget is None else budget.validation(state)):
        found["average"] = _evaluate(candidates["average"], state, hold_out, brief=True)
    return found


def _winner(found: dict[str, Evaluation | None], hold_out: HoldOut) -> str:
    """Return the name of what the scores speak for."""
    base, half, best = found["base"], found.get("average"), found["best round"]
    assert base is not None
    assert best is not None
    if (half is None or hold_out.all_the_way(best, half)) and hold_out.deployable(best, base):
        return "best round"
    return "average" if half is not None and hold_out.deployable(half, base) else "base"


def _evaluate(
    weights: Weights, state: TrainState, hold_out: HoldOut, *, brief: bool
) -> Evaluation | None:
    """Score weights; None where they cannot be scored, or the user will not wait."""
    state.model.load_state_dict(weights)
    state.model.eval()
    try:
        return hold_out(state.model, brief=brief)
    except (FloatingPointError, KeyboardInterrupt):
        return None
