"""From the prior to what a step of pretraining sees, drawn beside the training if wanted."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from finetune_tabpfn import _tabpfn
from finetune_tabpfn._losses import IGNORED, Distribution, Targets
from finetune_tabpfn._tasks import Classification, Kind, Regression
from finetune_tabpfn.pretraining._config import MIN_COLUMNS, MIN_ROWS, Stage
from finetune_tabpfn.pretraining._prior import Prior

ROWS_PER_COLUMN = 4  # a table with fewer has little to teach
COLUMNS_PER_ROW = 6  # the network spends as much on a row as on some six columns
MOST_TABLES = 768  # of a pass
FIRST_VALIDATION = 2**40  # a number of a step that no training reaches
VALIDATION_CELLS = 60_000  # of a pass, at most: it has no need to fill a GPU
LOSS_NAMES = {"classification": Classification.loss, "regression": Regression.loss}
DENSE_CODES = 0.5  # of the tables have classes 0 ... K-1, as at prediction
DRAWN_AHEAD = 3  # passes for each worker

Cells = npt.NDArray[np.float32]


class Pass(NamedTuple):
    """One forward pass of a step; with the seed it decides the tables."""

    step: int
    number: int
    passes: int  # of the step
    max_rows: int
    cells: int


@dataclass(frozen=True)
class Shape:
    """Sizes of the tables of one forward pass."""

    tables: int
    rows: int
    columns: int
    context: int

    @property
    def cost(self) -> int:
        """Cells, as far as they cost time."""
        return self.tables * self.rows * (self.columns + COLUMNS_PER_ROW)


def draw_shape(rng: np.random.Generator, which: Pass, max_columns: int) -> Shape:
    """Draw the sizes of a pass, within the cells that it may cost."""
    rows = _log_uniform(rng, MIN_ROWS, which.max_rows)
    widest = max(MIN_COLUMNS, min(max_columns, rows // ROWS_PER_COLUMN))
    draw_columns = _log_uniform if rng.random() < 0.5 else _uniform  # narrow ones, wide ones
    columns = draw_columns(rng, MIN_COLUMNS, widest)
    context = int(rows * rng.uniform(0.4, 0.85))
    tables = round(which.cells / (rows * (columns + COLUMNS_PER_ROW)))
    return Shape(max(1, min(MOST_TABLES, tables)), rows, columns, context)


def _log_uniform(rng: np.random.Generator, low: int, high: int) -> int:
    return round(math.exp(rng.uniform(math.log(low), math.log(high))))


def _uniform(rng: np.random.Generator, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


class Drawn(NamedTuple):
    """The tables of a pass, as arrays: these pass between processes without shared memory."""

    which: Pass
    x: Cells  # (rows, tables, columns)
    context: Cells  # (context rows, tables)
    query: Cells  # (other rows, tables)


@dataclass(frozen=True)
class PriorTables(Dataset[Drawn]):
    """The tables of every pass, a function of the seed and the pass alone.

    Parameters
    ----------
    prior : Prior
    kind : {"classification", "regression"}
    n_codes : int
        Class codes that the network knows.
    max_columns : int
    seed : int
    tables_per_world : int
        Tables that one call of the prior draws at most.
    """

    prior: Prior
    kind: Kind
    n_codes: int
    max_columns: int
    seed: int
    tables_per_world: int = 64

    def __getitem__(self, which: Pass) -> Drawn:
        """Draw the tables of one pass and split each into context and query rows."""
        rng = self._rng(which)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        shape = draw_shape(rng, which, self.max_columns)
        with _one_thread():
            x, y = self._worlds(shape, generator)
            context, query = y[: shape.context], y[shape.context :]
            if self.kind == "classification":
                context, query = self._recode(context, query, generator)
            else:
                context, query = _standardise(context, query)
        # copies: at its end a worker must not be left with memory that torch has to free
        return Drawn(which, *(tensor.numpy().copy() for tensor in (x, context, query)))

    def cost(self, which: Pass) -> int:
        """Return what a pass will cost, in cells, without drawing its tables."""
        rng = self._rng(which)
        rng.integers(2**62)
        return draw_shape(rng, which, self.max_columns).cost

    def _rng(self, which: Pass) -> np.random.Generator:
        return np.random.default_rng((self.seed, which.step, which.number))

    def _worlds(
        self, shape: Shape, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw the tables of a pass, of as many worlds as it takes."""
        drawn = []
        for first in range(0, shape.tables, self.tables_per_world):
            together = min(self.tables_per_world, shape.tables - first)
            drawn.append(self.prior(together, shape.rows, shape.columns, generator))
        x, y = (torch.cat(parts, dim=1) for parts in zip(*((t.x, t.y) for t in drawn), strict=True))
        return x, y

    def _recode(
        self, context: torch.Tensor, query: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Give the classes of each context codes of their own; ask only for those.

        Half of the tables get codes 0 ... K-1, as at prediction, in random order. The others
        get any codes that the network knows, so that the high ones are trained by tables of few
        classes too.
        """
        n_tables = context.shape[1]
        present = torch.zeros(n_tables, self.n_codes, dtype=torch.bool)
        present.scatter_(1, context.T.long(), True)
        order = torch.rand(present.shape, generator=generator)
        ranks = order.masked_fill(~present, 2.0).argsort(dim=1).argsort(dim=1)
        anywhere = order.argsort(dim=1).argsort(dim=1)
        dense = torch.rand(n_tables, 1, generator=generator) < DENSE_CODES
        codes = torch.where(dense, ranks, anywhere).masked_fill(~present, IGNORED).float()
        return codes.gather(1, context.T.long()).T, codes.gather(1, query.T.long()).T


def _standardise(context: torch.Tensor, query: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Standardise targets by their context, as TabPFN does at prediction."""
    mean, std = context.mean(dim=0), context.std(dim=0, unbiased=False).clamp(min=1e-3)
    return (context - mean) / std, ((query - mean) / std).clamp(-50, 50)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute with one thread, as a worker does: sums of several may differ in the last bit."""
    threads = torch.get_num_threads()
    if threads > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if threads > 1:
            torch.set_num_threads(threads)


class Plan:
    """The passes in the order in which they are trained on; can be set back.

    It is asked as far ahead as workers draw.

    Parameters
    ----------
    stage : callable
        From a step to its stage.
    cells : int
        What a pass may cost.
    """

    def __init__(self, stage: Callable[[int], Stage], cells: int) -> None:
        self.stage, self.cells = stage, cells
        self.turn_to(0)

    def turn_to(self, step: int) -> None:
        """Go on with the first pass of a step."""
        self._step = step
        self._passes: list[Pass] = []

    def of_step(self, step: int) -> list[Pass]:
        """Return the passes of a step, as they would be planned now."""
        stage = self.stage(step)
        numbers = range(stage.passes)
        return [Pass(step, n, stage.passes, stage.max_rows, self.cells) for n in numbers]

    def __iter__(self) -> Iterator[Pass]:
        return self

    def __next__(self) -> Pass:
        if not self._passes:
            self._passes = self.of_step(self._step)
            self._step += 1
        return self._passes.pop(0)


class PriorBatches:
    """Fresh tables for every pass of every step, drawn in the order of a plan.

    Parameters
    ----------
    tables : PriorTables
    stage : callable
        From a step to its stage.
    cells_per_pass : int
    device : torch.device
        Where the tables are wanted; they are drawn on the CPU, the same for every device.
    distribution : callable, optional
        Of a real-valued target.
    workers : int
        Processes that draw tables beside the training; 0: it draws them itself. They run until
        `close`.
    clock : callable
        Seconds, monotonic.

    Attributes
    ----------
    n_tables, n_cells : int
        That were given to the training.
    waited : float
        Seconds for which the training had to wait for them.
    """

    def __init__(
        self,
        tables: PriorTables,
        stage: Callable[[int], Stage],
        *,
        cells_per_pass: int,
        device: torch.device,
        distribution: Distribution | None = None,
        workers: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tables, self.device, self.distribution = tables, device, distribution
        self.plan, self.workers, self.clock = Plan(stage, cells_per_pass), workers, clock
        self.n_tables, self.n_cells, self.waited = 0, 0, 0.0
        self._upcoming = (-1, 0)  # step and number of the pass after the last one; none yet
        self._stream: Iterator[Drawn] | None = None

    def __call__(self, step: int) -> Iterator[tuple[float, _tabpfn.Batch]]:
        """Yield the passes of one update."""
        if self._upcoming != (step, 0):
            self.begin(step)
        while self._upcoming[0] == step:
            drawn = self._next()
            yield 1 / drawn.which.passes, self.batch(drawn)

    def shrink(self) -> str | None:
        """Ask less memory of the next pass."""
        if self.plan.cells < 1000:
            return None
        self.plan.cells //= 2
        return f"a pass now holds {self.plan.cells} cells"

    def cost(self, step: int) -> int:
        """Return what a step will cost, in cells."""
        return sum(self.tables.cost(which) for which in self.plan.of_step(step))

    def begin(self, step: int) -> None:
        """Let the drawing go on with a step."""
        self.plan.turn_to(step)
        self._upcoming = (step, 0)
        if self._stream is None:
            self._stream = iter(self._loader())

    def close(self) -> None:
        """End the workers."""
        self._stream = None

    def batch(self, drawn: Drawn) -> _tabpfn.Batch:
        """Return tables as the network is given them."""
        x, context, query = (
            torch.from_numpy(array).to(self.device, non_blocking=True) for array in drawn[1:]
        )
        return _tabpfn.Batch(
            x=x,
            targets=Targets(context, query, distribution=self.distribution),
            categorical=[[]] * x.shape[1],
            kind=self.tables.kind,
            loss_name=LOSS_NAMES[self.tables.kind],
        )

    def _next(self) -> Drawn:
        """Return the tables of the next pass; what was drawn before a turn is passed over."""
        assert self._stream is not None
        started = self.clock()
        drawn = next(self._stream)
        while (drawn.which[:2], drawn.which.cells) != (self._upcoming, self.plan.cells):
            drawn = next(self._stream)
        self.waited += self.clock() - started
        step, number, passes = drawn.which[:3]
        self._upcoming = (step, number + 1) if number + 1 < passes else (step + 1, 0)
        self.n_tables += drawn.x.shape[1]
        self.n_cells += drawn.x.size
        return drawn

    def _loader(self) -> DataLoader[Any]:
        """Return torch's reader of the plan, whose order does not depend on its workers."""
        beside: dict[str, Any] = {}
        if self.workers:
            beside = {"prefetch_factor": DRAWN_AHEAD, "multiprocessing_context": "spawn"}
        return DataLoader(
            self.tables,
            sampler=self.plan,
            batch_size=None,
            collate_fn=_as_it_is,
            num_workers=self.workers,
            generator=torch.Generator(),  # it draws a seed; not from the global generator
            **beside,
        )


def _as_it_is(drawn: Any) -> Any:
    return drawn


class Validation:
    """The same tables at every evaluation, from a seed that training never uses."""

    def __init__(self, batches: PriorBatches, stage: Callable[[float], Stage], passes: int) -> None:
        cells = min(batches.plan.cells, VALIDATION_CELLS)
        self.batches = []
        for n in range(passes):
            which = Pass(FIRST_VALIDATION, n, passes, stage(n / passes).max_rows, cells)
            self.batches.append(batches.batch(batches.tables[which]))

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> float:
        """Return the negative mean loss: greater is better."""
        return -float(np.mean([float(batch.loss(model)) for batch in self.batches]))
