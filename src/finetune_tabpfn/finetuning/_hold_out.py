"""The hold-outs of a fine-tuning: their scores, and what tells a gain from luck."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
from torch import nn

from finetune_tabpfn import _tabpfn
from finetune_tabpfn._scoring import RESAMPLES, HoldOutScore, Predictions
from finetune_tabpfn.finetuning._problem import FineTuningProblem
from finetune_tabpfn.training._state import Evaluation, improves

FEW_ROWS = 200  # of a hold-out: on so many a gain must be larger by half, on fewer more
# of a hold-out: on fewer the best evaluation is often luck, half-way to it less so
TRUSTED_ROWS = 100
NOTHING_BETTER = "nothing scored above the base model on the hold-out"
SLOW_SECONDS, FEW_RESAMPLES = 0.01, 10  # of a score: over the rows of several folds fewer then
CANDIDATES = 2  # the base, and what may be deployed instead


class Comparison:
    """Tells a gain on hold-outs from luck.

    Parameters
    ----------
    scores : sequence of HoldOutScore
    scales : sequence of float
        What the score of each is divided by.
    min_gain_se : float
        What counts as a gain on a large hold-out, in standard errors; on a small one it is more,
        since a small table seldom gains, and the best of many evaluations is often luck. 0: any.
    optimism : float
        Standard errors that scores are likely to lie above what other rows would say.
    """

    def __init__(
        self,
        scores: Sequence[HoldOutScore],
        scales: Sequence[float],
        min_gain_se: float,
        optimism: float = 0.0,
    ) -> None:
        self.scores, self.scales, self.asked = scores, scales, min_gain_se
        self.n_rows = min(len(score.y) for score in scores)
        self.n_resamples = RESAMPLES  # by which a standard error is estimated
        self.min_gain_se = 0.0
        if min_gain_se:
            self.min_gain_se = min_gain_se * math.sqrt(1 + FEW_ROWS / self.n_rows) + optimism

    def evaluation(self, predictions: Sequence[Predictions]) -> Evaluation:
        """Return the score of predictions of every hold-out."""
        found = [score(values) for score, values in zip(self.scores, predictions, strict=True)]
        return Evaluation(float(np.mean(np.divide(found, self.scales))), {}, predictions)

    def clearly(self, found: Evaluation, other: Evaluation, min_delta: float = 0.0) -> bool:
        """Tell whether one scored above another by what is no longer taken for luck."""
        if not improves(found.score, other.score, min_delta):
            return False
        return not self.min_gain_se or found.score - other.score > self._luck(found, other)

    def objection(self, found: Evaluation, base: Evaluation) -> str | None:
        """Return why something is not to be deployed instead of the base; None where it may be."""
        gain = found.score - base.score
        if not gain > 0:
            return NOTHING_BETTER
        if not self.min_gain_se:
            return None
        parts = zip(self.scores, found.predictions, base.predictions, strict=True)
        if not all(score.as_calibrated(one, two) for score, one, two in parts):
            return "the score got better and the probabilities worse"
        luck = self._luck(found, base)
        if gain > luck:
            return None
        return f"a gain of {gain:.2g} over {self.n_rows} rows is within luck ({luck:.2g})"

    def _luck(self, found: Evaluation, other: Evaluation) -> float:
        """Return the gain that is asked for."""
        return self.min_gain_se * self.error(found, other)

    def error(self, found: Evaluation, other: Evaluation) -> float:
        """Return the standard error of the difference of two scores."""
        parts = zip(self.scores, found.predictions, other.predictions, self.scales, strict=True)
        errors = [
            score.gain_error(one, two, self.n_resamples) / scale for score, one, two, scale in parts
        ]
        # the standard error of a mean of independent gains
        return math.hypot(*errors) / len(errors)


class HoldOut:
    """Scores the network on the hold-outs.

    Parameters
    ----------
    problems : sequence of FineTuningProblem
        Of several, the score is the mean of theirs, each over the size of what the base model
        scores there: its network is that of the base when this is made.
    min_gain_se : float
        As in :class:`Comparison`.
    n_folds : int
        Hold-outs of this size that will be compared as one.
    """

    def __init__(
        self, problems: Sequence[FineTuningProblem], min_gain_se: float, n_folds: int = 1
    ) -> None:
        self.problems, self.n_folds = problems, n_folds
        self.scores = [problem.score for problem in problems if problem.score is not None]
        self.score_seconds = 0.0
        scales = [1.0]
        if len(problems) > 1:  # which are weighed by what the base model scores
            for problem in problems:
                problem.table.network.eval()
            base = self._scored([problem.table.predict(reduced=True) for problem in problems])
            scales = [abs(score) or 1.0 for score in base]
        self.comparison = Comparison(self.scores, scales, min_gain_se)

    @property
    def is_cut(self) -> bool:
        """Whether the validation of an evaluation has fewer context rows than what is deployed."""
        return any(problem.table.is_cut for problem in self.problems)

    @property
    def is_trusted(self) -> bool:
        """Whether the hold-out may speak for the best weights themselves, not half-way to them."""
        return self.comparison.n_rows >= TRUSTED_ROWS or not self.comparison.min_gain_se

    def __call__(self, model: nn.Module, *, reduced: bool = True) -> Evaluation:
        """Score the model, which is the network that the tables hold.

        With reduced contexts, as in every evaluation, or with those that are deployed.
        """
        predictions = [problem.table.predict(reduced=reduced) for problem in self.problems]
        began = time.monotonic()
        found = self._scored(predictions)
        self.score_seconds = max(self.score_seconds, time.monotonic() - began)
        if self.n_folds > 1 and self.score_seconds > SLOW_SECONDS:
            self.comparison.n_resamples = FEW_RESAMPLES
        score = float(np.mean(np.divide(found, self.comparison.scales)))
        values = [prediction.values for prediction in predictions]
        return Evaluation(score, self._metrics(predictions, found), values)

    def _scored(self, predictions: list[_tabpfn.Prediction]) -> list[float]:
        pairs = zip(self.scores, predictions, strict=True)
        return [score(prediction.values) for score, prediction in pairs]

    def _metrics(
        self, predictions: list[_tabpfn.Prediction], scores: list[float]
    ) -> dict[str, float]:
        """Return what else is recorded: of several tables, the score of each."""
        if len(scores) > 1:
            return {f"score_{number}": score for number, score in enumerate(scores)}
        (problem,), (score,), (prediction,) = self.problems, self.scores, predictions
        density = problem.table.negative_log_density(prediction, score.y, score.sample_weight)
        return score.metrics(prediction.values) | density

    def selection_seconds(self) -> float:
        """Return what the comparison that decides what is deployed will take."""
        if not self.comparison.min_gain_se:
            return 0.0
        scores = CANDIDATES * self.comparison.n_resamples
        return scores * self.n_folds * self.score_seconds  # of folds, over the rows of all
