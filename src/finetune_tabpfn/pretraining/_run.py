"""One pretraining run: from random weights, or another model's, to a base model on disk."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from finetune_tabpfn import _tabpfn
from finetune_tabpfn._tasks import Kind
from finetune_tabpfn.finetuning import _defaults
from finetune_tabpfn.pretraining._batches import PriorBatches, Validation
from finetune_tabpfn.pretraining._optimizers import MuonAdamW
from finetune_tabpfn.pretraining._prior import CausalPrior, Prior
from finetune_tabpfn.training._callbacks import Callback, MaxSteps
from finetune_tabpfn.training._checkpoints import pack, unpack
from finetune_tabpfn.training._device import Precision, gradients
from finetune_tabpfn.training._loop import TrainConfig, logger, train
from finetune_tabpfn.training._state import TrainState, Weights
from finetune_tabpfn.training._stop_reasons import StopReason
from finetune_tabpfn.utils._files import save_whole
from finetune_tabpfn.utils._text import to_json_line

# MINI.md's host: 0.9 million parameters with six blocks, fast on a CPU
MINI: dict[str, Any] = {
    "embed_dim": 32,
    "feat_agg_num_cls_tokens": 4,
    "dist_embed_num_blocks": 2,
    "dist_embed_num_heads": 2,
    "dist_embed_num_inducing_points": 16,
    "feat_agg_num_blocks": 2,
    "feat_agg_num_heads": 2,
    "nlayers": 8,
    "icl_num_heads": 4,
    "decoder_num_heads": 4,
    "decoder_head_dim": 32,
    "decoder_use_softmax_scaling": True,
    "softmax_scaling_mlp_hidden_dim": 16,
}

LEAST = {
    "steps": 1,
    "cells_per_pass": 500,
    "max_columns": 2,
    "max_classes": 3,
    "n_buckets": 10,
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
        Updates of the whole run; the learning rate's schedule is laid over them.
    cells_per_pass : int
        Cells of all tables of a forward pass: what it costs in time and memory. An update takes
        several passes, each over tables of one shape.
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
    cells_per_pass: int = 9000
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
            if not isinstance(value, number) or value < least:
                whole = "a whole number, " if isinstance(least, int) else "a number, "
                raise ValueError(f"{name}={value!r} must be {whole}{least} or more.")
        for name in ("ema_decay", "warmup_share", "constant_share", "final_share", "begin"):
            if getattr(self, name) >= 1:
                raise ValueError(f"{name}={getattr(self, name)!r} must be below 1.")

    def learning_rate_share(self, step: int) -> float:
        """Return the share of the peak learning rate: rise, stay, fall along a cosine."""
        rise = min(1.0, (step + 1) / (self.warmup_share * self.steps + 1))
        fall = max(0.0, self.progress(step) - self.constant_share) / (1 - self.constant_share)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, fall)))
        return rise * (self.final_share + (1 - self.final_share) * cosine)

    def progress(self, step: int) -> float:
        """Return the share of the schedules that is over before a step."""
        return self.begin + (1 - self.begin) * step / self.steps


@gradients()
def pretrain(
    out: Path,
    config: PretrainConfig,
    *,
    prior: Prior | None = None,
    start: Path | None = None,
    resume: bool = False,
    device: str = "auto",
    callbacks: Sequence[object] = (),
) -> Path:
    """Pretrain a base model and write it where a plain TabPFN estimator can load it.

    Parameters
    ----------
    out : pathlib.Path
        The ".safetensors" file to write. tabpfn reads the version off its name: keep "v3" in it.
        Beside it are written the state to resume from (".state.pt") and the curve (".jsonl").
    config : PretrainConfig
    prior : Prior, optional
        Draws the tables; :class:`CausalPrior` if not given.
    start : pathlib.Path, optional
        A checkpoint whose weights to begin with, where they fit: the trunk of the other task's
        model, say.
    resume : bool
        Continue from the state beside `out`, if there is one; the result is that of a run
        that was never interrupted.
    device : str
    callbacks : sequence of Callback
        More callbacks of the training loop.

    Returns
    -------
    pathlib.Path
        `out`.

    Raises
    ------
    ValueError
        When the state beside `out` belongs to a run with other settings, or would be lost
        because it is not to be resumed.
    """
    files = Files(out)
    if files.state.is_file() and not resume:
        raise ValueError(
            f"{files.state} holds an earlier run; resume it (resume=True, --resume), or choose "
            "another out."
        )
    where = _defaults.device(device)
    specs = new_specs(config)
    specs.model.to(where)
    if start is not None:
        adopt(specs.model, _tabpfn.load_weights(start))
    optimizer = MuonAdamW(
        specs.model,
        muon_lr=config.muon_lr,
        adamw_lr=config.adamw_lr,
        weight_decay=config.weight_decay,
    )
    state = files.restore(config, specs.model, optimizer) if resume else None
    batches = new_batches(config, prior, specs, where)
    ended = train(
        specs.model,
        optimizer,
        batches=batches,
        loss_fn=_tabpfn.loss_of,
        evaluate=Validation(batches, config.validation_passes),
        config=TrainConfig(
            eval_interval=config.eval_interval,
            max_grad_norm=config.max_grad_norm,
            schedule=config.learning_rate_share,
            ema_decay=config.ema_decay,
            precision=config.precision,
        ),
        callbacks=[MaxSteps(config.steps), Saver(files, config, specs, optimizer), *callbacks],
        state=state,
    )
    if ended.stop_reason != StopReason.MAX_STEPS:
        logger.warning("pretraining ended at step %d: %s", ended.step, ended.stop_reason)
    return out


def adopt(model: nn.Module, weights: Weights) -> list[str]:
    """Take over the weights whose names and shapes fit; returns the names of the others.

    Of a regressor, a classifier takes over how the target is embedded as well.
    """
    own = model.state_dict()
    weights = {**weights, **class_embeddings(own, weights)}
    fit = {
        name: tensor
        for name, tensor in weights.items()
        if name in own and own[name].shape == tensor.shape and "borders" not in name
    }
    model.load_state_dict(fit, strict=False)
    return sorted(set(own) - set(fit))


def class_embeddings(own: Weights, weights: Weights) -> Weights:
    """Return embeddings of classes around the line along which a regressor embeds its target.

    What the regressor computes with the target, such as adding up what columns say about it, then
    works for two classes from the beginning.
    """
    found = {}
    for name, random in own.items():
        stem = name.removesuffix(".embedding.weight")
        if stem != name and f"{stem}.weight" in weights:
            line, origin = weights[f"{stem}.weight"].float()[:, 0], weights[f"{stem}.bias"].float()
            place = torch.randn(len(random), generator=torch.Generator().manual_seed(0))
            place[:2] = torch.tensor([-1.0, 1.0])
            found[name] = origin + place[:, None] * line + 0.25 * line.norm() * random.cpu()
    return found


@dataclass(frozen=True)
class Files:
    """What a run keeps on disk."""

    model: Path

    @property
    def state(self) -> Path:
        """The state to resume from."""
        return self.model.with_suffix(".state.pt")

    @property
    def curve(self) -> Path:
        """A line of JSON per evaluation."""
        return self.model.with_suffix(".jsonl")

    def save(self, config: PretrainConfig, state: TrainState, optimizer: MuonAdamW) -> None:
        """Write everything that a resumed run needs, whole or not at all."""
        saved = {"config": asdict(config), "state": pack(state, optimizer)}
        save_whole(self.state, lambda part: torch.save(saved, part))
        rows = "".join(to_json_line(row.flat()) for row in state.history)
        save_whole(self.curve, lambda part: part.write_text(rows))

    def restore(
        self, config: PretrainConfig, model: nn.Module, optimizer: MuonAdamW
    ) -> TrainState | None:
        """Load model and optimizer as they were and return the loop's state, None without one."""
        if not self.state.is_file():
            return None
        saved = torch.load(self.state, weights_only=True, map_location="cpu")
        for name, value in asdict(config).items():
            if saved["config"][name] != value:
                raise ValueError(
                    f"{self.state} was written with {name}={saved['config'][name]!r}, "
                    f"not {value!r}; resume with the same settings or begin anew elsewhere."
                )
        return unpack(saved["state"], model, optimizer)


class Saver(Callback):
    """Saves the state, the curve and the best model after every evaluation."""

    def __init__(
        self, files: Files, config: PretrainConfig, specs: _tabpfn.Specs, optimizer: MuonAdamW
    ) -> None:
        self.files, self.config, self.specs, self.optimizer = files, config, specs, optimizer

    def after_evaluation(self, state: TrainState) -> None:
        """Write all three."""
        self.files.save(self.config, state, self.optimizer)
        if state.best_evaluation != state.history[-1].evaluation:
            return
        metadata = {
            "licence": "Apache-2.0",
            "pretraining": asdict(self.config) | {"step": state.step},
            "validation_loss": -state.best_score,
            "versions": {"tabpfn": version("tabpfn"), "torch": torch.__version__},
            "date": datetime.now(timezone.utc).date().isoformat(),
        }
        write = partial(
            _tabpfn.write_checkpoint, self.specs, metadata=metadata, dtype=torch.float16
        )
        save_whole(self.files.model, write)


def new_specs(config: PretrainConfig) -> _tabpfn.Specs:
    """Build the network with random weights."""
    classes = config.kind == "classification"
    return _tabpfn.new_network(
        config.kind,
        config.architecture,
        MINI | (config.sizes or {}),
        n_outputs=config.max_classes if classes else config.n_buckets,
        border=20.0,
        inference={
            "N_ESTIMATORS": 8,
            "MAX_NUMBER_OF_CLASSES": config.max_classes,
            "MAX_NUMBER_OF_FEATURES": 2 * config.max_columns,
            "MAX_NUMBER_OF_SAMPLES": 5000,
            "MAX_CPU_SAMPLES": 10_000,
        },
        seed=config.seed,
    )


def new_batches(
    config: PretrainConfig, prior: Prior | None, specs: _tabpfn.Specs, device: torch.device
) -> PriorBatches:
    """Return the source of all tables."""
    distribution = None
    if config.kind == "regression":
        assert specs.norm_criterion is not None
        distribution = specs.norm_criterion.to(device)
    return PriorBatches(
        prior or CausalPrior(config.kind, config.max_classes - 2),
        config.kind,
        n_codes=config.max_classes,
        progress=config.progress,
        max_columns=config.max_columns,
        cells_per_pass=config.cells_per_pass,
        seed=config.seed,
        device=device,
        distribution=distribution,
    )
