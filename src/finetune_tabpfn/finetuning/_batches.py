"""The splits of every step as batches, cut to what the device's memory holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from finetune_tabpfn._tabpfn import Batch, PreparedTable
from finetune_tabpfn._tasks import Classification
from finetune_tabpfn.data._sampling import SplitSampler
from finetune_tabpfn.finetuning import _defaults
from finetune_tabpfn.finetuning._problem import FineTuningProblem
from finetune_tabpfn.finetuning._settings import Settings
from finetune_tabpfn.training._distributed import ALONE, Alone
from finetune_tabpfn.utils._warn import warn

PROBE_ROWS = 64
MEMORY_SHARE = 0.7  # of the free memory, for the activations of one pass


class SplitBatches:
    """What the training loop trains on: `batch_size` splits per step, one member at a time.

    Parameters
    ----------
    table : PreparedTable
    sampler : SplitSampler
    batch_size : int
        Splits per step.
    passes : int
        Forward passes that a step spreads them over; the gradient is the same, the memory less.
    processes : Alone or Group
        Which share the passes of a step.
    """

    def __init__(
        self,
        table: PreparedTable,
        sampler: SplitSampler,
        batch_size: int,
        passes: int,
        processes: Alone = ALONE,
    ) -> None:
        self.table, self.sampler, self.processes = table, sampler, processes
        self.batch_size, self.passes = batch_size, passes
        self.recompute = False

    @property
    def passes(self) -> int:
        """Forward passes of a step, as many for each process."""
        return self._passes

    @passes.setter
    def passes(self, passes: int) -> None:
        each = self.processes.size
        self._passes = min(each * -(-passes // each), self.batch_size)

    def __call__(self, step: int) -> Iterator[tuple[float, Batch]]:
        """Yield the passes of a step: (share of the step's splits, batch)."""
        splits = [self.sampler.draw(step, n) for n in range(self.batch_size)]
        member = step % len(self.table.members)
        for part in self.processes.own(np.array_split(np.arange(self.batch_size), self.passes)):
            yield (
                len(part) / self.batch_size,
                self.table.batch([splits[n] for n in part], member, recompute=self.recompute),
            )

    @property
    def own_passes(self) -> int:
        """Passes of a step that this process makes, at most."""
        return -(-self.passes // self.processes.size)

    @property
    def splits_together(self) -> int:
        """Splits of the largest pass."""
        return -(-self.batch_size // self.passes)

    @property
    def split_rows(self) -> int:
        """Context and query rows of a split."""
        return self.sampler.context_size + self.sampler.query_size

    @property
    def settings(self) -> dict[str, Any]:
        """What the measures so far have come to."""
        sizes = {"context_size": self.sampler.context_size, "query_size": self.sampler.query_size}
        return {
            "passes": self.passes,
            "recompute": self.recompute,
            "sizes": sizes,
            "validation_context": self.table.validation_context,
        }

    @settings.setter
    def settings(self, settings: Mapping[str, Any]) -> None:
        self.passes, self.recompute = settings["passes"], settings["recompute"]
        self.sampler = dataclasses.replace(self.sampler, **settings["sizes"])
        self.table.validation_context = settings["validation_context"]

    def shrink(self) -> str | None:
        """Take the next measure against running out of memory; say which, or None if none is left.

        First those that leave the gradient as it is.
        """
        if not self.recompute:
            self.recompute = True
            return "activations are computed again in the backward pass"
        if self.passes < self.batch_size:
            self.passes = min(2 * self.passes, self.batch_size)
            return f"a step of {self.batch_size} splits now takes {self.passes} passes"
        context, query = self.sampler.context_size // 2, self.sampler.query_size // 2
        if not query or context + query < PROBE_ROWS // 2:
            return None
        self.sampler = dataclasses.replace(self.sampler, context_size=context, query_size=query)
        return f"splits now have {context} context rows and {query} query rows"

    def fit_memory(self, model: nn.Module, available: int | None) -> list[str]:
        """Shrink until the activations of a pass fit the memory that is free.

        Parameters
        ----------
        model : torch.nn.Module
        available : int or None
            Bytes; None leaves everything as it is.

        Returns
        -------
        list of str
            The measures taken.
        """
        measures: list[str] = []
        while available is not None and self.pass_bytes(model) > MEMORY_SHARE * available:
            measure = self.shrink()
            if measure is None:
                break
            measures.append(measure)
        return measures

    def pass_bytes(self, model: nn.Module) -> float:
        """Estimate the bytes that one pass keeps for its backward pass, from a small one."""
        rows = self.split_rows
        share = min(1.0, PROBE_ROWS / rows)
        small = dataclasses.replace(
            self.sampler,
            context_size=max(1, int(share * self.sampler.context_size)),
            query_size=max(1, int(share * self.sampler.query_size)),
        )
        batch = self.table.batch([small.draw(0, 0)], member=0, recompute=self.recompute)
        with saved_bytes(model) as kept:
            loss = batch.loss(model)
        del loss
        return sum(kept.values()) * self.splits_together * rows / len(batch.x)


class RoundRobin:
    """Batches of several tables, a step from each in turn.

    Parameters
    ----------
    parts : sequence of SplitBatches
        Their tables hold the same network.
    """

    def __init__(self, parts: Sequence[SplitBatches]) -> None:
        self.parts = parts

    def __call__(self, step: int) -> Iterator[tuple[float, Batch]]:
        """Yield the passes of a step: (share of its splits, batch)."""
        turn, number = divmod(step, len(self.parts))
        return self.parts[number](turn)

    @property
    def step_rows(self) -> int:
        """Rows that a step sends through the network, the mean over tables."""
        return round(
            sum(part.batch_size * part.split_rows for part in self.parts) / len(self.parts)
        )

    @property
    def settings(self) -> list[dict[str, Any]]:
        """What the measures so far have come to, for each table."""
        return [part.settings for part in self.parts]

    @settings.setter
    def settings(self, settings: Sequence[Mapping[str, Any]]) -> None:
        for part, its in zip(self.parts, settings, strict=True):
            part.settings = its

    def shrink(self) -> str | None:
        """Take the next measure against running out of memory, for every table that has one."""
        measures = [part.shrink() for part in self.parts]
        return next((measure for measure in measures if measure is not None), None)

    def fit_memory(self, model: nn.Module, available: int | None) -> list[str]:
        """Shrink each until the activations of a pass fit the memory that is free."""
        measures = [part.fit_memory(model, available) for part in self.parts]
        return [measure for its in measures for measure in its]


def step_batches(
    problems: Sequence[FineTuningProblem],
    settings: Settings,
    seed: int,
    measured: list[dict[str, Any]] | None = None,
    processes: Alone = ALONE,
) -> RoundRobin:
    """Return the batches of every step, cut to the memory that is free, or as they were cut.

    Parameters
    ----------
    problems : sequence of FineTuningProblem
    settings : Settings
    seed : int
    measured : list of dict, optional
        `settings` of the batches of an earlier run that is resumed.
    processes : Alone or Group
        Of several, the first decides what its memory holds.
    """
    batches = RoundRobin(
        [_batches_of(problem, settings, seed + n, processes) for n, problem in enumerate(problems)]
    )
    if measured is not None:
        batches.settings = measured
        return batches
    table = problems[0].table
    model, free = table.network.train(), available_memory(table.device)
    for measure in batches.fit_memory(model, free):
        warn(f"To fit the memory of {table.device}: {measure}.")
    batches.settings = processes.from_first(lambda: batches.settings)
    return batches


def _batches_of(
    problem: FineTuningProblem, settings: Settings, seed: int, processes: Alone
) -> SplitBatches:
    """Return the batches of one table."""
    table, training = problem.table, settings.training
    sizes = _defaults.split_sizes(
        table.n_rows, table.device, settings.context_size, training.query_size
    )
    targets = table.members[0].targets
    classes = targets.astype(np.int64) if isinstance(table.task, Classification) else None
    sampler = SplitSampler(
        table.n_rows,
        sizes.context,
        sizes.query,
        seed,
        classes,
        balanced=settings.balanced_contexts,
        groups=problem.groups,
        time=problem.time,
    )
    splits = _defaults.batch_size(settings.batch_size, table.device, sizes, processes.size)
    return SplitBatches(table, sampler, splits, training.gradient_accumulation_steps, processes)


@contextmanager
def saved_bytes(model: nn.Module) -> Iterator[dict[int, int]]:
    """Collect what autograd keeps for the backward pass: bytes by storage, parameters aside."""
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # a node that kept its own output would never be freed

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        yield kept


def available_memory(device: torch.device) -> int | None:
    """Return the bytes that can still be taken on a device, None where nobody tells."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    known = [bytes_ for bytes_ in (_memory_of_machine(), _memory_of_container()) if bytes_]
    return min(known, default=None)


def _memory_of_machine() -> int | None:
    """Return Linux's estimate of what can be taken without swapping."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    sizes = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable")]
    return 1024 * sizes[0] if sizes else None


def _memory_of_container() -> int | None:
    """Return what the control group's limit leaves, None without a limit."""
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = ((group / f"memory.{name}").read_text() for name in ("max", "current"))
    except OSError:
        return None
    return None if limit.strip() == "max" else int(limit) - int(used)
