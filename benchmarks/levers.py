"""What each part of the recipe gains: one lever moved at a time, and some together.

    python benchmarks/levers.py [--data FOLDER] [--tables NAME ...] [--levers NAME ...]
                                [--splits 1] [--steps 60 | --seconds 60 [--cpu-clock]]
                                [--out FOLDER]

Every lever fine-tunes the same base model on the same rows for the same number of steps, without
early stopping, so that the figures do not depend on how busy the machine is; what a step costs is
reported beside them. With `--seconds` every lever has so much time instead, and what is not moved
is as a user has it, folds and early stopping too; with `--cpu-clock` these are seconds of the
processor's work for the process (on one thread). Runs that the output holds already are not made
again.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ.setdefault("TABPFN_DISABLE_TELEMETRY", "1")
if "--cpu-clock" in sys.argv:  # before anyone takes a clock of his own
    time.time = time.monotonic = time.perf_counter = time.process_time

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from _tables import Table, bundled, from_folder, predictions, row_losses
from finetune_tabpfn._estimators import new_estimator
from finetune_tabpfn._losses import IGNORED, LOSSES, Loss, Targets
from finetune_tabpfn._tabpfn import Batch, Blueprint
from finetune_tabpfn.finetuning import _defaults
from finetune_tabpfn.finetuning._batches import SplitBatches
from finetune_tabpfn.finetuning._defaults import learning_rate
from finetune_tabpfn.training._callbacks import Callback
from finetune_tabpfn.training._loop import TrainConfig
from finetune_tabpfn.training._state import TrainState

MINI_RATE = learning_rate(1_170_000)
TABLES = (
    "breast_cancer", "digits", "credit_g", "phoneme", "telco_churn", "winequality_red",
    "abalone", "friedman1", "housing", "house_prices",
)  # fmt: skip


class PullToBase(Callback):
    """L2-SP: decays the weights towards the base model's instead of towards zero."""

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def after_step(self, state: TrainState) -> None:
        """Move every weight a little back."""
        with torch.no_grad():
            for name, weight in state.model.named_parameters():
                weight.lerp_(state.base_weights[name], self.strength * state.learning_rate)


def cosine(step: int, steps: int, warmup: int = 5) -> float:
    """Return the share of the learning rate: a linear rise, then half a cosine down to 0."""
    return min((step + 1) / warmup, 0.5 + 0.5 * np.cos(np.pi * min(1.0, step / steps)))


def warm_up(step: int, steps: int) -> float:
    """Return the share of the learning rate: a linear rise over some steps, then constant."""
    return min(1.0, (step + 1) / steps)


def loop(**settings: Any) -> Any:
    """Train with other settings of the loop."""

    def config(**given: Any) -> TrainConfig:
        return TrainConfig(**{**given, **settings})

    return patch("finetune_tabpfn.finetuning._fine_tune.TrainConfig", config)


def all_members(batches: SplitBatches, step: int) -> Iterator[tuple[float, Batch]]:
    """Yield one split for each member in every step, instead of one member in turn."""
    members = range(len(batches.table.members))
    for member in members:
        split = batches.sampler.draw(step, member)
        yield 1 / len(members), batches.table.batch([split], member)


def mixed(name: str, share: float, other: Loss) -> Any:
    """Mix another loss into the one of a name."""
    plain = LOSSES[name]

    def loss(logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        return (1 - share) * plain(logits, targets) + share * other(logits, targets)

    return patch.dict(LOSSES, {name: loss})


def evenly(logits: torch.Tensor, targets: Targets) -> torch.Tensor:
    """Return the cross-entropy to labels spread evenly over the classes of the context."""
    absent = torch.ones(logits.shape[1:], dtype=torch.bool)
    absent.scatter_(1, targets.context.T.long(), False)
    log_p = functional.log_softmax(logits.float().masked_fill(absent, -torch.inf), -1)
    even = log_p.masked_fill(absent, 0).sum(-1) / (~absent).sum(-1)
    answered = (targets.query != IGNORED).float()
    return -(even * answered).sum() / answered.sum()


def squared_error(logits: torch.Tensor, targets: Targets) -> torch.Tensor:
    """Return the squared error of the mean of the predicted distribution."""
    distribution: Any = targets.distribution
    return ((distribution.mean(logits.float()) - targets.query) ** 2).mean()


def ranked_probability(logits: torch.Tensor, targets: Targets) -> torch.Tensor:
    """Return the continuous ranked probability score over the buckets."""
    distribution: Any = targets.distribution
    borders = distribution.borders
    below = torch.softmax(logits.float(), -1).cumsum(-1)[..., :-1]
    truth = (targets.query[..., None] <= borders[1:-1]).float()
    widths = (borders[2:] - borders[:-2]) / 2
    return ((below - truth) ** 2 * widths).sum(-1).mean()


smoothed = partial(mixed, "cross_entropy", other=evenly)
with_squared_error = partial(mixed, "negative_log_density", other=squared_error)
with_crps = partial(mixed, "negative_log_density", other=ranked_probability)


@contextlib.contextmanager
def smoothed_with_more_queries(smoothing: float, query_share: float) -> Iterator[None]:
    """Spread a share of every label, and take more of a split as query rows."""
    with smoothed(smoothing), patch.object(_defaults, "QUERY_SHARE", query_share):
        yield


@contextlib.contextmanager
def split_rows(rows: int, query_share: float) -> Iterator[None]:
    """Take splits of at most so many rows, and so many of them as query rows."""
    smaller = patch.object(_defaults, "CPU_SPLIT_ROWS", rows)
    with smaller, patch.object(_defaults, "QUERY_SHARE", query_share):
        yield


@contextlib.contextmanager
def members_of_their_own() -> Iterator[None]:
    """Give every fold other ensemble members than those of the predictor."""
    copy, numbers = Blueprint.copy, itertools.count(1)

    def copy_with_others(blueprint: Blueprint) -> Blueprint:
        return replace(copy(blueprint), random_state=blueprint.random_state + next(numbers))

    with patch.object(Blueprint, "copy", copy_with_others):
        yield


@dataclass(frozen=True)
class Lever:
    """What differs from the defaults: parameters, something replaced, how many seeds."""

    parameters: dict[str, Any] = field(default_factory=dict)
    replaced: Callable[[int], Any] = lambda steps: contextlib.nullcontext()
    seeds: int = 1
    task: str | None = None
    refit: bool = False


TOGETHER = Lever(
    {"learning_rate": 2 * MINI_RATE, "n_estimators": 8},
    lambda steps: smoothed_with_more_queries(0.05, 0.6),
)
LEVERS = {
    "default": Lever(),
    "learning rate / 3": Lever({"learning_rate": MINI_RATE / 3}),
    "learning rate x 2": Lever({"learning_rate": 2 * MINI_RATE}),
    "learning rate x 4": Lever({"learning_rate": 4 * MINI_RATE}),
    "cosine to 0": Lever(replaced=lambda steps: loop(schedule=partial(cosine, steps=steps))),
    "rate x 2, cosine to 0": Lever(
        {"learning_rate": 2 * MINI_RATE},
        lambda steps: loop(schedule=partial(cosine, steps=steps)),
    ),
    "no plateau": Lever({"plateau_patience": 0}),
    "plateau of 3 evaluations": Lever({"plateau_patience": 3}),
    "plateau of 5 evaluations": Lever({"plateau_patience": 5}),
    "learning_rate auto": Lever({"learning_rate": "auto"}),
    "warm-up of 20 steps": Lever(replaced=lambda steps: loop(schedule=partial(warm_up, steps=20))),
    "query share .4": Lever(replaced=lambda steps: patch.object(_defaults, "QUERY_SHARE", 0.4)),
    "query share .6": Lever(replaced=lambda steps: patch.object(_defaults, "QUERY_SHARE", 0.6)),
    "splits of 256 rows": Lever(
        replaced=lambda steps: patch.object(_defaults, "CPU_SPLIT_ROWS", 256)
    ),
    "splits of 512 rows": Lever(
        replaced=lambda steps: patch.object(_defaults, "CPU_SPLIT_ROWS", 512)
    ),
    "splits of 1,024 rows": Lever(
        replaced=lambda steps: patch.object(_defaults, "CPU_SPLIT_ROWS", 1024)
    ),
    "splits of 1,024 rows, query share .4": Lever(replaced=lambda steps: split_rows(1024, 0.4)),
    "members of their own": Lever(replaced=lambda steps: members_of_their_own()),
    "the full rate": Lever({"learning_rate": MINI_RATE}),
    "all members in a step": Lever(
        replaced=lambda steps: patch.object(SplitBatches, "__call__", all_members)
    ),
    "batch_size 4": Lever({"batch_size": 4}),
    "weight_decay .01": Lever({"weight_decay": 0.01}),
    "weight_decay 1": Lever({"weight_decay": 1.0}),
    "L2-SP 10": Lever({"callbacks": [PullToBase(10.0)]}),
    "L2-SP 100": Lever({"callbacks": [PullToBase(100.0)]}),
    "no moving average": Lever({"ema_decay": 0.0}),
    "average at full decay": Lever(
        replaced=lambda steps: patch(
            "finetune_tabpfn.training._loop.ema_decay_at", lambda step, most: most
        )
    ),
    "moving average .9": Lever({"ema_decay": 0.9}),
    "moving average .98": Lever({"ema_decay": 0.98}),
    "label smoothing .05": Lever(replaced=lambda steps: smoothed(0.05), task="classification"),
    "half squared error": Lever(replaced=lambda steps: with_squared_error(0.5), task="regression"),
    "squared error": Lever(replaced=lambda steps: with_squared_error(1.0), task="regression"),
    "half CRPS": Lever(replaced=lambda steps: with_crps(0.5), task="regression"),
    "CRPS": Lever(replaced=lambda steps: with_crps(1.0), task="regression"),
    "last_layers": Lever({"tuning": "last_layers"}),
    "head": Lever({"tuning": "head"}),
    "norm": Lever({"tuning": "norm"}),
    "last_layers, rate x 3": Lever({"tuning": "last_layers", "learning_rate": 3 * MINI_RATE}),
    "norm, rate x 10": Lever({"tuning": "norm", "learning_rate": 10 * MINI_RATE}),
    "lora": Lever({"tuning": "lora"}),
    "lora, rate x 5": Lever({"tuning": "lora", "learning_rate": 5 * MINI_RATE}),
    "lora of rank 32, rate x 5": Lever(
        {"tuning": "lora", "learning_rate": 5 * MINI_RATE, "lora_rank": 32, "lora_alpha": 64}
    ),
    "gradient norm .1": Lever({"max_grad_norm": 0.1}),
    "gradient norm 10": Lever({"max_grad_norm": 10.0}),
    "hold-out 10 %": Lever({"validation": 0.1}),
    "hold-out 33 %": Lever({"validation": 0.33}),
    "3 folds": Lever({"n_folds": 3}),
    "3 runs": Lever(seeds=3),
    "8 members": Lever({"n_estimators": 8}),
    "refit": Lever(refit=True),
    "together": TOGETHER,
    "together, 3 folds": replace(TOGETHER, parameters=TOGETHER.parameters | {"n_folds": 3}),
}


@dataclass(frozen=True)
class Job:
    """A split of a table, and how the base model does on it."""

    table: Table
    split: int
    steps: int
    max_train: int
    seconds: float | None = None

    @cached_property
    def rows(self) -> tuple[Any, Any, Any, Any]:
        """X_train, X_test, y_train, y_test."""
        return self.table.split(self.split, self.max_train, max_test=1000)

    @cached_property
    def base(self) -> np.ndarray:
        """Loss of the untouched base model on every test row."""
        X, X_test, y, y_test = self.rows
        model = fitted(self.table.task, Lever(), 0, self.split, X, y)
        return row_losses(model, predictions(model, X_test), y_test)

    def run(self, lever: Lever) -> dict[str, Any]:
        """Fine-tune with one lever and score on the test rows."""
        X, X_test, y, y_test = self.rows
        base = self.base
        started = time.monotonic()
        found = []
        with lever.replaced(self.steps):
            for seed in range(lever.seeds):
                seed = self.split + 100 * seed
                model = fitted(self.table.task, lever, self.steps, seed, X, y, self.seconds)
                if lever.refit and model.best_step_:
                    model = refitted(self.table.task, lever, model, X, y)
                found.append(predictions(model, X_test))
        change = row_losses(model, np.mean(found, axis=0), y_test) - base
        root = 1 if self.table.task == "classification" else 0.5
        return {
            "table": self.table.name,
            "split": self.split,
            "task": self.table.task,
            "ratio": ((base + change).mean() / base.mean()) ** root,
            "worse by 1 s.e.": bool(change.mean() > change.std() / np.sqrt(len(change))),
            "seconds": time.monotonic() - started,
        }


def fitted(
    task: str,
    lever: Lever,
    steps: int,
    seed: int,
    X: Any,
    y: Any,
    seconds: float | None = None,
) -> Any:
    """Return an estimator that was fine-tuned for so many steps, or for so long."""
    common = {"base_model": "mini", "device": "cpu", "random_state": seed}
    if seconds is not None:
        limited = {"time_limit": seconds, "n_estimators": 4}
        return new_estimator(task, {**common, **limited, **lever.parameters}).fit(X, y)
    settings = {**common, "patience": None, "n_folds": 1, **lever.parameters}
    settings["max_steps"] = steps * settings["n_folds"]  # every fold makes as many as one training
    return new_estimator(task, settings).fit(X, y)


def refitted(task: str, lever: Lever, first: Any, X: Any, y: Any) -> Any:
    """Return an estimator tuned on nearly all rows, as many steps as were best before."""
    again = {"validation": 0.02, "min_gain_se": 0.0}
    return fitted(task, Lever(lever.parameters | again), first.best_step_, first.random_state, X, y)


def report(runs: pd.DataFrame) -> pd.DataFrame:
    """Return, per lever, the ratio to the base and to what the defaults reach."""
    by_run = runs.pivot_table(index=["table", "split"], columns="lever", values="ratio", sort=False)
    seconds = runs.pivot_table(index=["table", "split"], columns="lever", values="seconds")
    over = by_run.div(by_run["default"], axis=0)
    return pd.DataFrame(
        {
            "runs": by_run.count(),
            "median over base": by_run.median(),
            "mean over default": np.exp(np.log(over).mean()),
            "best": over.min(),
            "worst": over.max(),
            "better than default": (over < 1 - 1e-6).sum() / over.count(),
            "worse than base by 1 s.e.": runs.groupby("lever")["worse by 1 s.e."].mean(),
            "time": seconds.div(seconds["default"], axis=0).median(),
        }
    ).loc[[name for name in LEVERS if name in by_run.columns]]


def main() -> None:
    """Make the runs that are missing and print what the levers gain."""
    arguments = _parser().parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / "levers.csv"
    runs = pd.read_csv(file).to_dict("records") if file.is_file() else []
    done = {(run["table"], run["split"], run["lever"]) for run in runs}
    found = list(bundled()) + list(from_folder(arguments.data) if arguments.data else ())
    named = {table.name: table for table in found}
    for split in range(arguments.splits):
        jobs = [
            Job(named[name], split, arguments.steps, arguments.max_train, arguments.seconds)
            for name in arguments.tables
            if name in named
        ]
        for name, job in itertools.product(arguments.levers, jobs):
            lever, table = LEVERS[name], job.table
            if (table.name, split, name) in done or lever.task not in (None, table.task):
                continue
            runs.append({"lever": name, **job.run(lever)})
            pd.DataFrame(runs).to_csv(file, index=False)
            print(f"{name}, {table.name}: {runs[-1]['ratio']:.4f}", flush=True)
    runs = pd.DataFrame(runs)
    for task, part in [("both tasks", runs), *runs.groupby("task")]:
        print(f"\n{task}\n\n{report(part).round(3).to_markdown()}")
    print(f"\n{platform.platform()}, {arguments.threads} threads, torch {torch.__version__}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of CSV files with a column `target`")
    parser.add_argument("--tables", nargs="*", default=list(TABLES))
    parser.add_argument("--levers", nargs="*", default=list(LEVERS), choices=LEVERS)
    parser.add_argument("--splits", type=int, default=1)
    parser.add_argument("--steps", type=int, default=60, help="of each fine-tuning")
    parser.add_argument("--seconds", type=float, help="of each fine-tuning, instead of steps")
    parser.add_argument("--cpu-clock", action="store_true", help="count seconds of work")
    parser.add_argument("--max-train", type=int, default=1000, help="rows, hold-out included")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("benchmark-output/levers"))
    return parser


if __name__ == "__main__":
    main()
