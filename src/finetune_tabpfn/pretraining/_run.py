"""One pretraining run: from random weights, or another model's, to a base model on disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from torch import nn

from finetune_tabpfn import _tabpfn
from finetune_tabpfn.finetuning import _defaults
from finetune_tabpfn.finetuning._budget import Timer
from finetune_tabpfn.pretraining._batches import PriorBatches, PriorTables, Validation
from finetune_tabpfn.pretraining._callbacks import Clock, Progress
from finetune_tabpfn.pretraining._config import PretrainConfig
from finetune_tabpfn.pretraining._files import Files, Saver
from finetune_tabpfn.pretraining._optimizers import MuonAdamW
from finetune_tabpfn.pretraining._prior import CausalPrior, Prior
from finetune_tabpfn.training._callbacks import MaxSteps
from finetune_tabpfn.training._device import gradients
from finetune_tabpfn.training._loop import TrainConfig, logger, train
from finetune_tabpfn.training._state import TrainState, Weights
from finetune_tabpfn.training._stop_reasons import StopReason
from finetune_tabpfn.utils._constraints import is_whole

# 0.9 million parameters with six blocks, fast on a CPU
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


@gradients()
def pretrain(
    out: Path,
    config: PretrainConfig,
    *,
    prior: Prior | None = None,
    start: Path | None = None,
    resume: bool = False,
    device: str = "auto",
    workers: int = 0,
    callbacks: Sequence[object] = (),
    clock: Callable[[], float] = time.monotonic,
    begun: float | None = None,
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
        that was never interrupted. A run over `seconds` may be given more of them.
    device : str
    workers : int
        Processes that draw tables beside the training. The tables are the same for any number of
        them. With some, `prior` must be a function of a module, or anything else that pickles.
    callbacks : sequence of Callback
        More callbacks of the training loop.
    clock : callable
        Seconds, monotonic.
    begun : float, optional
        The reading of `clock` from which `seconds` count; that of now if not given.

    Returns
    -------
    pathlib.Path
        `out`.

    Raises
    ------
    ValueError
        When the state beside `out` belongs to a run with other settings, or would be lost
        because it is not to be resumed; when `seconds` are over before a first validation.
    """
    begun = clock() if begun is None else begun
    if not is_whole(workers, 0):
        raise ValueError(f"workers={workers!r} must be a whole number, 0 or more.")
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
    optimizer = new_optimizer(config, specs.model)
    state = files.restore(config, specs.model, optimizer) if resume else None
    timer = Timer(config.seconds, clock, begun - (0.0 if state is None else state.seconds))
    batches = new_batches(config, prior, specs, where, timer, workers)
    saver = Saver(files, config, specs, optimizer, start)
    with closing(batches), _tabpfn.attention_for_many_shapes(where):
        batches.begin(0 if state is None else state.step)
        ended = _train(config, specs.model, optimizer, batches, timer, [saver, *callbacks], state)
    if not ended.history:
        raise ValueError(f"seconds={config.seconds!r} were over before a first validation.")
    if ended.stop_reason != _own_end(config):
        logger.warning("pretraining ended at step %d: %s", ended.step, ended.stop_reason)
    return out


def _train(
    config: PretrainConfig,
    model: nn.Module,
    optimizer: MuonAdamW,
    batches: PriorBatches,
    timer: Timer,
    callbacks: Sequence[object],
    state: TrainState | None,
) -> TrainState:
    """Run the loop with the callbacks that end it."""
    done = share_done(config, timer)
    in_time = Clock(timer, batches, config.eval_seconds)
    timed = config.seconds is not None
    return train(
        model,
        optimizer,
        batches=batches,
        loss_fn=_tabpfn.loss_of,
        evaluate=Validation(batches, config.stage, config.validation_passes),
        config=TrainConfig(
            eval_interval=config.eval_interval,
            is_due=in_time.is_due if timed else None,
            max_grad_norm=config.max_grad_norm,
            schedule=lambda step: config.learning_rate_share(done(step)),
            ema_decay=config.ema_decay,
            precision=config.precision,
        ),
        callbacks=[
            in_time if timed else MaxSteps(config.steps),
            Progress(timer, batches, config.steps),
            *callbacks,
        ],
        state=state,
        clock=timer.clock,
    )


def _own_end(config: PretrainConfig) -> StopReason:
    return StopReason.MAX_STEPS if config.seconds is None else StopReason.TIME_LIMIT


def share_done(config: PretrainConfig, timer: Timer) -> Callable[[int], float]:
    """Return from a step to the share of the run that is over: of its steps, or of its time."""
    if config.seconds is None:
        return lambda step: step / config.steps
    seconds = config.seconds
    return lambda step: min(1.0, timer.elapsed / seconds)


def new_optimizer(config: PretrainConfig, model: nn.Module) -> MuonAdamW:
    """Return the optimizer over all weights."""
    return MuonAdamW(
        model,
        muon_lr=config.muon_lr,
        adamw_lr=config.adamw_lr,
        weight_decay=config.weight_decay,
    )


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
    config: PretrainConfig,
    prior: Prior | None,
    specs: _tabpfn.Specs,
    device: torch.device,
    timer: Timer,
    workers: int = 0,
) -> PriorBatches:
    """Return the source of all tables."""
    distribution = None
    if config.kind == "regression":
        assert specs.norm_criterion is not None
        distribution = specs.norm_criterion.to(device)
    tables = PriorTables(
        prior or CausalPrior(config.kind, config.max_classes - 2),
        config.kind,
        n_codes=config.max_classes,
        max_columns=config.max_columns,
        seed=config.seed,
        tables_per_world=config.tables_per_world,
    )
    done = share_done(config, timer)
    return PriorBatches(
        tables,
        lambda step: config.stage(done(step)),
        cells_per_pass=config.cells_per_pass,
        device=device,
        distribution=distribution,
        workers=workers,
        clock=timer.clock,
    )
