"""From the prior to what a step of pretraining sees."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from finetune_tabpfn import _tabpfn
from finetune_tabpfn._losses import IGNORED, Distribution, Targets
from finetune_tabpfn._tasks import Classification, Kind, Regression
from finetune_tabpfn.pretraining._prior import Prior

MIN_ROWS, MIN_COLUMNS = 64, 2
ROWS_PER_COLUMN = 4  # a table with fewer has little to teach
FIRST_VALIDATION = 2**40  # a number of a step that no training reaches
LOSS_NAMES = {"classification": Classification.loss, "regression": Regression.loss}
DENSE_CODES = 0.5  # of the tables have classes 0 ... K-1, as at prediction


@dataclass(frozen=True)
class Stage:
    """What a step holds, until a share of the run is over: small tables first."""

    until: float
    max_rows: int
    passes: int  # more, as a pass holds fewer of the larger tables


STAGES = (
    Stage(0.4, 192, 4),
    Stage(0.75, 384, 6),
    Stage(0.95, 768, 10),
    Stage(1.0, 2048, 12),
)


@dataclass(frozen=True)
class Shape:
    """Sizes of the tables of one forward pass."""

    tables: int
    rows: int
    columns: int
    context: int


def stage_at(progress: float) -> Stage:
    """Return the stage at a share of the run."""
    return next(stage for stage in STAGES if progress <= stage.until)


def draw_shape(
    rng: np.random.Generator, stage: Stage, max_columns: int, cells_per_pass: int
) -> Shape:
    """Draw the sizes of a pass.

    Parameters
    ----------
    rng : numpy.random.Generator
    stage : Stage
    max_columns : int
    cells_per_pass : int
        What a pass may cost, in cells of all its tables.
    """
    rows = _log_uniform(rng, MIN_ROWS, stage.max_rows)
    widest = max(MIN_COLUMNS, min(max_columns, rows // ROWS_PER_COLUMN))
    draw_columns = _log_uniform if rng.random() < 0.5 else _uniform  # narrow ones, wide ones
    columns = draw_columns(rng, MIN_COLUMNS, widest)
    context = int(rows * rng.uniform(0.4, 0.85))
    # the network spends as much on a row as on some six columns
    tables = max(1, min(64, round(cells_per_pass / (rows * (columns + 6)))))
    return Shape(tables, rows, columns, context)


def _log_uniform(rng: np.random.Generator, low: int, high: int) -> int:
    return round(math.exp(rng.uniform(math.log(low), math.log(high))))


def _uniform(rng: np.random.Generator, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


class PriorBatches:
    """Fresh tables for every pass of every step, a function of the seed and the step alone.

    Parameters
    ----------
    prior : Prior
    kind : {"classification", "regression"}
    n_codes : int
        Class codes that the network knows.
    progress : callable
        From a step to the share of the run that is over before it.
    max_columns, cells_per_pass : int
    seed : int
    device : torch.device
    distribution : callable, optional
        Of a real-valued target.
    """

    def __init__(
        self,
        prior: Prior,
        kind: Kind,
        *,
        n_codes: int,
        progress: Callable[[int], float],
        max_columns: int,
        cells_per_pass: int,
        seed: int,
        device: torch.device,
        distribution: Distribution | None = None,
    ) -> None:
        self.distribution = distribution
        self.prior, self.kind, self.n_codes = prior, kind, n_codes
        self.progress, self.seed, self.device = progress, seed, device
        self.max_columns, self.cells_per_pass = max_columns, cells_per_pass

    def __call__(self, step: int) -> Iterator[tuple[float, _tabpfn.Batch]]:
        """Yield the passes of one update."""
        stage = stage_at(self.progress(step))
        for n in range(stage.passes):
            yield 1 / stage.passes, self.draw(step, n, stage)

    def shrink(self) -> str | None:
        """Ask less memory of the next pass."""
        if self.cells_per_pass < 1000:
            return None
        self.cells_per_pass //= 2
        return f"a pass now holds {self.cells_per_pass} cells"

    def draw(self, step: int, n: int, stage: Stage) -> _tabpfn.Batch:
        """Draw the tables of one pass and split each into context and query rows."""
        rng = np.random.default_rng((self.seed, step, n))
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
        shape = draw_shape(rng, stage, self.max_columns, self.cells_per_pass)
        tables = self.prior(shape.tables, shape.rows, shape.columns, generator)
        y = tables.y
        context, query = y[: shape.context], y[shape.context :]
        if self.kind == "classification":
            context, query = self._recode(context, query, generator)
        else:
            context, query = _standardise(context, query)
        return _tabpfn.Batch(
            x=tables.x,
            targets=Targets(context, query, distribution=self.distribution),
            categorical=[[]] * shape.tables,
            kind=self.kind,
            loss_name=LOSS_NAMES[self.kind],
        )

    def _recode(
        self, context: torch.Tensor, query: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Give the classes of each context codes of their own; ask only for those.

        Half of the tables get codes 0 ... K-1, as at prediction, in random order. The others
        get any codes that the network knows, so that the high ones are trained by tables of few
        classes too.
        """
        n_tables, device = context.shape[1], context.device
        present = torch.zeros(n_tables, self.n_codes, dtype=torch.bool, device=device)
        present.scatter_(1, context.T.long(), True)
        order = torch.rand(present.shape, generator=generator, device=device)
        ranks = order.masked_fill(~present, 2.0).argsort(dim=1).argsort(dim=1)
        anywhere = order.argsort(dim=1).argsort(dim=1)
        dense = torch.rand(n_tables, 1, generator=generator, device=device) < DENSE_CODES
        codes = torch.where(dense, ranks, anywhere).masked_fill(~present, IGNORED).float()
        return codes.gather(1, context.T.long()).T, codes.gather(1, query.T.long()).T


def _standardise(context: torch.Tensor, query: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Standardise targets by their context, as TabPFN does at prediction."""
    mean, std = context.mean(dim=0), context.std(dim=0, unbiased=False).clamp(min=1e-3)
    return (context - mean) / std, ((query - mean) / std).clamp(-50, 50)


class Validation:
    """The same tables at every evaluation, from a seed that training never uses."""

    def __init__(self, batches: PriorBatches, passes: int) -> None:
        self.tables = [
            batches.draw(FIRST_VALIDATION, n, stage_at(n / passes)) for n in range(passes)
        ]

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> float:
        """Return the negative mean loss: greater is better."""
        return -float(np.mean([float(batch.loss(model)) for batch in self.tables]))
