"""Muon for the matrices of the blocks, AdamW for the rest, as one optimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class MuonAdamW(torch.optim.Optimizer):
    """Muon on two-dimensional weights of the blocks, AdamW on everything else.

    Muon (Jordan et al. 2024) orthogonalises the momentum of a matrix; scaled to AdamW's size
    (Liu et al. 2025, "Muon is scalable for LLM training"). Embeddings, norms, biases and heads
    stay with AdamW.

    Parameters
    ----------
    model : torch.nn.Module
    muon_lr, adamw_lr : float
        Peak learning rates.
    weight_decay : float
    """

    def __init__(
        self, model: nn.Module, *, muon_lr: float, adamw_lr: float, weight_decay: float
    ) -> None:
        if not hasattr(torch.optim, "Muon"):
            raise ImportError(
                f"Pretraining needs torch 2.9 or newer for Muon, not {torch.__version__}."
            )
        matrices: list[nn.Parameter] = []
        rest: list[nn.Parameter] = []
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                inner = parameter.ndim == 2 and ("blocks." in name or ".layers." in name)
                (matrices if inner else rest).append(parameter)
        self.parts = [
            torch.optim.Muon(
                matrices, lr=muon_lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
            ),
            torch.optim.AdamW(rest, lr=adamw_lr, weight_decay=weight_decay, betas=(0.9, 0.98)),
        ]
        super().__init__([{"params": matrices}, {"params": rest}], {})
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Make one update."""
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the states of both."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the states of both."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]
