"""What is deployed: base, best round or half-way between, as the hold-out tells."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import nn

from finetune_tabpfn.callbacks import TimeBudget
from finetune_tabpfn.lora import Adapter
from finetune_tabpfn.scoring import RESAMPLES, HoldOutScore, Predictions
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
    """Scores the network on the hold-out and tells a gain from luck.

    Parameters
    ----------
    predict : callable
        Returns what the network as it is now predicts for the hold-out.
    score : HoldOutScore
    min_gain_se : float
        What counts as a gain, in standard errors.
    """

    def __init__(
        self, predict: Callable[[], Predictions], score: HoldOutScore, min_gain_se: float
    ) -> None:
        self.predict, self.score, self.min_gain_se = predict, score, min_gain_se
        self.score_seconds = 0.0

    def __call__(self, model: nn.Module) -> Evaluation:
        """Score the model, which is the network."""
        predictions = self.predict()
        began = time.monotonic()
        score = self.score(predictions)
        self.score_seconds = max(self.score_seconds, time.monotonic() - began)
        return Evaluation(score, self.score.metrics(predictions), predictions)

    def choice_seconds(self) -> float:
        """Return what the three comparisons that decide what is deployed will take."""
        return 3 * 2 * RESAMPLES * self.score_seconds if self.min_gain_se else 0.0

    def clearly(self, found: Evaluation, other: Evaluation, min_delta: float = 0.0) -> bool:
        """Tell whether one scored above another by what is no longer taken for luck."""
        if not improves(found.score, other.score, min_delta):
            return False
        if not self.min_gain_se:
            return True
        error = self.score.gain_error(found.predictions, other.predictions)
        return found.score - other.score > self.min_gain_se * error

    def deployable(self, found: Evaluation, base: Evaluation) -> bool:
        """Tell whether something clearly beats the base and is as calibrated."""
        honest = not self.min_gain_se or self.score.as_calibrated(
            found.predictions, base.predictions
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

    Half-way from the base to the best round, which generalises better than either; all the way
    where that is clearly better on the hold-out; the base where the gain may be luck, or where
    the probabilities have got worse.
    """
    base, best = part.plain(state.base_weights), part.plain(state.best_weights)
    deployed, weights, score, share = "base", base, state.base_score, 0.0
    if state.base is not None and state.best is not None and state.best_round > 0:
        average = mix_weights(base, best, HALF)
        half = _evaluate(average, state, hold_out, budget)
        clearly_best = half is None or hold_out.clearly(state.best, half)
        if clearly_best and hold_out.deployable(state.best, state.base):
            deployed, weights, score, share = "best round", best, state.best_score, 1.0
        elif half is not None and hold_out.deployable(half, state.base):
            deployed, weights, score, share = "average", average, half.score, HALF
    adapter = part.adapter(state.best_weights)
    return Outcome(
        deployed=deployed,  # type: ignore[arg-type]
        weights=weights,
        adapter=None if adapter is None else adapter.scaled(share),
        base_score=state.base_score,
        score=score,
        history=state.history,
        best_step=state.best_step,
        n_steps=state.step,
        learning_rate=learning_rate,
        stop_reason=state.stop_reason or "",
    )


def _evaluate(
    weights: Weights, state: TrainState, hold_out: HoldOut, budget: TimeBudget | None
) -> Evaluation | None:
    """Score weights; None where there is no time or they cannot be scored."""
    no_time = budget is not None and not budget.time_for(budget.validation(state))
    if no_time or state.stop_reason == "interrupted":
        return None
    state.model.load_state_dict(weights)
    state.model.eval()
    try:
        return hold_out(state.model)
    except (FloatingPointError, KeyboardInterrupt):
        return None
