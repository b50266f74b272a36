"""Which weights a fine-tuning trains: all, a part of the network, or adapters beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from finetune_tabpfn._tabpfn import only_trained
from finetune_tabpfn.finetuning._lora import Adapter, adapted
from finetune_tabpfn.finetuning._settings import LoRA
from finetune_tabpfn.training._callbacks import Callback
from finetune_tabpfn.training._state import Weights


class TrainedPart(Protocol):
    """What is trained of a network."""

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Return what an optimizer trains."""
        ...

    @property
    def callbacks(self) -> Sequence[Callback]:
        """Return the callbacks of the loop that the way of tuning needs."""
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
    callbacks: Sequence[Callback] = ()

    def plain(self, weights: Weights) -> Weights:
        """Return them as they are."""
        return weights

    def adapter(self, weights: Weights) -> None:
        """There is none."""


@contextmanager
def trained_part(model: nn.Module, tuning: Any, seed: int) -> Iterator[TrainedPart]:
    """Prepare a network for a way of tuning and restore it afterwards.

    Parameters
    ----------
    model : torch.nn.Module
    tuning : str, LoRA or peft.LoraConfig
        "full", "last_layers", "head", "norm" or "lora".
    seed : int
    """
    if tuning == "lora":
        tuning = LoRA()
    if isinstance(tuning, str):
        with only_trained(model, tuning) as weights:
            yield OwnWeights(weights)
    else:
        with adapted(model, tuning, seed) as part:
            yield part
