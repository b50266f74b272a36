"""What a pass of training sends through the network, and the loss that is taken of it.

Shape letters: N context rows of a split, Q query rows, B splits in a pass, C columns after
preprocessing, L outputs of the network.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from finetune_tabpfn._losses import LOSSES, Targets
from finetune_tabpfn._tabpfn._network import forward
from finetune_tabpfn._tasks import Kind


@dataclass(frozen=True)
class Batch:
    """The splits of one forward pass, and how their loss is taken."""

    x: torch.Tensor  # (N + Q, B, C)
    targets: Targets  # (N, B) and (Q, B)
    categorical: list[list[int]]
    kind: Kind
    loss_name: str  # among `LOSSES`
    temperature: float = 1.0  # that prediction divides by: the loss sees what is deployed
    offset: torch.Tensor | None = None  # (B, n_classes) to add to the logits
    recompute: bool = False  # activations in the backward pass instead of keeping them

    def forward(self, model: nn.Module) -> torch.Tensor:
        """Run a network in training, with a graph; returns logits (Q, B, L) in float32."""
        return forward(
            model,
            self.x,
            self.targets.context,
            categorical=self.categorical,
            kind=self.kind,
            use_chunkwise_inference=False,
            force_recompute_layer=self.recompute,
        ).float()

    def loss(self, model: nn.Module) -> torch.Tensor:
        """Return the loss of a network, a scalar with a graph."""
        logits = self.forward(model) / self.temperature
        if self.offset is not None:
            beyond = logits.shape[-1] - self.offset.shape[-1]
            logits = logits + nn.functional.pad(self.offset, (0, beyond))
        return LOSSES[self.loss_name](logits, self.targets)


def loss_of(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Return the loss of a network on a batch, as the training loop asks for it."""
    return batch.loss(model)
