"""From a prepared table to the weights that will be deployed: the middle of a fit."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from torch import nn

from finetune_tabpfn import recipe
from finetune_tabpfn._tabpfn import PreparedTable
from finetune_tabpfn.callbacks import DivergenceGuard, EarlyStopping, MaxSteps, TimeBudget
from finetune_tabpfn.data import Rows, SplitSampler
from finetune_tabpfn.forecasting import faster_precision, forecast
from finetune_tabpfn.loggers import ProgressBar
from finetune_tabpfn.lora import Adapter
from finetune_tabpfn.parameters import Parameters
from finetune_tabpfn.scoring import RESAMPLES, HoldOutScore, Predictions
from finetune_tabpfn.splits import SplitBatches, available_memory
from finetune_tabpfn.tasks import Classification
from finetune_tabpfn.training import (
    Evaluation,
    Round,
    TrainConfig,
    TrainState,
    Weights,
    improves,
    logger,
    mix_weights,
    train,
)
from finetune_tabpfn.tuning import TrainedPart, trained_part

HALF = 0.5  # of the way from the base to the best round
PROBED_RATES = (0.3, 3.0)  # times the usual learning rate
PROBE_STEPS = 20
PROBE_SHARE = 0.3  # of a time limit, for all of them
CACHE_WORK = 1.6  # validations that it takes to cache a context of training rows and hold-out


@dataclass(frozen=True)
class Timer:
    """Seconds since the fit began, and how many it may take.

    Parameters
    ----------
    limit : float or None
        Seconds for the whole fit.
    started : float
        Reading of `time.monotonic`.
    """

    limit: float | None
    started: float = field(default_factory=time.monotonic)

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    @property
    def remaining(self) -> float | None:
        """Seconds that are left, None without a limit."""
        return None if self.limit is None else max(0.0, self.limit - self.elapsed)

    def share(self, parts: int) -> Timer:
        """Return the timer of the next of `parts` equal parts of the time that is left."""
        remaining = self.remaining
        if remaining is None:
            return self
        return Timer(self.elapsed + remaining / parts, self.started)


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


def fine_tune(
    table: PreparedTable,
    score: HoldOutScore,
    parameters: Parameters,
    *,
    groups: Rows | None,
    guests: Sequence[object],
    seed: int,
    timer: Timer,
    finish_seconds: float,
) -> Outcome:
    """Train the table's network and choose among base, best round and their average.

    Parameters
    ----------
    table : PreparedTable
        Its network is trained in place and holds some weights or other afterwards.
    score : HoldOutScore
    parameters : Parameters
        Of the estimator.
    groups : ndarray of int64 of shape (n_train,), optional
        Group codes, which no split separates.
    guests : sequence of Callback
        Asked before those of the user.
    seed : int
    timer : Timer
    finish_seconds : float
        Time to keep for what follows.
    """
    model = table.network
    batches = _batches(table, parameters, groups, seed)
    evaluate = _Evaluation(table, score, parameters.min_gain_se)
    usual_rate = recipe.learning_rate(sum(weight.numel() for weight in model.parameters()))
    with trained_part(model, parameters, seed) as part:
        budget = _budget(table, batches, evaluate, parameters, timer, finish_seconds)
        config = _config(table, batches, parameters, timer)

        def run(rate: float, callbacks: Sequence[object]) -> TrainState:
            return train(
                model,
                # what a task does not use of the network gets no gradient and stays as it is
                torch.optim.AdamW(part.parameters, rate, weight_decay=parameters.weight_decay),
                batches=batches,
                loss_fn=batches.loss,
                evaluate=evaluate,
                config=config,
                callbacks=[*part.guests, *callbacks],
            )

        rate = parameters.learning_rate or usual_rate
        if isinstance(rate, str):
            try:
                rate = _probe_rates(usual_rate, run, evaluate, budget, parameters.min_delta)
            except KeyboardInterrupt:
                return Outcome.untouched("interrupted")
        own = _callbacks(parameters, budget)
        state = run(rate, [*own, *guests, *(parameters.callbacks or ())])
    return _choose(state, part, evaluate, budget, rate)


def _probe_rates(
    usual: float,
    run: Callable[[float, Sequence[object]], TrainState],
    evaluate: _Evaluation,
    budget: TimeBudget | None,
    min_delta: float,
) -> float:
    """Return the learning rate whose first steps score best: another one only if clearly so."""
    limits = [DivergenceGuard(), MaxSteps(PROBE_STEPS)]
    if budget is not None:
        limits.append(budget.part(PROBE_SHARE))
    best, best_call = usual, None
    for rate in (usual, *(factor * usual for factor in PROBED_RATES)):
        state = run(rate, limits)
        state.model.load_state_dict(state.base_weights)
        if state.stop_reason == "interrupted":
            raise KeyboardInterrupt
        if state.stop_reason != "max_steps" or state.steps_since_validation:
            continue
        call = len(evaluate.scores) - 1
        logger.info("learning rate %.3g scores %.5g", rate, evaluate.scores[call])
        if best_call is None or evaluate.clearly(call, best_call, min_delta):
            best, best_call = rate, call
    evaluate.forget()
    logger.info("learning rate: %.3g", best)
    return best


class _Evaluation:
    """Scores the hold-out and keeps what was predicted for it, call by call."""

    def __init__(self, table: PreparedTable, score: HoldOutScore, min_gain_se: float) -> None:
        self.table, self.score, self.min_gain_se = table, score, min_gain_se
        self.predictions: list[Predictions] = []
        self.scores: list[float] = []
        self.score_seconds = 0.0

    def __call__(self, model: nn.Module) -> Evaluation:
        """Score the model, which is the table's network."""
        predictions = self.table.predict()
        began = time.monotonic()
        score = self.score(predictions)
        self.score_seconds = max(self.score_seconds, time.monotonic() - began)
        self.predictions.append(predictions)
        self.scores.append(score)
        return Evaluation(score, self.score.metrics(predictions))

    def forget(self) -> None:
        """Begin to count the calls anew."""
        self.predictions, self.scores = [], []

    def choice_seconds(self) -> float:
        """Return what the three comparisons that decide what is deployed will take."""
        return 3 * 2 * RESAMPLES * self.score_seconds if self.min_gain_se else 0.0

    def clearly(self, first: int, second: int, min_delta: float = 0.0) -> bool:
        """Tell whether one call scored above another by what is no longer taken for luck."""
        if not improves(self.scores[first], self.scores[second], min_delta):
            return False
        gain = self.scores[first] - self.scores[second]
        if not self.min_gain_se:
            return True
        one, other = self.predictions[first], self.predictions[second]
        return gain > self.min_gain_se * self.score.gain_error(one, other)

    def deployable(self, call: int) -> bool:
        """Tell whether a call clearly beats the base, the first one, and is as calibrated."""
        found, base = self.predictions[call], self.predictions[0]
        honest = not self.min_gain_se or self.score.as_calibrated(found, base)
        return honest and self.clearly(call, 0)


def _batches(
    table: PreparedTable, parameters: Parameters, groups: Rows | None, seed: int
) -> SplitBatches:
    """Return the batches of every step, cut to the memory that is free."""
    sizes = recipe.split_sizes(
        table.n_rows, table.device, parameters.context_size, parameters.query_size
    )
    targets = table.members[0].targets
    classes = targets.astype(np.int64) if isinstance(table.task, Classification) else None
    sampler = SplitSampler(
        table.n_rows,
        sizes.context,
        sizes.query,
        seed,
        classes,
        balanced=parameters.balanced_contexts,
        groups=groups,
    )
    passes = parameters.gradient_accumulation_steps
    batches = SplitBatches(table, sampler, parameters.batch_size, passes)
    model = table.network.train()
    for measure in batches.fit_memory(model, available_memory(table.device)):
        warnings.warn(f"To fit the memory of {table.device}: {measure}.", stacklevel=5)
    return batches


def _budget(
    table: PreparedTable,
    batches: SplitBatches,
    evaluate: _Evaluation,
    parameters: Parameters,
    timer: Timer,
    finish: float,
) -> TimeBudget | None:
    """Return the time budget, None without a limit."""
    if timer.limit is None:
        return None
    costs = forecast(table, batches, table.network, limit=timer.limit, finish=finish)
    if parameters.fit_mode == "fit_with_cache":  # all rows go through the network once more
        costs = replace(costs, finish=costs.finish + CACHE_WORK * costs.validation)
    deadline = timer.started + timer.limit
    return TimeBudget(deadline, costs, reserve=evaluate.choice_seconds)


def _config(
    table: PreparedTable, batches: SplitBatches, parameters: Parameters, timer: Timer
) -> TrainConfig:
    """Return the settings of the loop."""
    precision = recipe.precision(parameters.precision, table.device)
    if precision == "auto" and not parameters.max_steps:
        precision = "fp32"
    elif precision == "auto":
        precision = faster_precision(batches, table.network, limit=timer.limit or math.inf)
    sampler = batches.sampler
    context_rows = sum(len(member.context_rows) for member in table.members)
    return TrainConfig(
        eval_interval=recipe.round_steps(
            parameters.eval_interval,
            split_rows=sampler.context_size + sampler.query_size,
            batch_size=parameters.batch_size,
            validation_rows=context_rows + len(table.members) * table.n_held_out,
        ),
        min_delta=parameters.min_delta,
        max_grad_norm=parameters.max_grad_norm,
        ema_decay=parameters.ema_decay,
        retreat_rounds=parameters.retreat_rounds,
        precision=precision,
    )


def _callbacks(parameters: Parameters, budget: TimeBudget | None) -> list[object]:
    """Return the guests of the loop that the parameters ask for."""
    guests: list[object] = [DivergenceGuard(), MaxSteps(parameters.max_steps)]
    if budget is not None:
        guests.append(budget)
    if parameters.early_stopping:
        guests.append(EarlyStopping(parameters.patience))
    if parameters.verbose:
        guests.append(ProgressBar(parameters.max_steps))
    return guests


def _choose(
    state: TrainState,
    part: TrainedPart,
    evaluate: _Evaluation,
    budget: TimeBudget | None,
    rate: float,
) -> Outcome:
    """Return what is to be deployed.

    Half-way from the base to the best round, which generalises better than either; all the way
    where that is clearly better on the hold-out; the base where the gain may be luck, or where
    the probabilities have got worse.
    """
    base, best = part.plain(state.base_weights), part.plain(state.best_weights)
    deployed, weights, score, share = "base", base, state.base_score, 0.0
    if state.best_round > 0:
        average = mix_weights(base, best, HALF)
        average_score = _score(average, state, evaluate, budget)
        clearly_best = average_score is None or evaluate.clearly(state.best_round, -1)
        if clearly_best and evaluate.deployable(state.best_round):
            deployed, weights, score, share = "best round", best, state.best_score, 1.0
        elif average_score is not None and evaluate.deployable(-1):
            deployed, weights, score, share = "average", average, average_score, HALF
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
        learning_rate=rate,
        stop_reason=state.stop_reason or "",
    )


def _score(
    weights: Weights, state: TrainState, evaluate: _Evaluation, budget: TimeBudget | None
) -> float | None:
    """Return the score of weights, None where there is no time or they cannot be scored."""
    no_time = budget is not None and not budget.time_for(budget.validation(state))
    if no_time or state.stop_reason == "interrupted":
        return None
    state.model.load_state_dict(weights)
    state.model.eval()
    try:
        return evaluate(state.model).score
    except (FloatingPointError, KeyboardInterrupt):
        return None
