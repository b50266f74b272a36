"""What outlives a step of training: weights, scores, history."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import nn

Weights = dict[str, torch.Tensor]
# of a step: (share of the update, loss) for each of its passes, and the norm of the gradient
UnreadStep = tuple[list[tuple[float, torch.Tensor]], torch.Tensor]


@dataclass(frozen=True)
class Evaluation:
    """What a hold-out says of a model: the score that decides, and more that is only recorded.

    `predictions` are arrays that `evaluate` wants to find again with the base and the best
    evaluation.
    """

    score: float
    metrics: dict[str, float] = field(default_factory=dict)
    predictions: Sequence[Any] = ()


@dataclass(frozen=True)
class HistoryRow:
    """One row of the history. Evaluation 0 has no train loss (NaN) and no learning rate (0)."""

    evaluation: int
    step: int
    seconds: float
    train_loss: float
    score: float
    learning_rate: float
    metrics: dict[str, float] = field(default_factory=dict)

    NAMES: ClassVar = ("evaluation", "step", "seconds", "train_loss", "score", "learning_rate")

    def flat(self) -> dict[str, float]:
        """Return numbers by name, metrics among them."""
        return {name: getattr(self, name) for name in self.NAMES} | self.metrics


@dataclass
class TrainState:
    """Everything that outlives a step. A score is better when it is greater."""

    model: nn.Module
    fold: int = 0  # of several trainings of one fit
    step: int = 0
    step_rows: float = math.nan  # that a step sends through the model, if the batches tell
    seconds_left: float = math.inf  # for more steps and evaluations, as the time budget says
    learning_rate: float = 0.0
    history: list[HistoryRow] = field(default_factory=list)
    base_weights: Weights = field(default_factory=dict)
    best_weights: Weights = field(default_factory=dict)
    base: Evaluation | None = None
    best: Evaluation | None = None
    last: Evaluation | None = None
    best_evaluation: int = 0
    best_step: int = 0
    last_reduction: int = 0  # the last one after which the run went back
    rate_share: float = 1.0  # of the learning rate, a third of it after every plateau
    step_seconds: list[float] = field(default_factory=list)  # as far as they were measured
    validation_seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)  # of every step, as far as they were read
    grad_norms: list[float] = field(default_factory=list)  # likewise
    unread: list[UnreadStep] = field(default_factory=list)  # what the device still has
    ema_weights: list[torch.Tensor] = field(default_factory=list)  # of the trained parameters
    scaler: torch.amp.GradScaler | None = None
    stop_reason: str | None = None
    error: Exception | None = None  # what ended the run, if it was none of what it copes with

    @property
    def base_score(self) -> float:
        """Score of evaluation 0, the untouched model; NaN when it was never scored."""
        return math.nan if self.base is None else self.base.score

    @property
    def best_score(self) -> float:
        """Score of the best evaluation; NaN when nothing was scored."""
        return math.nan if self.best is None else self.best.score

    @property
    def train_loss(self) -> float:
        """Loss of the last step; NaN before the first one."""
        self.read_losses()
        return self.losses[-1] if self.losses else math.nan

    @property
    def grad_norm(self) -> float:
        """Norm of the last step's gradient before it was clipped; NaN before the first one."""
        self.read_losses()
        return self.grad_norms[-1] if self.grad_norms else math.nan

    def read_losses(self) -> None:
        """Take the losses and gradient norms that are still on the device, which it waits for."""
        owed, self.unread = self.unread, []
        for passes, norm in owed:
            self.losses.append(sum(share * loss.item() for share, loss in passes))
            self.grad_norms.append(norm.item())

    @property
    def seconds(self) -> float:
        """Seconds of training up to the last evaluation."""
        return self.history[-1].seconds if self.history else 0.0

    @property
    def steps_since_validation(self) -> int:
        """Updates that no score speaks for yet."""
        return self.step - (self.history[-1].step if self.history else 0)


def new_state(model: nn.Module) -> TrainState:
    """Return the state of a run that has not begun."""
    base = copy_weights(model)
    return TrainState(model=model, base_weights=base, best_weights=base)


def swap(ema_weights: list[torch.Tensor], parameters: list[nn.Parameter]) -> None:
    """Let weights and their moving average, in the same order, change places, if there is one."""
    for average, weight in zip(ema_weights, parameters, strict=False):
        average.data, weight.data = weight.data, average.data


def improves(score: float, best: float, min_delta: float) -> bool:
    """Tell whether `score` beats `best` by more than the share `min_delta` of its size."""
    return score > best + min_delta * abs(best)


def copy_weights(model: nn.Module) -> Weights:
    """Return a copy of the model's state that later updates leave alone."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def mix_weights(first: Weights, second: Weights, share: float) -> Weights:
    """Return ``(1 - share) * first + share * second``; integer tensors come from `first`."""
    return {
        name: torch.lerp(tensor, second[name], share) if tensor.is_floating_point() else tensor
        for name, tensor in first.items()
    }


def mean_weights(several: Sequence[Weights]) -> Weights:
    """Return the mean of weights of one network; integer tensors come from the first.

    Source: Wortsman et al., Model soups, ICML 2022: networks that were fine-tuned from one base lie
    in one basin, where their mean predicts about what the mean of their predictions is.
    """
    first = several[0]
    if len(several) == 1:
        return first
    return {
        name: torch.stack([its[name] for its in several]).mean(0)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in first.items()
    }
