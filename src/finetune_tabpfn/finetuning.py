"""From a prepared table to the weights to deploy."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from finetune_tabpfn import recipe
from finetune_tabpfn._tabpfn import PreparedTable
from finetune_tabpfn.callbacks import DivergenceGuard, EarlyStopping, MaxSteps, TimeBudget, Timer
from finetune_tabpfn.checkpoints import FoldCheckpoints, is_over, unpack
from finetune_tabpfn.choice import HoldOut, Outcome, choose
from finetune_tabpfn.data import Rows, SplitSampler
from finetune_tabpfn.forecasting import faster_precision, forecast
from finetune_tabpfn.parameters import Parameters
from finetune_tabpfn.scoring import HoldOutScore
from finetune_tabpfn.splits import SplitBatches, available_memory
from finetune_tabpfn.tasks import Classification
from finetune_tabpfn.training import Precision, TrainConfig, TrainState, logger, train
from finetune_tabpfn.tuning import TrainedPart, trained_part

PROBED_RATES = (0.3, 3.0)  # times the usual learning rate
PROBE_STEPS = 20
PROBE_SHARE = 0.3  # of a time limit, for all of them
CACHE_WORK = 1.6  # validations that it takes to cache a context of training rows and hold-out
NO_CHECKPOINTS = FoldCheckpoints()


def fine_tune(
    table: PreparedTable,
    score: HoldOutScore,
    parameters: Parameters,
    *,
    groups: Rows | None,
    guests: Sequence[object],
    checkpoints: FoldCheckpoints,
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
    checkpoints : FoldCheckpoints
        Where the state of the training goes, and an earlier one is found.
    seed : int
    timer : Timer
    finish_seconds : float
        Time to keep for what follows.
    """
    saved = checkpoints.load()
    settings = {} if saved is None else saved["settings"]
    batches = _batches(table, parameters, groups, seed, settings.get("batches"))
    hold_out = HoldOut(table.predict, score, parameters.min_gain_se)
    with trained_part(table.network, parameters, seed) as part:
        budget = _budget(table, batches, hold_out, parameters, timer, finish_seconds)
        config = _config(table, batches, parameters, timer, settings)
        training = _Training(
            table.network, part, batches, hold_out, config, parameters.weight_decay
        )
        try:
            rate = settings.get("rate") or training.choose_rate(parameters, budget)
        except KeyboardInterrupt:
            return Outcome.untouched("interrupted")
        own = _callbacks(parameters, budget)
        asked = [*own, *guests, *(parameters.callbacks or ())]
        state = training.run(rate, asked, checkpoints, None if saved is None else saved["state"])
    return choose(state, part, hold_out, budget, rate)


@dataclass(frozen=True)
class _Training:
    """What the runs of a fine-tuning share: the one that counts and those that try a rate."""

    model: nn.Module
    part: TrainedPart
    batches: SplitBatches
    hold_out: HoldOut
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
    ) -> TrainState:
        """Train with a learning rate, from the base or from a state that was saved."""
        # what a task does not use of the network gets no gradient and stays as it is
        optimizer = torch.optim.AdamW(self.part.parameters, rate, weight_decay=self.weight_decay)
        state = None if saved is None else unpack(saved, self.model, optimizer)
        if saved is not None and state is not None and is_over(saved):
            return state
        keeper = checkpoints.guests(optimizer, lambda: self.settings(rate))
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

    def choose_rate(self, parameters: Parameters, budget: TimeBudget | None) -> float:
        """Return the learning rate that is asked for, or that the size of the network suggests."""
        usual = recipe.learning_rate(sum(weight.numel() for weight in self.model.parameters()))
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
            state.model.load_state_dict(state.base_weights)
            if state.stop_reason == "interrupted":
                raise KeyboardInterrupt
            if state.stop_reason != "max_steps" or state.steps_since_validation:
                continue
            found = state.last
            assert found is not None
            logger.info("learning rate %.3g scores %.5g", rate, found.score)
            if best is None or self.hold_out.clearly(found, best, min_delta):
                chosen, best = rate, found
        logger.info("learning rate: %.3g", chosen)
        return chosen


def _batches(
    table: PreparedTable,
    parameters: Parameters,
    groups: Rows | None,
    seed: int,
    settings: dict[str, Any] | None,
) -> SplitBatches:
    """Return the batches of every step, cut to the memory that is free, or as they were cut."""
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
    if settings is not None:
        batches.settings = settings
        return batches
    model = table.network.train()
    for measure in batches.fit_memory(model, available_memory(table.device)):
        warnings.warn(f"To fit the memory of {table.device}: {measure}.", stacklevel=5)
    return batches


def _budget(
    table: PreparedTable,
    batches: SplitBatches,
    hold_out: HoldOut,
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
    return TimeBudget(deadline, costs, reserve=hold_out.choice_seconds)


def _precision(
    table: PreparedTable, batches: SplitBatches, parameters: Parameters, timer: Timer
) -> Precision:
    """Return the precision of the training, measured where nothing else tells."""
    precision = recipe.precision(parameters.precision, table.device)
    if precision != "auto":
        return precision
    if not parameters.max_steps:
        return "fp32"
    return faster_precision(batches, table.network, limit=timer.limit or math.inf)


def _config(
    table: PreparedTable,
    batches: SplitBatches,
    parameters: Parameters,
    timer: Timer,
    settings: dict[str, Any],
) -> TrainConfig:
    """Return the settings of the loop, those of a resumed run where they were measured."""
    sampler = batches.sampler
    context_rows = sum(len(member.context_rows) for member in table.members)
    measured = settings.get("config") or {
        "precision": _precision(table, batches, parameters, timer),
        "eval_interval": recipe.round_steps(
            parameters.eval_interval,
            split_rows=sampler.context_size + sampler.query_size,
            batch_size=parameters.batch_size,
            validation_rows=context_rows + len(table.members) * table.n_held_out,
        ),
    }
    return TrainConfig(
        **measured,
        min_delta=parameters.min_delta,
        max_grad_norm=parameters.max_grad_norm,
        ema_decay=parameters.ema_decay,
        retreat_rounds=parameters.retreat_rounds,
    )


def _callbacks(parameters: Parameters, budget: TimeBudget | None) -> list[object]:
    """Return the guests of the loop that the parameters ask for."""
    guests: list[object] = [DivergenceGuard(), MaxSteps(parameters.max_steps)]
    if budget is not None:
        guests.append(budget)
    if parameters.early_stopping:
        guests.append(EarlyStopping(parameters.patience))
    return guests
