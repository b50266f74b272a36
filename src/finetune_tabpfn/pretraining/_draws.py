"""Random draws for a batch of tables of equal shape, all from one generator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import torch

T = TypeVar("T")


class Draws:
    """Draws for `tables` tables of `rows` rows.

    Scalars (`chance`, `pick`, `integer`, `uniform`) are shared by the batch; tensors have a
    leading axis over its tables.

    Parameters
    ----------
    tables, rows : int
    generator : torch.Generator
        Also decides the device.
    """

    def __init__(self, tables: int, rows: int, generator: torch.Generator) -> None:
        self.tables, self.rows, self.generator = tables, rows, generator
        self.device = generator.device

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Draw a number between `low` and `high`."""
        value = torch.rand((), generator=self.generator, device=self.device)
        return low + (high - low) * float(value)

    def chance(self, probability: float) -> bool:
        """Draw whether something of this probability happens."""
        return self.uniform() < probability

    def integer(self, low: int, high: int) -> int:
        """Draw a whole number from `low` to `high`, both included."""
        return min(high, low + int(self.uniform() * (high - low + 1)))

    def log_uniform(self, low: float, high: float) -> float:
        """Draw a number whose logarithm is uniform."""
        return math.exp(self.uniform(math.log(low), math.log(high)))

    def pick(self, options: Sequence[T], weights: Sequence[float]) -> T:
        """Draw one of several things."""
        point, total = self.uniform() * sum(weights), 0.0
        for option, weight in zip(options, weights, strict=True):
            total += weight
            if point < total:
                return option
        return options[-1]

    def random(self, *shape: int) -> torch.Tensor:
        """Draw uniform numbers in [0, 1), shape (B, *shape)."""
        return torch.rand(self.tables, *shape, generator=self.generator, device=self.device)

    def normal(self, *shape: int) -> torch.Tensor:
        """Draw standard normal numbers, shape (B, *shape)."""
        return torch.randn(self.tables, *shape, generator=self.generator, device=self.device)

    def mask(self, *shape: int, share: float) -> torch.Tensor:
        """Draw ones for about a share of the entries, else zeros, shape (B, *shape)."""
        return (self.random(*shape) < share).float()

    def table_log_uniform(self, low: float, high: float) -> torch.Tensor:
        """Draw a number per table whose logarithm is uniform, shape (B, 1, 1)."""
        span = math.log(high / low)
        return low * (span * self.random(1, 1)).exp()

    def choice(
        self, n: int, shape: Sequence[int], weights: Sequence[float] | None = None
    ) -> torch.Tensor:
        """Draw whole numbers below `n`, shape (B, *shape)."""
        uniform = self.random(*shape)
        if weights is None:
            return (uniform * n).long().clamp(max=n - 1)
        edges = torch.tensor(weights, device=self.device).cumsum(0)[:-1]
        return torch.bucketize(uniform, edges)

    def shares(self, n: int, evenness: float) -> torch.Tensor:
        """Draw positive shares that add to one, shape (B, n); more even for large `evenness`."""
        # a gamma variable of shape k is near a power of a normal one (Wilson and Hilferty 1931)
        spread = 1 / (3 * math.sqrt(evenness))
        weights = (1 - spread**2 + spread * self.normal(n)).clamp(min=0.1) ** 3
        return weights / weights.sum(1, keepdim=True)

    def labels(self, shares: torch.Tensor) -> torch.Tensor:
        """Draw a label for every row with the given shares (B, n), shape (B, R)."""
        edges = shares.cumsum(1)[:, :-1].contiguous()
        return torch.searchsorted(edges, self.random(self.rows))


def standardise(columns: torch.Tensor) -> torch.Tensor:
    """Return columns (B, R, C) with mean 0 and standard deviation 1 over the rows."""
    centred = columns - columns.mean(dim=1, keepdim=True)
    return centred / centred.square().mean(dim=1, keepdim=True).sqrt().clamp(min=1e-6)


def quantile_codes(draws: Draws, columns: torch.Tensor, most: int) -> torch.Tensor:
    """Return the place of each value among random cut points of its column, 0 ... most - 1."""
    n_columns = columns.shape[2]
    rows = draws.choice(columns.shape[1], (most - 1, n_columns))
    cuts = columns.gather(1, rows)  # (B, most - 1, C): values of random rows, so quantiles
    used = torch.arange(most - 1, device=draws.device)[:, None] < 1 + draws.choice(
        most - 1, (1, n_columns)
    )
    cuts = torch.where(used, cuts, torch.inf)
    return (columns[:, :, None] > cuts[:, None]).sum(2).float()


def level_effects(draws: Draws, columns: torch.Tensor, most: int) -> torch.Tensor:
    """Cut columns (B, R, C) into up to `most` levels, most of them rare; returns their effects."""
    n_columns = columns.shape[2]
    evenness = draws.table_log_uniform(1.0, 4.0)
    edges = (draws.random(n_columns, most - 1) ** evenness).sort(dim=2).values
    ranks = columns.argsort(dim=1).argsort(dim=1) / draws.rows
    levels = torch.searchsorted(edges, ranks.transpose(1, 2).contiguous())
    return draws.normal(n_columns, most).gather(2, levels).transpose(1, 2)


def among(weights: Sequence[float], *shares: float) -> list[float]:
    """Return shares of the whole, and weights that are reduced to what the shares leave."""
    left = max(0.0, 1 - sum(shares))
    return [*shares, *(left * weight for weight in weights)]
