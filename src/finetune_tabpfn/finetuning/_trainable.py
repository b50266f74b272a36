"""Which weights a fine-tuning trains: all, a part of the network, or adapters beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from finetune_tabpfn._parameters import Parameters
from finetune_tabpfn._tabpfn import only_trained
from finetune_tabpfn.finetuning._lora import Adapter, adapted
from finetune_tabpfn.training._loop import Callback, Weights


class TrainedPart(Protocol):
    """What is trained of a network."""

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Return what an optimizer trains."""
        ...

    @property
    def guests(self) -> Sequence[Callback]:
        """Return the guests of the loop that the way of tuning needs."""
        ...

    def plain(self, weights: Weights) -> Weights:
        """Return the weights of the network itself, from those of the network in training."""
        ...

    def adapter(self, weights: Weights) -> Adapter | None:
        """Return the adapter among the weights of the network in training, if there is one."""
        ...


@dataclass(frozen=True)
class OwnWeights:
    """Some or all of the network's own weights are trained."""

    parameters: list[nn.Parameter]
    guests: Sequence[Callback] = ()

    def plain(self, weights: Weights) -> Weights:
        """Return them as they are."""
        return weights

    def adapter(self, weights: Weights) -> None:
        """There is none."""


@contextmanager
def trained_part(model: nn.Module, parameters: Parameters, seed: int) -> Iterator[TrainedPart]:
    """Prepare a network for a way of tuning and restore it afterwards."""
    if parameters.tuning == "lora":
        rank, alpha = parameters.lora_rank, parameters.lora_alpha
        with adapted(model, rank, alpha, parameters.lora_dropout, seed) as part:
            yield part
    else:
        with only_trained(model, parameters.tuning) as weights:
            yield OwnWeights(weights)
