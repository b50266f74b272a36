"""What is deployed: the base, the best weights, or half-way to them on a small hold-out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from finetune_tabpfn._scoring import join_predictions, join_scores
from finetune_tabpfn.finetuning._budget import TimeBudget
from finetune_tabpfn.finetuning._hold_out import NOTHING_BETTER, Comparison, HoldOut
from finetune_tabpfn.finetuning._lora import mean_adapter
from finetune_tabpfn.finetuning._result import DeployedName, FineTuningResult, Trained
from finetune_tabpfn.finetuning._trainable import TrainedPart
from finetune_tabpfn.training._device import ran_out_of_memory
from finetune_tabpfn.training._loop import NoScoreError
from finetune_tabpfn.training._state import (
    Evaluation,
    TrainState,
    Weights,
    mean_weights,
    mix_weights,
)
from finetune_tabpfn.training._stop_reasons import StopReason

FOLDS_OPTIMISM = 0.75  # standard errors: each fold chose its best evaluation by these very rows
HALF = 0.5  # of the way from the base to the best evaluation


def trained(
    state: TrainState,
    part: TrainedPart,
    hold_out: HoldOut | None,
    budget: TimeBudget | None,
    learning_rate: float,
    *,
    as_scored: bool = False,
) -> Trained:
    """Return what a training came to: what may be deployed instead of the base, and both scores.

    The best evaluation, or on a small hold-out half-way from the base to it. After an error, which
    may be the scorer's, or if the user will not wait, `as_scored`: the best evaluation as it was
    scored. Without a hold-out the last evaluation; the base where the training diverged, since
    nothing says when.
    """
    base, best = part.plain(state.base_weights), part.plain(state.best_weights)
    weights: dict[DeployedName, Weights] = {
        "base": base, "interpolated": mix_weights(base, best, HALF), "best": best, "last": best
    }  # fmt: skip
    shares = {"base": 0.0, "interpolated": HALF, "best": 1.0, "last": 1.0}
    as_scored = as_scored or state.error is not None
    name: DeployedName = "best" if state.best_evaluation else "base"
    reference, found = state.base, state.best
    if hold_out is None:
        diverged = StopReason.DIVERGED.ended(state.stop_reason)
        name = "last" if state.best_evaluation and not diverged else "base"
    elif name == "best" and not as_scored:
        name, reference, found = _score_candidates(weights, state, hold_out, budget)
    adapter = part.adapter(state.best_weights)
    return Trained(
        name=name,
        base_weights=base,
        weights=weights[name],
        base=reference,
        found=found,
        comparison=None if hold_out is None else hold_out.comparison,
        adapter=None if adapter is None else adapter.scaled(shares[name]),
        history=state.history,
        best_step=state.best_step,
        n_steps=state.step,
        learning_rate=learning_rate,
        stop_reason=state.stop_reason or "",
        error=state.error,
        as_scored=as_scored,
        holds=None if hold_out is None else partial(_holds, state=state, hold_out=hold_out),
    )


def select(trainings: Sequence[Trained]) -> FineTuningResult:
    """Decide what is deployed, over the rows of all hold-outs together.

    The mean of the weights of all trainings, or the base: where the gain may be luck, or where the
    probabilities have got worse. A scorer that fails only now must not cost the training.
    """
    try:
        return _select(trainings)
    except Exception as error:
        ended = replace(trainings[-1], error=trainings[-1].error or error)
    except KeyboardInterrupt:
        ended = replace(trainings[-1], stop_reason=str(StopReason.INTERRUPTED))
    return _select([*trainings[:-1], replace(ended, as_scored=True)])


def _select(trainings: Sequence[Trained]) -> FineTuningResult:
    there = [its for its in trainings if its.weights is not None]
    nothing = f"nothing was trained ({trainings[-1].stop_reason})"
    if not there:
        return FineTuningResult("base", None, math.nan, math.nan, None, trainings, reason=nothing)
    if any(its.as_scored for its in there):  # what has been scored as it is
        there = [max(there, key=_gain)]
    names = {its.name for its in there}
    # of several folds some may have kept the base, which is then part of the mean
    name = next(found for found in ("interpolated", "best", "last", "base") if found in names)
    comparison, base, found = _pooled(there)
    trained_at_all = any(its.n_steps for its in there)
    objection = (NOTHING_BETTER if trained_at_all else nothing) if name == "base" else None
    if comparison is not None and base is not None and found is not None and not objection:
        if there[0].as_scored:
            objection = None if found.score > base.score else NOTHING_BETTER
        else:
            objection = comparison.objection(found, base)
            if objection == NOTHING_BETTER:  # though an evaluation did: this is scored otherwise
                objection = _worse_than_scored(name, base, found, comparison)
    weights = mean_weights([its.weights for its in there if its.weights is not None])
    judge = there[-1].holds if len(there) > 1 else None
    is_apart = objection is None and judge is not None and not judge(weights)
    if is_apart:
        objection = "the mean of the folds' weights predicts worse than each"
    kept = objection is not None
    adapters = [its.adapter.scaled(1.0 - kept) for its in there if its.adapter is not None]
    score = base if kept else found
    return FineTuningResult(
        deployed="base" if kept else name,
        weights=there[0].base_weights if kept else weights,
        base_score=math.nan if base is None else base.score,
        score=math.nan if score is None else score.score,
        adapter=mean_adapter(adapters) if adapters else None,
        trainings=trainings,
        folds=[fold for fold, its in enumerate(trainings) if any(its is one for one in there)],
        is_apart=is_apart,
        reason=objection or _grounds(base, found, comparison),
    )


def _grounds(
    base: Evaluation | None, found: Evaluation | None, comparison: Comparison | None
) -> str:
    """Return why something else than the base is deployed."""
    if base is None or found is None or comparison is None:
        return "nothing was held out"
    return f"a gain of {found.score - base.score:.2g} over {comparison.n_rows} rows"


def _worse_than_scored(
    name: DeployedName, base: Evaluation, found: Evaluation, comparison: Comparison
) -> str:
    """Return why what its evaluation had scored above the base is not deployed."""
    half_way = name == "interpolated"
    how = "half-way from the base to the best" if half_way else "with all context rows"
    below = base.score - found.score
    gap = f"{below:.2g} below" if below else "no better than"
    return f"{how}, the score over {comparison.n_rows} rows is {gap} the base model's"


def _gain(training: Trained) -> float:
    """Return what a training scored above the base."""
    if training.base is None or training.found is None:
        return -math.inf
    return training.found.score - training.base.score


def _holds(weights: Weights, *, state: TrainState, hold_out: HoldOut) -> bool:
    """Tell whether weights score no worse on a hold-out than both the base and the best ones.

    By more than a standard error. The mean of several folds has been trained on most of these rows:
    it should score better, unless the folds have gone so far apart that their mean is no network
    that was ever trained.
    """
    assert state.base is not None
    assert state.best is not None
    state.model.load_state_dict(weights)
    state.model.eval()
    reference = min(state.base, state.best, key=lambda its: its.score)
    try:
        found = hold_out(state.model)
        gap = reference.score - found.score
        return gap <= 0 or gap <= hold_out.comparison.error(found, reference)
    except (FloatingPointError, NoScoreError):
        return False


def _pooled(
    trainings: Sequence[Trained],
) -> tuple[Comparison | None, Evaluation | None, Evaluation | None]:
    """Return the comparison over the rows of all hold-outs, and the base's and the other score."""
    scored = [its for its in trainings if its.comparison is not None and its.base is not None]
    if len(scored) < 2:
        first = (scored or trainings)[0]
        return first.comparison, first.base, first.found
    comparisons = [its.comparison for its in scored if its.comparison is not None]
    scores = [comparison.scores[0] for comparison in comparisons]
    comparison = Comparison([join_scores(scores)], [1.0], comparisons[0].asked, FOLDS_OPTIMISM)
    comparison.n_resamples = min(its.n_resamples for its in comparisons)

    def pooled(evaluations: Sequence[Evaluation | None]) -> Evaluation:
        parts = [its.predictions[0] for its in evaluations if its is not None]
        return comparison.evaluation([join_predictions(scores, parts)])

    return comparison, pooled([its.base for its in scored]), pooled([its.found for its in scored])


def _score_candidates(
    weights: dict[DeployedName, Weights],
    state: TrainState,
    hold_out: HoldOut,
    budget: TimeBudget | None,
) -> tuple[DeployedName, Evaluation, Evaluation]:
    """Return what may be deployed instead of the base, the base's score and its own.

    Scored as they would be deployed if there is time, else as the evaluations were.
    """

    def scored(name: DeployedName, *, reduced: bool) -> Evaluation | None:
        return _evaluate(weights[name], state, hold_out, reduced=reduced)

    def time_for(seconds: Callable[[TimeBudget], float]) -> bool:
        return budget is None or budget.time_for(seconds(budget))

    assert state.base is not None
    assert state.best is not None
    name: DeployedName = "best" if hold_out.is_trusted else "interpolated"
    interrupted = state.stop_reason == StopReason.INTERRUPTED
    if hold_out.is_cut and not interrupted and time_for(lambda its: its.final_check):
        base, found = scored("base", reduced=False), scored(name, reduced=False)
        if base is not None and found is not None:
            return name, base, found
    if name == "interpolated" and time_for(lambda its: its.validation(state)):
        found = scored(name, reduced=True)
        if found is not None:
            return name, state.base, found
    return "best", state.base, state.best


def _evaluate(
    weights: Weights, state: TrainState, hold_out: HoldOut, *, reduced: bool
) -> Evaluation | None:
    """Score weights; None where they cannot be scored, or the user will not wait."""
    state.model.load_state_dict(weights)
    state.model.eval()
    try:
        return hold_out(state.model, reduced=reduced)
    except (FloatingPointError, NoScoreError, KeyboardInterrupt):
        return None
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        return None
