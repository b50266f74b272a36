"""What training minimises: the loss of a forward pass, by its name.

Shape letters: N context rows, Q query rows, B splits in one forward pass, L outputs of the network
(classes or buckets).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

IGNORED = -100  # target of a query row that no loss is taken of, as in torch's cross-entropy
# of a target's distribution: (logits (..., L), targets (...)) to negative log densities (...)
Distribution = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Targets:
    """Targets of the splits of a pass.

    Attributes
    ----------
    context : Tensor of shape (N, B)
    query : Tensor of shape (Q, B)
    weight : Tensor of shape (Q, B), optional
        Of the query rows.
    distribution : callable, optional
        Of a real-valued target: TabPFN's bar distribution over the standardised target.
    """

    context: torch.Tensor
    query: torch.Tensor
    weight: torch.Tensor | None = None
    distribution: Distribution | None = None


Loss = Callable[[torch.Tensor, Targets], torch.Tensor]


def cross_entropy(logits: torch.Tensor, targets: Targets) -> torch.Tensor:
    """Return the mean over splits of the cross-entropy over the classes of the context, a scalar.

    Parameters
    ----------
    logits : Tensor of shape (Q, B, L)
    targets : Targets
        Codes of classes; query rows that are `IGNORED` do not count.
    """
    absent = torch.ones(logits.shape[1:], dtype=torch.bool, device=logits.device)  # (B, L)
    absent.scatter_(1, targets.context.T.long(), False)
    losses = functional.cross_entropy(
        logits.float().masked_fill(absent, -torch.inf).movedim(-1, 1),
        targets.query.long(),
        ignore_index=IGNORED,
        reduction="none",
    )  # (Q, B)
    answered = (targets.query != IGNORED).float()
    return _mean_over_splits(
        losses, answered if targets.weight is None else answered * targets.weight
    )


def negative_log_density(logits: torch.Tensor, targets: Targets) -> torch.Tensor:
    """Return the mean negative log density of the query targets, a scalar.

    Parameters
    ----------
    logits : Tensor of shape (Q, B, L)
    targets : Targets
        With a distribution.
    """
    assert targets.distribution is not None
    losses = targets.distribution(logits.float(), targets.query)
    return losses.mean() if targets.weight is None else _mean_over_splits(losses, targets.weight)


LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "negative_log_density": negative_log_density,
}


def _mean_over_splits(losses: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the mean over splits of the weighted means over rows, of losses (Q, B)."""
    totals = weight.sum(0)
    return ((losses * weight).sum(0) / totals.where(totals > 0, 1.0)).mean()
