"""Which tables should the next mini models be pretrained on? Short continuations compared.

    python benchmarks/next_mini.py --kind regression --variants shipped plain forests
        --out FOLDER [--data FOLDER] [--steps 120] [--tune plain forests --tables abalone]

Every variant continues the shipped model over the same number of cells, with a prior, sizes of
tables or a seed of its own. Compared are the losses on validation tables of several kinds, from
fixed seeds, and zero-shot on real tables, one split of at most 1,000 training rows; with --tune,
some variants also fine-tuned, over as many steps each. What OUT holds already is not run again.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tabpfn import TabPFNClassifier, TabPFNRegressor

from _tables import Table, bundled, from_folder
from finetune_tabpfn import FinetunedTabPFNClassifier, FinetunedTabPFNRegressor, _tabpfn
from finetune_tabpfn._tasks import Kind
from finetune_tabpfn.finetuning._budget import Timer
from finetune_tabpfn.models import _base_models
from finetune_tabpfn.pretraining import CausalPrior, PretrainConfig, Prior, Tables, pretrain
from finetune_tabpfn.pretraining._batches import Pass, PriorBatches
from finetune_tabpfn.pretraining._recipes import recipe
from finetune_tabpfn.pretraining._run import adopt, new_batches, new_specs
from mini import PRIMARY, measure

ESTIMATORS = {
    "classification": (TabPFNClassifier, FinetunedTabPFNClassifier),
    "regression": (TabPFNRegressor, FinetunedTabPFNRegressor),
}
CPU = torch.device("cpu")
# An update of the recipe holds 1.6 million cells on a card, and .1 million here: at its rates the
# shipped regressor went from a validation loss of .926 to 1.010 in the first 80 of 240 updates.
GENTLE = {"muon_lr": 4e-4, "adamw_lr": 2e-4, "ema_decay": 0.97}
MAX_TRAIN = 1000
VALIDATION_SEED = 2**20
PASSES, CELLS, ROWS = 48, 9000, 768  # of the validation tables of a kind
LARGE_PASSES, LARGE_ROWS, LARGE_COLUMNS = 16, 1024, 24


@dataclass(frozen=True)
class Variant:
    """What differs from a plain continuation: settings of the run, and of the prior in a share."""

    share: float = 0.0
    prior: dict[str, float] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)


VARIANTS = {
    "plain": Variant(),
    "again": Variant(run={"seed": 1}),  # what chance alone makes of it
    "forests": Variant(0.4, {"forests": 1.0}),
    "heavy": Variant(0.4, {"heavy_tails": 0.6, "zero_inflated": 0.4}),
    "levels": Variant(0.4, {"many_levels": 1.0, "label_noise": 0.7}),
    "large": Variant(run={"stages": {1: [2048, 12]}}),
}


@dataclass(frozen=True)
class MixedPrior:
    """Tables of another prior in a share of the passes; in the others the plain ones, to the bit.

    So less of what two continuations differ in is chance.
    """

    plain: Prior
    other: Prior
    share: float

    def __call__(
        self, n_tables: int, n_rows: int, n_columns: int, generator: torch.Generator
    ) -> Tables:
        """Draw tables; the seed of the pass says of which prior."""
        is_other = generator.initial_seed() % 1000 < 1000 * self.share
        prior = self.other if is_other else self.plain
        return prior(n_tables, n_rows, n_columns, generator)


# kinds of validation tables; those of one task alone draw nothing else for the other
WORLDS: dict[str, dict[str, float]] = {
    "ordinary": {},
    "forests": {"forests": 1.0},
    "many levels": {"many_levels": 1.0},
    "heavy tails": {"heavy_tails": 1.0},
    "zeros": {"zero_inflated": 1.0},
    "label noise": {"label_noise": 1.0},
    "large": {},
}
OF_ONE_TASK = {"heavy tails": "regression", "zeros": "regression", "label noise": "classification"}


def main() -> None:
    """Run what is missing and print the tables."""
    arguments = _parser().parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    kind: Kind = arguments.kind
    results = Results(arguments.out / f"{kind}.csv")
    config = plain_config(kind, arguments.steps)
    worlds = {name: list(validation(config, name)) for name in WORLDS if is_of(name, kind)}
    tables = [*bundled(), *(from_folder(arguments.data) if arguments.data else ())]
    tables = [table for table in tables if table.task == kind]
    paths = {name: model_of(name, config, arguments.out) for name in arguments.variants}
    for name, path in paths.items():
        for world, batches in worlds.items():
            results.add("validation", world, name, lambda p=path, b=batches: loss(p, config, b))
        for table in tables:
            results.add("zero-shot", table.name, name, lambda p=path, t=table: real(p, t))
    wanted = [table for table in tables if table.name in arguments.tables]
    for table, name in itertools.product(wanted, arguments.tune):
        run = lambda p=paths[name], t=table: real(p, t, arguments.fine_tune)  # noqa: E731
        results.add("fine-tuned", table.name, name, run)
    print(f"\n{platform.platform()}, {arguments.threads} threads, torch {torch.__version__}")
    results.report(arguments.variants)


class Results:
    """Losses in a file, each measured once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        rows = pd.read_csv(path).to_dict("records") if path.is_file() else []
        self.losses = {(r["measured"], r["table"], r["variant"]): r["loss"] for r in rows}

    def add(self, measured: str, table: str, variant: str, run: Any) -> None:
        """Measure a loss that is not in the file."""
        key = (measured, table, variant)
        if key not in self.losses:
            started = time.monotonic()
            self.losses[key] = run()
            self.frame().to_csv(self.path, index=False)
            print(*key, f"{self.losses[key]:.5g}, {time.monotonic() - started:.1f} s", flush=True)

    def frame(self) -> pd.DataFrame:
        """Return a row per loss."""
        rows = [(*key, loss) for key, loss in self.losses.items()]
        return pd.DataFrame(rows, columns=["measured", "table", "variant", "loss"])

    def report(self, variants: list[str]) -> None:
        """Print the losses of the plain continuation, and the others as differences or ratios."""
        for measured, frame in self.frame().groupby("measured", sort=False):
            shown = frame.pivot_table(index="table", columns="variant", values="loss", sort=False)
            shown = shown[[name for name in variants if name in shown]].dropna(axis=0)
            if "plain" not in shown:
                continue
            # a negative log density has no ratio
            compared = shown.sub if measured == "validation" else shown.div
            what = "less plain" if measured == "validation" else "over plain"
            others = compared(shown["plain"], axis=0).drop(columns="plain")
            print(f"\n{measured}: loss of plain, and of the others {what}\n")
            print(
                pd.concat([shown["plain"], others], axis=1).to_string(float_format="{:.4f}".format)
            )
            print(others.median().rename("median").round(4).to_frame().T.to_string())


def plain_config(kind: Kind, steps: int) -> PretrainConfig:
    """Return the recipe's settings on a CPU, over steps and at lower rates."""
    name = "mini-classifier" if kind == "classification" else "mini-regressor"
    of_recipe = recipe(name, CPU)
    settings = {key: of_recipe[key] for key in of_recipe if key not in ("start", "workers")}
    settings |= {"seconds": None, "steps": steps, "eval_interval": steps} | GENTLE
    return PretrainConfig(**settings)


def model_of(name: str, config: PretrainConfig, out: Path) -> Path:
    """Return the file of a variant, continued if it is not there."""
    if name == "shipped":
        return _base_models.mini(config.kind).path
    path = out / f"{name}-{config.kind}-v3.safetensors"
    if path.is_file():
        return path
    variant, started = VARIANTS[name], time.monotonic()
    own = PretrainConfig(**vars(config) | variant.run)
    steps = round(config.steps * cells(config) / cells(own))  # as many cells
    own = PretrainConfig(**vars(own) | {"steps": steps, "eval_interval": steps})
    other = new_prior(config, **variant.prior)
    prior = MixedPrior(new_prior(config), other, variant.share)
    run = out / f"run-{name}-{config.kind}-v3.safetensors"
    pretrain(
        run, own, prior=prior, start=_base_models.mini(config.kind).path, resume=True, device="cpu"
    )
    # the last weights: whether the best ones are the first, each prior would say for itself
    specs = new_specs(own)
    saved = torch.load(run.with_suffix(".state.pt"), weights_only=True)["state"]["model"]
    specs.model.load_state_dict(saved)
    _tabpfn.write_checkpoint(specs, path, {"variant": name}, torch.float16)
    print(f"{name}: {steps} steps, {cells(own):,} cells, {time.monotonic() - started:.0f} s")
    return path


def cells(config: PretrainConfig) -> int:
    """Return rows x (columns + 6) of all tables of a run."""
    batches = drawing(config)
    return sum(batches.cost(step) for step in range(config.steps))


def new_prior(config: PretrainConfig, **settings: float) -> CausalPrior:
    """Return the prior with some of its settings changed."""
    return CausalPrior(config.kind, config.max_classes - 2, **settings)


def drawing(config: PretrainConfig, **settings: float) -> PriorBatches:
    """Return the tables of a prior with the given settings."""
    return new_batches(config, new_prior(config, **settings), new_specs(config), CPU, Timer(None))


def is_of(world: str, kind: Kind) -> bool:
    """Tell whether a task has validation tables of a kind."""
    return OF_ONE_TASK.get(world, kind) == kind


def validation(config: PretrainConfig, world: str) -> Iterator[_tabpfn.Batch]:
    """Yield the validation tables of a kind, from a seed of their own."""
    changes = {"seed": VALIDATION_SEED, "tables_per_world": 2}
    batches = drawing(PretrainConfig(**vars(config) | changes), **WORLDS[world])
    if world != "large":
        for number in range(PASSES):
            yield batches.batch(batches.tables[Pass(0, number, PASSES, ROWS, CELLS)])
        return
    found, number = 0, 0
    while found < LARGE_PASSES:
        drawn = batches.tables[Pass(1, number, 1, 2048, CELLS)]
        number += 1
        if drawn.x.shape[0] >= LARGE_ROWS and drawn.x.shape[2] >= LARGE_COLUMNS:
            found += 1
            yield batches.batch(drawn)


@torch.no_grad()
def loss(path: Path, config: PretrainConfig, batches: list[_tabpfn.Batch]) -> float:
    """Return the mean loss of a model on validation tables."""
    model = new_specs(config).model.eval()
    adopt(model, _tabpfn.load_weights(path))
    return float(np.mean([float(batch.loss(model)) for batch in batches]))


def real(path: Path, table: Table, steps: int = 0) -> float:
    """Return the test loss of a model on a table, zero-shot or fine-tuned over some steps."""
    options: dict[str, Any] = {"n_estimators": 4, "device": "cpu", "random_state": 0}
    plain, tuned = ESTIMATORS[table.task]
    if steps:
        build = partial(tuned, base_model=path, max_steps=steps, time_limit=None, **options)
    else:
        build = partial(plain, model_path=path, ignore_pretraining_limits=True, **options)
    return float(measure(build, table.split(0, MAX_TRAIN))[PRIMARY[table.task]])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=PRIMARY, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder, outside the repository")
    parser.add_argument("--variants", nargs="+", choices=["shipped", *VARIANTS], default=["plain"])
    parser.add_argument("--steps", type=int, default=120, help="of the plain continuation")
    parser.add_argument("--data", type=Path, help="folder of CSV files with a column `target`")
    parser.add_argument("--tune", nargs="*", default=[], help="variants to fine-tune as well")
    parser.add_argument("--tables", nargs="*", default=[], help="to fine-tune on")
    parser.add_argument("--fine-tune", type=int, default=40, metavar="STEPS")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser


if __name__ == "__main__":
    main()
