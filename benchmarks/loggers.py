"""What loggers cost: the seconds in each one's hooks, as a share of the fit.

    python benchmarks/loggers.py [--steps 200] [--rows 1000] [--repeats 3] [--threads 1]

One fit with all of them, repeated; the first one is left out, since it imports libraries and makes
MLflow's database, which is done once. Timing the hooks themselves tells what the difference of two
noisy fits cannot. wandb writes offline.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("TABPFN_DISABLE_TELEMETRY", "1")
os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}

import torch
from sklearn.datasets import make_classification

from finetune_tabpfn import FinetunedTabPFNClassifier
from finetune_tabpfn.loggers._registry import LOGGER_HOOKS, OWN, Loggers

ONCE = ("on_fit_begin", "on_train_begin", "on_train_end", "on_fit_end")


class Timed:
    """Passes every hook on to a logger and notes the seconds it takes."""

    def __init__(self, name: str, folder: Path) -> None:
        (opened,) = Loggers(name, folder).loggers
        self.logger, self.seconds = opened, defaultdict[str, float](float)

    def __getattr__(self, hook: str) -> Callable[[Any], None]:
        if hook not in LOGGER_HOOKS:
            raise AttributeError(hook)

        def call(argument: Any) -> None:
            began = time.perf_counter()
            getattr(self.logger, hook)(argument)
            self.seconds[hook] += time.perf_counter() - began

        return call


def main() -> None:
    """Fit with all loggers and print what each took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    X, y = make_classification(arguments.rows, 20, n_informative=10, random_state=0)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        fit(X, y, 2)
        fits = [fit(X, y, arguments.steps) for _ in range(arguments.repeats)]
    whole = median(seconds for seconds, _, _ in fits)
    evaluations = fits[0][2]
    print(f"\n{platform.platform()}, {arguments.threads} threads, torch {torch.__version__}")
    print(
        f"{arguments.rows:,} x 20 rows, {arguments.steps} steps, {evaluations} evaluations, "
        f"{whole:.1f} s; medians of {arguments.repeats} fits\n"
    )
    print(
        "| logger | once (s) | a step (ms) | an evaluation (ms) | share of the fit |\n|"
        + 5 * "---|"
    )
    total = 0.0
    for name in OWN:
        took = {hook: median(hooks[name][hook] for _, hooks, _ in fits) for hook in LOGGER_HOOKS}
        once, step, round_ = (sum(took[hook] for hook in hooks) for hooks in (ONCE, STEP, ROUND))
        total += once + step + round_
        print(
            f"| {name} | {once:.2f} | {1000 * step / arguments.steps:.2f} "
            f"| {1000 * round_ / evaluations:.2f} | {(once + step + round_) / whole:.2%} |"
        )
    print(f"| all | | | | {total / whole:.2%} |")


STEP = ("before_step", "after_step")
ROUND = ("before_evaluation", "after_evaluation")


def fit(X: Any, y: Any, steps: int) -> tuple[float, dict[str, dict[str, float]], int]:
    """Return the seconds of a fit, those in the hooks of each logger, and its evaluations."""
    with tempfile.TemporaryDirectory() as folder:
        loggers = {name: Timed(name, Path(folder)) for name in OWN}
        model = FinetunedTabPFNClassifier(
            base_model="mini",
            device="cpu",
            max_steps=steps,
            patience=None,
            random_state=0,
            precision="fp32",
            loggers=list(loggers.values()),
        )
        began = time.monotonic()
        model.fit(X, y)
        seconds = time.monotonic() - began
        hooks = {name: logger.seconds for name, logger in loggers.items()}
        return seconds, hooks, len(model.history_)


if __name__ == "__main__":
    main()
