"""From prepared tables to weights that may be deployed: one network, trained once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from torch import nn

from finetune_tabpfn import _tabpfn
from finetune_tabpfn.finetuning import _defaults
from finetune_tabpfn.finetuning._batches import RoundRobin, step_batches
from finetune_tabpfn.finetuning._budget import PROBE_SHARE, TimeBudget, Timer
from finetune_tabpfn.finetuning._cost import time_budget
from finetune_tabpfn.finetuning._hold_out import HoldOut
from finetune_tabpfn.finetuning._problem import FineTuningProblem
from finetune_tabpfn.finetuning._result import Trained
from finetune_tabpfn.finetuning._selection import trained
from finetune_tabpfn.finetuning._settings import Settings
from finetune_tabpfn.finetuning._trainable import TrainedPart, trained_part
from finetune_tabpfn.training._callbacks import DivergenceGuard, EarlyStopping, MaxSteps
from finetune_tabpfn.training._checkpoints import FoldCheckpoints, is_over, unpack
from finetune_tabpfn.training._distributed import ALONE, Alone
from finetune_tabpfn.training._loop import TrainConfig, constant_after_warmup, logger
from finetune_tabpfn.training._optimizer import AdamW
from finetune_tabpfn.training._state import TrainState, new_state
from finetune_tabpfn.training._stop_reasons import StopReason

PROBED_RATES = (0.3, 3.0)  # times the usual learning rate
PROBE_STEPS = 20


@dataclass(frozen=True)
class Surroundings:
    """What stands around one training.

    Attributes
    ----------
    seed : int
    timer : Timer
    finish_seconds : float
        Time to keep for what follows.
    callbacks : sequence of Callback
        Told before those of the user.
    checkpoints : FoldCheckpoints
        Where the state of the training goes, and an earlier one is found.
    fold, n_folds : int
        Number of this one among the trainings of a fit, for the callbacks, and how many there are:
        what is deployed is decided over the hold-outs of all.
    parts : int
        Folds that divide the time of `timer`, this one and those to come.
    processes : Alone or Group
        Which make the training together. The first decides, and it alone has the callbacks and
        writes checkpoints.
    """

    seed: int
    timer: Timer
    finish_seconds: float
    callbacks: Sequence[object] = ()
    checkpoints: FoldCheckpoints = field(default_factory=FoldCheckpoints)
    fold: int = 0
    n_folds: int = 1
    parts: int = 1
    processes: Alone = ALONE


def fine_tune(
    problems: Sequence[FineTuningProblem], settings: Settings, around: Surroundings
) -> Trained:
    """Train a network on one or several tables.

    Parameters
    ----------
    problems : sequence of FineTuningProblem
        Their tables hold the same network, which is trained in place and holds some weights or
        other afterwards. With several, the steps take them in turn, and the score is the mean of
        theirs, each relative to the base model's.
    settings : Settings
    around : Surroundings

    Raises
    ------
    KeyboardInterrupt
        For Ctrl-C before the training; it ends the training itself, which what is deployed tells.
    """
    processes = around.processes
    saved = processes.from_first(around.checkpoints.load)
    measured = {} if saved is None else saved["settings"]
    model = problems[0].table.network
    batches = step_batches(problems, settings, around.seed, measured.get("batches"), processes)
    validates = all(problem.score is not None for problem in problems)
    min_gain_se = settings.training.min_gain_se
    hold_out = HoldOut(problems, min_gain_se, around.n_folds) if validates else None
    with trained_part(model, settings.tuning, around.seed) as part:
        config = processes.from_first(
            lambda: loop_config(batches, settings, measured.get("config"), validates=validates)
        )
        finish = around.finish_seconds
        budget = time_budget(
            batches, hold_out, settings, config, around.timer, finish, around.parts
        )
        for problem in problems:
            problem.table.deal = processes.deal
        training = _Training(model, part, batches, hold_out, config, settings, processes)
        rate = measured.get("rate") or training.choose_rate(budget)
        callbacks = [*_callbacks(settings, budget, validates=validates), *around.callbacks]
        own = processes.for_first(settings.callbacks)
        earlier = None if saved is None else saved["state"]
        state = training.run(rate, [*callbacks, *own], around, earlier)
    return processes.on_first(
        lambda: _concluded(state, part, hold_out, budget, rate),
        elsewhere=Trained.untouched(state.stop_reason or ""),
    )


def _concluded(
    state: TrainState,
    part: TrainedPart,
    hold_out: HoldOut | None,
    budget: TimeBudget | None,
    rate: float,
) -> Trained:
    """Return what a training came to; what fails only now must not cost it."""
    try:
        return trained(state, part, hold_out, budget, rate)
    except Exception as error:  # a scorer's
        state.error = error
    except KeyboardInterrupt:
        state.stop_reason = str(StopReason.INTERRUPTED)
    return trained(state, part, hold_out, budget, rate, as_scored=True)


@dataclass(frozen=True)
class _Training:
    """What the runs of a fine-tuning share: the one that counts and those that try a rate."""

    model: nn.Module
    part: TrainedPart
    batches: RoundRobin
    hold_out: HoldOut | None
    config: TrainConfig
    settings: Settings
    processes: Alone = ALONE

    def measured(self, rate: float) -> dict[str, Any]:
        """Return what was measured or tried out, so that a resumed run need not do so again."""
        config = {name: getattr(self.config, name) for name in ("precision", "eval_interval")}
        return {"rate": rate, "config": config, "batches": self.batches.settings}

    def run(
        self,
        rate: float,
        callbacks: Sequence[object],
        around: Surroundings | None = None,
        saved: dict[str, Any] | None = None,
    ) -> TrainState:
        """Train with a learning rate, from the base or from a state that was saved.

        Raises what ended the training only where nothing better than the base would be lost;
        else it is in the state.
        """
        # what a task does not use of the network gets no gradient and stays as it is
        optimizer = AdamW(
            self.part.parameters,
            rate,
            weight_decay=self.settings.training.weight_decay,
            fused=True if self.part.parameters[0].is_cuda else None,
        )
        state = new_state(self.model) if saved is None else unpack(saved, self.model, optimizer)
        state.fold = 0 if around is None else around.fold
        if saved is not None and is_over(saved):
            return state
        checkpoints = FoldCheckpoints() if around is None else around.checkpoints
        keeper = checkpoints.callbacks(optimizer, lambda: self.measured(rate))
        try:
            return self.processes.train(
                self.model,
                optimizer,
                batches=self.batches,
                loss_fn=_tabpfn.loss_of,
                evaluate=self.hold_out,
                config=self.config,
                callbacks=[*self.part.callbacks, *callbacks],
                writers=keeper,
                state=state,
            )
        except Exception:
            if not state.best_evaluation:
                raise
            return state

    def choose_rate(self, budget: TimeBudget | None) -> float:
        """Return the learning rate that is asked for, or that network and rows suggest."""
        usual = _defaults.learning_rate(
            sum(weight.numel() for weight in self.model.parameters()),
            sum(part.table.n_rows for part in self.batches.parts),
        )
        if self.settings.learning_rate != "auto":
            return float(self.settings.learning_rate or usual)
        return self._probe_rates(usual, budget)

    def _probe_rates(self, usual: float, budget: TimeBudget | None) -> float:
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
            if state.stop_reason == StopReason.INTERRUPTED:
                raise KeyboardInterrupt
            if state.stop_reason != StopReason.MAX_STEPS or state.steps_since_validation:
                continue
            found = state.last
            assert found is not None
            assert self.hold_out is not None
            logger.info("learning rate %.3g scores %.5g", rate, found.score)
            if best is None or self.hold_out.comparison.clearly(found, best, self.config.min_delta):
                chosen, best = rate, found
        logger.info("learning rate: %.3g", chosen)
        return chosen


def loop_config(
    batches: RoundRobin,
    settings: Settings,
    measured: dict[str, Any] | None = None,
    *,
    validates: bool = True,
) -> TrainConfig:
    """Return the settings of the loop, those of a resumed run as they were measured then."""
    table = batches.parts[0].table
    size = sum(weight.numel() for weight in table.network.parameters())
    decided = measured or {
        "precision": _defaults.precision(settings.precision, table.device, size),
        "eval_interval": _defaults.eval_interval(
            settings.eval_interval,
            step_rows=batches.step_rows,
            validation_rows=sum(part.table.validation_rows for part in batches.parts),
        ),
    }
    config = TrainConfig(
        **decided,
        min_delta=settings.training.min_delta,
        max_grad_norm=settings.training.max_grad_norm,
        ema_decay=settings.training.ema_decay,
        plateau_patience=settings.training.plateau_patience,
        schedule=partial(constant_after_warmup, warmup_steps=settings.training.warmup_steps),
    )
    # without scores there is no plateau
    return config if validates else replace(config, plateau_patience=0)


def most_steps(settings: Settings) -> int:
    """Return how many steps a training makes at most, those that try learning rates among them."""
    trials = len(PROBED_RATES) + 1 if settings.learning_rate == "auto" else 0
    return settings.max_steps + trials * PROBE_STEPS


def _callbacks(settings: Settings, budget: TimeBudget | None, *, validates: bool) -> list[object]:
    """Return the callbacks of the loop that the settings ask for."""
    callbacks: list[object] = [DivergenceGuard(), MaxSteps(settings.max_steps)]
    if budget is not None:
        callbacks.append(budget)
    if validates and settings.patience is not None:
        callbacks.append(EarlyStopping(settings.patience))
    return callbacks
