"""A table prepared once: what TabPFN's preprocessing makes of it, kept as tensors.

Shape letters: N training rows (or context rows of a split), H hold-out rows, Q query rows,
B splits in one forward pass, C columns after preprocessing, L outputs of the network.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tabpfn.constants import DEFAULT_SAVE_PEAK_MEMORY_FACTOR
from tabpfn.regressor import _logits_to_output
from tabpfn.utils import get_autocast_context, translate_probs_across_borders
from torch import nn

from finetune_tabpfn._losses import Targets
from finetune_tabpfn._tabpfn._batch import Batch
from finetune_tabpfn._tabpfn._devices import network_on, run_on
from finetune_tabpfn._tabpfn._network import TabPFN, forward, on_its_own
from finetune_tabpfn._tasks import Regression, Task
from finetune_tabpfn.data._sampling import Split, one_of_each_first
from finetune_tabpfn.training._device import ran_out_of_memory
from finetune_tabpfn.utils._warn import warn

# of all members of a forward pass: small ones together save time, large ones take memory alone
CELLS_AT_ONCE = {"cpu": 2**14, "gpu": 2**20}
Outputs = Callable[[Sequence["Member"]], Iterable[torch.Tensor]]
Deal = Callable[[Sequence["Member"], Outputs], Iterable[torch.Tensor]]
LEAST_CONTEXT = 50  # rows of a reduced member: fewer would tell little


@dataclass(frozen=True)
class Member:
    """One preprocessed view of the table."""

    x: torch.Tensor  # (N + H, C): all training rows in their order, then the hold-out
    targets: npt.NDArray[np.float32]  # (N,): of the training rows, as the loss is taken
    context_rows: torch.Tensor  # rows that this member deploys as context: all, unless subsampled
    context_y: torch.Tensor  # their targets as the deployed member shows them to the network
    categorical: list[int]
    config: Any

    def to(self, device: torch.device) -> Member:
        """Return the same view with what a forward pass takes of it on a device."""
        moved = {
            name: getattr(self, name).to(device) for name in ("x", "context_rows", "context_y")
        }
        return dataclasses.replace(self, **moved)


@dataclass(frozen=True)
class Prediction:
    """What the members together say of the hold-out."""

    values: npt.NDArray[Any]  # probabilities (H, n_classes), or means (H,)
    logits: torch.Tensor | None = None  # (H, L) of the distribution of a real-valued target


class PreparedTable:
    """Training rows and hold-out rows as the network sees them, for every deployed member.

    Attributes
    ----------
    members : list of Member
        As they are deployed.
    reduced : list of Member
        The same with fewer context rows, which make cheaper validations; all alike where the
        table is small.
    deal : callable
        ``deal(members, outputs)`` returns what `outputs` makes of members, of several processes
        each some.
    devices : tuple of torch.device
        All rows and the network are on the first; a validation deals the members out over all.
    alone, chunked : bool
        Whether each member has a forward pass of its own, and the network takes its activations
        in chunks: measures against running out of memory, which leave the predictions as they are.
    """

    def __init__(
        self,
        estimator: TabPFN,
        members: list[Member],
        task: Task,
        devices: Sequence[torch.device],
        weight: npt.NDArray[np.float64] | None,
        validation_context: int | None,
    ) -> None:
        self.estimator, self.members, self.task = estimator, members, task
        self.devices = tuple(devices)
        self.validation_context = validation_context or self.n_rows
        self.alone, self.chunked = False, self.device.type == "cpu"  # chunks stay in a CPU's cache
        self.deal: Deal = _as_they_are
        self.is_scored = False  # with reduced contexts, which must then stay as they are
        self.weight = weight
        self.temperature = float(estimator.softmax_temperature_)
        self.distribution = estimator.znorm_space_bardist_ if isinstance(task, Regression) else None
        estimator.executor_ = None

    @property
    def validation_context(self) -> int:
        """Context rows of a reduced member at most."""
        return self._validation_context

    @validation_context.setter
    def validation_context(self, rows: int) -> None:
        self._validation_context = rows
        self.reduced = [
            _reduced(member, rows, number) for number, member in enumerate(self.members)
        ]

    @property
    def device(self) -> torch.device:
        """Where the network is trained."""
        return self.devices[0]

    @property
    def network(self) -> nn.Module:
        """What is trained, by reference."""
        return self.estimator.models_[0]

    @property
    def n_rows(self) -> int:
        """Training rows."""
        return len(self.members[0].targets)

    @property
    def n_held_out(self) -> int:
        """Hold-out rows."""
        return len(self.members[0].x) - self.n_rows

    @property
    def validation_rows(self) -> int:
        """Rows that a reduced validation sends through the network, in all members."""
        if not self.n_held_out:
            return 0
        context = sum(len(member.context_rows) for member in self.reduced)
        return context + len(self.members) * self.n_held_out

    @property
    def is_cut(self) -> bool:
        """Whether a reduced validation has fewer context rows than what is deployed."""
        pairs = zip(self.reduced, self.members, strict=True)
        return any(len(few.context_rows) < len(all_.context_rows) for few, all_ in pairs)

    def batch(self, splits: Sequence[Split], member: int, *, recompute: bool = False) -> Batch:
        """Gather the rows of splits and permute their features and labels.

        A fresh order of the columns, and of the class codes, for each split: with a fixed one a
        small network memorises the table instead of learning to read the context. Splits of
        different sizes, as groups make them, are cut to the smallest.
        """
        splits = _of_equal_size(splits)
        view = self.members[member]
        xs, targets, categorical = [], [], []
        for split in splits:
            columns = np.random.default_rng((split.seed, 1)).permutation(view.x.shape[1])
            rows = torch.from_numpy(np.concatenate([split.context, split.query]))
            order = torch.from_numpy(columns)
            xs.append(view.x[rows.to(self.device)][:, order.to(self.device)])
            targets.append(
                self.task.split_targets(
                    view.targets[split.context], view.targets[split.query], split.seed
                )
            )
            categorical.append(np.flatnonzero(np.isin(columns, view.categorical)).tolist())
        return Batch(
            x=torch.stack(xs, dim=1),
            targets=Targets(
                context=self._stack([target.context for target in targets], dim=1),
                query=self._stack([target.query for target in targets], dim=1),
                weight=None if self.weight is None else self._weights(splits),
                distribution=self.distribution,
            ),
            categorical=categorical,
            kind=self.task.kind,
            loss_name=self.task.loss,
            temperature=self.temperature,
            offset=None
            if targets[0].offset is None
            else self._stack([target.offset for target in targets], dim=0),
            recompute=recompute,
        )

    def _stack(self, arrays: Sequence[Any], dim: int) -> torch.Tensor:
        return torch.stack([torch.from_numpy(array) for array in arrays], dim=dim).to(self.device)

    def _weights(self, splits: Sequence[Split]) -> torch.Tensor:
        """Return the weights of the query rows (Q, B)."""
        assert self.weight is not None
        return self._stack([self.weight[split.query].astype(np.float32) for split in splits], dim=1)

    @on_its_own()
    def predict(self, *, reduced: bool = False) -> Prediction:
        """Predict the hold-out with the members as they are deployed, or with reduced contexts.

        Where memory runs out it is tried again with less: see :meth:`shrink`.

        Returns
        -------
        Prediction
        """
        while True:
            try:
                found = self._predict(reduced)
            except (RuntimeError, MemoryError) as error:
                done = self.shrink(reduced=reduced) if ran_out_of_memory(error) else None
                if done is None:
                    raise
            else:
                self.is_scored |= reduced
                return found
            warn(f"Out of memory on {self.device} in a validation: {done}.")

    def shrink(self, *, reduced: bool) -> str | None:
        """Take the next measure against running out of memory; say which, or None if none is left.

        Reduced contexts are cut only before the first score, which later ones are compared with.
        """
        if not self.alone and len(self.members) > 1:
            self.alone = True
            return "members are predicted one by one"
        if not self.chunked:
            self.chunked = True
            return "activations are computed in chunks"
        context = max(len(member.context_rows) for member in self.reduced) // 2
        if not reduced or self.is_scored or context < LEAST_CONTEXT:
            return None
        self.validation_context = context
        return f"evaluations are scored with {context} context rows"

    def _predict(self, reduced: bool) -> Prediction:
        # so the estimator's own post-processing runs on what we forward
        self.estimator.executor_ = _HoldOutEngine(self, self.reduced if reduced else self.members)
        try:
            if self.task.kind == "classification":
                proba = self.estimator.forward(None, use_inference_mode=True)
                return Prediction(self.task.decide(proba.float().cpu().numpy()))
            logits = _mean_logits(self.estimator)
            return Prediction(_mean(self.estimator, logits), logits)
        finally:
            self.estimator.executor_ = None  # no circle: memory is free when the fit is over

    def negative_log_density(
        self,
        prediction: Prediction,
        y: npt.NDArray[Any],
        weight: npt.NDArray[np.float64] | None,
    ) -> dict[str, float]:
        """Return "nll", the mean negative log density of targets (H,) by a prediction.

        In the unit of the target, so that its density is that of `y`; nothing for classification.
        """
        if prediction.logits is None:
            return {}
        assert self.distribution is not None
        scale = float(self.estimator.y_train_std_)
        standard = (y - float(self.estimator.y_train_mean_)) / scale
        z = torch.as_tensor(standard, dtype=torch.float32, device=prediction.logits.device)
        losses = self.distribution(prediction.logits.float(), z).cpu().numpy()
        return {"nll": float(np.average(losses, weights=weight)) + float(np.log(scale))}

    def groups(self, members: Sequence[Member]) -> Iterator[list[Member]]:
        """Yield the members that one forward pass takes: of equal shape, and small enough.

        Of several devices each gets a pass before one gets members to take together.
        """
        most = CELLS_AT_ONCE["cpu" if self.device.type == "cpu" else "gpu"]
        if self.alone:
            most = 0
        for (rows, columns), views in itertools.groupby(members, key=_shape):
            cells = (rows + self.n_held_out) * columns
            alike = list(views)
            share = math.ceil(len(alike) / len(self.devices))
            yield from _chunks(alike, max(1, min(most // cells, share)))

    def outputs(self, members: Sequence[Member]) -> Iterator[torch.Tensor]:
        """Yield the logits of each member for the hold-out (H, L)."""
        networks = network_on(self.network, self.devices)

        def on(views: Sequence[Member], *, device: torch.device) -> torch.Tensor:
            here = views if device == self.device else [view.to(device) for view in views]
            return self.forward_members(here, network=networks[device])

        passes = (partial(on, views) for views in self.groups(members))
        for logits in run_on(self.devices, passes):
            yield from logits.to(self.device).unbind(dim=1)

    def forward_members(
        self,
        views: Sequence[Member],
        n_context: int | None = None,
        network: nn.Module | None = None,
    ) -> torch.Tensor:
        """Forward the hold-out of members of equal shape, (H, members, L).

        Through a copy of the network, if one is given, where these members are.
        With `n_context`, a cheaper forward of a like shape: as many context rows, and query
        rows in proportion. It serves to estimate the cost of the full one.
        """
        n_rows, n_held_out = len(views[0].context_rows), self.n_held_out
        if n_context is not None and n_context < n_rows:
            n_held_out = max(1, n_held_out * n_context // n_rows)
            n_rows = n_context
        end = self.n_rows + n_held_out
        x = [torch.cat([v.x[v.context_rows[:n_rows]], v.x[self.n_rows : end]]) for v in views]
        y = [view.context_y[:n_rows] for view in views]
        chunks = DEFAULT_SAVE_PEAK_MEMORY_FACTOR if self.chunked else None
        with (
            get_autocast_context(self.device, enabled=self.estimator.use_autocast_),
            torch.inference_mode(),
        ):
            return forward(
                network or self.network,
                torch.stack(x, dim=1),
                torch.stack(y, dim=1),
                categorical=[view.categorical for view in views],
                kind=self.task.kind,
                save_peak_memory_factor=chunks,
            )


class _HoldOutEngine:
    """Takes the place of tabpfn's inference engine: serves the prepared hold-out."""

    def __init__(self, table: PreparedTable, members: Sequence[Member]) -> None:
        self.table, self.members = table, members

    def use_torch_inference_mode(self, *, use_inference: bool) -> None:
        """Satisfy tabpfn's protocol; the prepared table decides for itself."""

    def iter_outputs(self, X: None, **_: Any) -> Iterator[tuple[torch.Tensor, Any]]:
        """Yield each member's logits (H, L) with its configuration."""
        dealt = self.table.deal(self.members, self.table.outputs)
        for logits, member in zip(dealt, self.members, strict=True):
            yield logits, member.config


def _as_they_are(members: Sequence[Member], outputs: Outputs) -> Iterable[torch.Tensor]:
    return outputs(members)


def _reduced(member: Member, most: int, seed: int) -> Member:
    """Return a member with at most so many context rows, some of every class."""
    rows = member.context_rows.cpu().numpy()
    if len(rows) <= most:
        return member
    order = np.random.default_rng(seed).permutation(len(rows))
    order = one_of_each_first(order, member.context_y.cpu().numpy(), limit=most // 2)
    kept = torch.from_numpy(np.sort(order[:most])).to(member.context_rows.device)
    return dataclasses.replace(
        member, context_rows=member.context_rows[kept], context_y=member.context_y[kept]
    )


def _shape(view: Member) -> tuple[int, int]:
    """Return the context rows and columns of a member."""
    return len(view.context_rows), view.x.shape[1]


def _chunks(views: list[Member], size: int) -> Iterator[list[Member]]:
    for start in range(0, len(views), size):
        yield views[start : start + size]


def _of_equal_size(splits: Sequence[Split]) -> Sequence[Split]:
    """Cut splits to the rows of the smallest."""
    n_context = min(len(split.context) for split in splits)
    n_query = min(len(split.query) for split in splits)
    return [Split(split.context[:n_context], split.query[:n_query], split.seed) for split in splits]


def _mean_logits(estimator: TabPFN) -> torch.Tensor:
    """Average the members' distributions, as TabPFNRegressor.predict does."""
    to = estimator.znorm_space_bardist_.borders
    total: Any = 0.0
    for borders, logits in estimator._iter_forward_executor(None, use_inference_mode=True):
        frm = torch.as_tensor(borders, device=logits.device)
        total = total + translate_probs_across_borders(logits, frm=frm, to=to.to(logits.device))
    return estimator._reduce_accumulated_logits(total, estimator.n_estimators_)


def _mean(estimator: TabPFN, logits: torch.Tensor) -> npt.NDArray[np.float64]:
    """Return the means of the distributions, in the unit of the target."""
    return _logits_to_output(
        output_type="mean",
        logits=logits,
        znorm_space_bardist=estimator.znorm_space_bardist_,
        y_mean=estimator.y_train_mean_,
        y_std=estimator.y_train_std_,
        quantiles=[],
    )
