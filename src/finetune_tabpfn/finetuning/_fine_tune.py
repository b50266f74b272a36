"""From a prepared table to the weights to deploy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from finetune_tabpfn._parameters import Parameters
from finetune_tabpfn._tasks import Classification
from finetune_tabpfn.data._sampling import SplitSampler
from finetune_tabpfn.finetuning import _defaults
from finetune_tabpfn.finetuning._batches import RoundRobin, SplitBatches, available_memory
from finetune_tabpfn.finetuning._cost import forecast
from finetune_tabpfn.finetuning._problem import Course
from finetune_tabpfn.finetuning._selection import CANDIDATES, HoldOut, Outcome, choose
from finetune_tabpfn.finetuning._trainable import TrainedPart, trained_part
from finetune_tabpfn.training._callbacks import (
    CostEstimate,
    DivergenceGuard,
    EarlyStopping,
    MaxSteps,
    TimeBudget,
    Timer,
)
from finetune_tabpfn.training._checkpoints import FoldCheckpoints, is_over, unpack
from finetune_tabpfn.training._loop import TrainConfig, TrainState, logger, new_state, train
from finetune_tabpfn.training._optimizer import AdamW
from finetune_tabpfn.utils._warn import warn

PROBED_RATES = (0.3, 3.0)  # times the usual learning rate
PROBE_STEPS = 20
PROBE_SHARE = 0.3  # of a time limit, for all of them
CHECK_SHARE = 1 / 3  # of a time limit, to compare what may be deployed as it would be
CACHE_WORK = 1.6  # validations that it takes to cache a context of training rows and hold-out
NO_CHECKPOINTS = FoldCheckpoints()


def fine_tune(
    courses: Sequence[Course],
    parameters: Parameters,
    *,
    guests: Sequence[object] = (),
    checkpoints: FoldCheckpoints = NO_CHECKPOINTS,
    seed: int,
    timer: Timer,
    finish_seconds: float,
    fold: int = 0,
) -> Outcome:
    """Train a network on one or several tables and choose among base, best round and their average.

    Parameters
    ----------
    courses : sequence of Course
        Their tables hold the same network, which is trained in place and holds some weights or
        other afterwards. With several, the steps take them in turn, and the score is the mean of
        theirs, each relative to the base model's.
    parameters : Parameters
        Of the estimator.
    guests : sequence of Callback
        Asked before those of the user.
    checkpoints : FoldCheckpoints
        Where the state of the training goes, and an earlier one is found.
    seed : int
    timer : Timer
    finish_seconds : float
        Time to keep for what follows.
    fold : int
        Number of this one among the trainings of a fit, for the guests.

    Raises
    ------
    KeyboardInterrupt
        For Ctrl-C before the training; it ends the training itself, which what is deployed tells.
    """
    saved = checkpoints.load()
    settings = {} if saved is None else saved["settings"]
    model = courses[0].table.network
    batches = step_batches(courses, parameters, seed, settings.get("batches"))
    validates = all(course.score is not None for course in courses)
    hold_out = HoldOut(courses, parameters.min_gain_se) if validates else None
    with trained_part(model, parameters, seed) as part:
        config = loop_config(batches, parameters, settings)
        if hold_out is None:
            config = replace(config, retreat_rounds=0)
        budget = _budget(batches, hold_out, parameters, config, timer, finish_seconds)
        training = _Training(model, part, batches, hold_out, config, parameters.weight_decay)
        rate = settings.get("rate") or training.choose_rate(parameters, budget)
        own = _callbacks(parameters, budget, stops_early=validates and parameters.early_stopping)
        asked = [*own, *guests, *(parameters.callbacks or ())]
        earlier = None if saved is None else saved["state"]
        state = training.run(rate, asked, checkpoints, earlier, fold)
    try:
        return choose(state, part, hold_out, budget, rate)
    except Exception as error:  # a scorer that fails only now must not cost the training
        state.error = error
    except KeyboardInterrupt:
        state.stop_reason = "interrupted"
    return choose(state, part, hold_out, budget, rate, as_scored=True)


@dataclass(frozen=True)
class _Training:
    """What the runs of a fine-tuning share: the one that counts and those that try a rate."""

    model: nn.Module
    part: TrainedPart
    batches: RoundRobin
    hold_out: HoldOut | None
    config: TrainConfig
    weight_decay: float

    def settings(self, rate: float) -> dict[str, Any]:
        """Return what was measured or tried out, so that a resumed run need not do so again."""
        config = {name: getattr(self.config, name) for name in ("precision", "eval_interval")}
        return {"rate": rate, "config": config, "batches": self.batches.settings}

    def run(
        self,
        rate: float,
        callbacks: Sequence[object],
        checkpoints: FoldCheckpoints = NO_CHECKPOINTS,
        saved: dict[str, Any] | None = None,
        fold: int = 0,
    ) -> TrainState:
        """Train with a learning rate, from the base or from a state that was saved.

        Raises what ended the training only where nothing better than the base would be lost;
        else it is in the state.
        """
        # what a task does not use of the network gets no gradient and stays as it is
        optimizer = AdamW(
            self.part.parameters,
            rate,
            weight_decay=self.weight_decay,
            fused=True if self.part.parameters[0].is_cuda else None,
        )
        state = new_state(self.model) if saved is None else unpack(saved, self.model, optimizer)
        state.fold = fold
        if saved is not None and is_over(saved):
            return state
        keeper = checkpoints.guests(optimizer, lambda: self.settings(rate))
        try:
            return train(
                self.model,
                optimizer,
                batches=self.batches,
                loss_fn=self.batches.loss,
                evaluate=self.hold_out,
                config=self.config,
                callbacks=[*self.part.guests, *callbacks, *keeper],
                state=state,
            )
        except Exception:
            if not state.best_round:
                raise
            return state

    def choose_rate(self, parameters: Parameters, budget: TimeBudget | None) -> float:
        """Return the learning rate that is asked for, or that the size of the network suggests."""
        usual = _defaults.learning_rate(sum(weight.numel() for weight in self.model.parameters()))
        if parameters.learning_rate != "auto":
            return float(parameters.learning_rate or usual)
        return self._probe_rates(usual, budget, parameters.min_delta)

    def _probe_rates(self, usual: float, budget: TimeBudget | None, min_delta: float) -> float:
        """Return the rate whose first steps score best: another one only if clearly so."""
        limits: list[object] = [DivergenceGuard(), MaxSteps(PROBE_STEPS)]
        if budget is not None:
            limits.append(budget.part(PROBE_SHARE))
        chosen, best = usual, None
        for rate in (usual, *(factor * usual for factor in PROBED_RATES)):
            state = self.run(rate, limits)
            if state.error is not None:
                raise state.error
            state.model.load_state_dict(state.base_weights)
            if state.stop_reason == "interrupted":
                raise KeyboardInterrupt
            if state.stop_reason != "max_steps" or state.steps_since_validation:
                continue
            found = state.last
            assert found is not None
            assert self.hold_out is not None
            logger.info("learning rate %.3g scores %.5g", rate, found.score)
            if best is None or self.hold_out.clearly(found, best, min_delta):
                chosen, best = rate, found
        logger.info("learning rate: %.3g", chosen)
        return chosen


def step_batches(
    courses: Sequence[Course],
    parameters: Parameters,
    seed: int,
    settings: list[dict[str, Any]] | None,
) -> RoundRobin:
    """Return the batches of every step, cut to the memory that is free, or as they were cut."""
    batches = RoundRobin(
        [_batches_of(course, parameters, seed, n) for n, course in enumerate(courses)]
    )
    if settings is not None:
        batches.settings = settings
        return batches
    table = courses[0].table
    model, free = table.network.train(), available_memory(table.device)
    for measure in batches.fit_memory(model, free):
        warn(f"To fit the memory of {table.device}: {measure}.")
    return batches


def _batches_of(course: Course, parameters: Parameters, seed: int, number: int) -> SplitBatches:
    """Return the batches of one table."""
    table = course.table
    sizes = _defaults.split_sizes(
        table.n_rows, table.device, parameters.context_size, parameters.query_size
    )
    targets = table.members[0].targets
    classes = targets.astype(np.int64) if isinstance(table.task, Classification) else None
    sampler = SplitSampler(
        table.n_rows,
        sizes.context,
        sizes.query,
        seed + number,
        classes,
        balanced=parameters.balanced_contexts,
        groups=course.groups,
    )
    splits = _defaults.batch_size(parameters.batch_size, table.device, sizes)
    return SplitBatches(table, sampler, splits, parameters.gradient_accumulation_steps)


def _budget(
    batches: RoundRobin,
    hold_out: HoldOut | None,
    parameters: Parameters,
    config: TrainConfig,
    timer: Timer,
    finish: float,
) -> TimeBudget | None:
    """Return the time budget, None without a limit."""
    if timer.limit is None:
        return None
    costs = _costs(batches, config, timer, finish)
    # of several tables, those that are not cut cost the same in either way
    deployed = costs.as_deployed or costs.validation
    if hold_out is None:  # nothing was forecast but steps, which take longer than forward alone
        members = batches.parts[0].table.members
        rows = sum(len(member.context_rows) for member in members)
        deployed = costs.step * rows / batches.step_rows
    if parameters.fit_mode == "fit_with_cache":  # all rows go through the network once more
        costs = replace(costs, finish=costs.finish + CACHE_WORK * deployed)
    if hold_out is None:
        return TimeBudget(timer, costs)
    check = CANDIDATES * deployed
    return TimeBudget(
        timer,
        costs,
        reserve=hold_out.choice_seconds,
        final_check=check,
        keep_check=hold_out.is_cut and check <= CHECK_SHARE * timer.limit,
        keep_validation=not hold_out.is_trusted,
    )


def _costs(batches: RoundRobin, config: TrainConfig, timer: Timer, finish: float) -> CostEstimate:
    """Return what a step on the slowest table costs, and the validation on all of them."""

    def left() -> float:
        return max(0.0, (timer.remaining or 0.0) - finish) / len(batches.parts)

    each = [forecast(part, config.precision, left=left) for part in batches.parts]
    cut = any(costs.as_deployed for costs in each)
    return CostEstimate(
        step=max(costs.step for costs in each),
        validation=sum(costs.validation for costs in each),
        finish=finish,
        as_deployed=sum(costs.as_deployed or costs.validation for costs in each) if cut else 0.0,
    )


def loop_config(
    batches: RoundRobin, parameters: Parameters, settings: dict[str, Any]
) -> TrainConfig:
    """Return the settings of the loop, those of a resumed run as they were then."""
    table = batches.parts[0].table
    size = sum(weight.numel() for weight in table.network.parameters())
    decided = settings.get("config") or {
        "precision": _defaults.precision(parameters.precision, table.device, size),
        "eval_interval": _defaults.round_steps(
            parameters.eval_interval,
            step_rows=batches.step_rows,
            validation_rows=sum(part.table.validation_rows for part in batches.parts),
        ),
    }
    return TrainConfig(
        **decided,
        min_delta=parameters.min_delta,
        max_grad_norm=parameters.max_grad_norm,
        ema_decay=parameters.ema_decay,
        retreat_rounds=parameters.retreat_rounds,
    )


def _callbacks(
    parameters: Parameters, budget: TimeBudget | None, *, stops_early: bool
) -> list[object]:
    """Return the guests of the loop that the parameters ask for."""
    guests: list[object] = [DivergenceGuard(), MaxSteps(parameters.max_steps)]
    if budget is not None:
        guests.append(budget)
    if stops_early:
        guests.append(EarlyStopping(parameters.patience))
    return guests
