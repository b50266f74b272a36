"""Settings of a pretraining run, and what it sees and how fast it learns as it goes on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from finetune_tabpfn._tasks import Kind
from finetune_tabpfn.training._device import Precision

MIN_ROWS, MIN_COLUMNS = 64, 2


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

LEAST = {
    "steps": 1,
    "cells_per_pass": 500,
    "max_columns": 2,
    "max_classes": 3,
    "n_buckets": 10,
    "tables_per_world": 1,
    "eval_interval": 1,
    "validation_passes": 1,
    "seed": 0,
    "muon_lr": 0.0,
    "adamw_lr": 0.0,
    "weight_decay": 0.0,
    "max_grad_norm": 0.0,
    "ema_decay": 0.0,
    "warmup_share": 0.0,
    "constant_share": 0.0,
    "final_share": 0.0,
    "begin": 0.0,
}


@dataclass(frozen=True)
class PretrainConfig:
    """Settings of a pretraining run.

    Parameters
    ----------
    kind : {"classification", "regression"}
        What the base model is for.
    steps : int
        Updates of the whole run; all schedules are laid over them.
    seconds : float, optional
        Seconds of the whole run, over which all schedules are laid instead: the run ends within
        them, whatever it comes to by then, and `steps` do not count. What it comes to depends on
        the machine.
    cells_per_pass : int
        Cells of all tables of a forward pass: what it costs in time and memory. An update takes
        several passes, each over tables of one shape. Halved when memory runs out.
    tables_per_world : int
        Tables of a pass that are drawn together and share their kind of world; a pass that holds
        more sees several worlds.
    stages : dict, optional
        What a step holds as the run goes on: from the share of the run until which it holds to the
        rows of the largest table and the passes of an update, as in
        "{0.25: [384, 2], 1: [2048, 2]}"; by default the mini model's on a CPU.
    max_columns : int
        Columns of the widest tables.
    max_classes : int
        Classes that a classifier can tell apart.
    n_buckets : int
        Buckets of a regressor's distribution over the target.
    muon_lr : float
        Peak learning rate of Muon, for the matrices of the blocks.
    adamw_lr : float
        Peak learning rate of AdamW, for the rest.
    weight_decay : float
        Of both.
    max_grad_norm : float
        The gradient is scaled down to this Euclidean norm.
    ema_decay : float
        Share of itself that the moving average of the weights keeps at a step; the average is what
        is validated and saved.
    warmup_share : float
        Share of the run in which the learning rate rises.
    constant_share : float
        Share of the run after which it falls, along a cosine.
    final_share : float
        What it falls to, as a share of its peak.
    begin : float
        Share of the schedules that is taken as done: a run that continues another (`start`) need
        not see the smallest tables and the highest learning rate again.
    eval_interval : int
        Steps between two validations, after each of which everything is saved.
    eval_seconds : float
        Seconds between two of them at most, in a run over `seconds`.
    validation_passes : int
        Passes of a validation, over tables that training never sees.
    precision : {"fp32", "bf16", "fp16"}
        Of the forward pass.
    seed : int
        Of the weights and of all tables.
    architecture : str
        tabpfn's name of the architecture.
    sizes : dict, optional
        Changes to the mini model's architecture, as fields of tabpfn's configuration; on the
        command line as JSON.
    """

    kind: Kind = "classification"
    steps: int = 4300
    seconds: float | None = None
    cells_per_pass: int = 9000
    tables_per_world: int = 64
    stages: dict[float, list[int]] | None = None
    max_columns: int = 64
    max_classes: int = 32
    n_buckets: int = 128
    muon_lr: float = 4e-3
    adamw_lr: float = 2e-3
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    ema_decay: float = 0.98
    warmup_share: float = 0.04
    constant_share: float = 0.4
    final_share: float = 0.02
    begin: float = 0.0
    eval_interval: int = 200
    eval_seconds: float = 60.0
    validation_passes: int = 40
    precision: Precision = "fp32"
    seed: int = 0
    architecture: str = "tabpfn_v3"
    sizes: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("classification", "regression"):
            raise ValueError(f"kind={self.kind!r} must be 'classification' or 'regression'.")
        if self.precision not in ("fp32", "bf16", "fp16"):
            raise ValueError(f"precision={self.precision!r} must be 'fp32', 'bf16' or 'fp16'.")
        for name, least in LEAST.items():
            value = getattr(self, name)
            number = type(least) if isinstance(least, int) else (int, float)
            if isinstance(value, bool) or not isinstance(value, number) or value < least:
                whole = "a whole number, " if isinstance(least, int) else "a number, "
                raise ValueError(f"{name}={value!r} must be {whole}{least} or more.")
        for name in ("ema_decay", "warmup_share", "constant_share", "final_share", "begin"):
            if getattr(self, name) >= 1:
                raise ValueError(f"{name}={getattr(self, name)!r} must be below 1.")
        for name in ("seconds", "eval_seconds"):
            value = getattr(self, name)
            if value is None and name == "seconds":
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
                raise ValueError(f"{name}={value!r} must be a number above 0.")
        if self.stages is not None and not _are_stages(self.stages):
            raise ValueError(
                f"stages={self.stages!r} must map rising shares of the run, the last one 1, to "
                f"[rows of the largest table, {MIN_ROWS} or more; passes, 1 or more]."
            )

    def learning_rate_share(self, done: float) -> float:
        """Return the share of the peak learning rate: rise, stay, fall along a cosine.

        `done` is the share of this run that is over.

        Parameters
        ----------
        done : float
            Share of this run that is over.

        Returns
        -------
        float
        """
        rise = min(1.0, (done * self.steps + 1) / (self.warmup_share * self.steps + 1))
        fall = max(0.0, self.progress(done) - self.constant_share) / (1 - self.constant_share)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, fall)))
        return rise * (self.final_share + (1 - self.final_share) * cosine)

    def progress(self, done: float) -> float:
        """Return the share of the schedules that is over when a share of this run is.

        Parameters
        ----------
        done : float
            Share of this run that is over.

        Returns
        -------
        float
        """
        return self.begin + (1 - self.begin) * done

    def stage(self, done: float) -> Stage:
        """Return the stage when a share of this run is over.

        Parameters
        ----------
        done : float
            Share of this run that is over.

        Returns
        -------
        Stage
        """
        stages = (
            STAGES
            if self.stages is None
            else [Stage(until, *sizes) for until, sizes in self.stages.items()]
        )
        return next(stage for stage in stages if min(1.0, self.progress(done)) <= stage.until)


def _are_stages(stages: Any) -> bool:
    """Tell whether stages that somebody wrote can be used."""
    if not isinstance(stages, dict) or not all(isinstance(share, (int, float)) for share in stages):
        return False
    shares = list(stages)
    return (
        shares == sorted({share for share in shares if share > 0})
        and shares[-1:] == [1]
        and all(
            isinstance(sizes, (list, tuple))
            and len(sizes) == 2
            and all(isinstance(size, int) for size in sizes)
            and sizes[0] >= MIN_ROWS
            and sizes[1] >= 1
            for sizes in stages.values()
        )
    )
