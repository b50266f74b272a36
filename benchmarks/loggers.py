"""What all loggers together cost: fits with and without them, in turns.

    python benchmarks/loggers.py [--steps 100] [--rows 1000] [--repeats 5] [--threads 1]

All make the same steps. The first fit of each is left out: it imports libraries, which a process
does once. What a fit takes once (a database, a run of wandb, offline) is in the figures.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import tempfile
import time
import warnings
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("TABPFN_DISABLE_TELEMETRY", "1")
os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}

import torch
from sklearn.datasets import make_classification

from finetune_tabpfn import FinetunedTabPFNClassifier

ALL = ["progress", "jsonl", "csv", "plot", "wandb", "tensorboard", "mlflow"]


def main() -> None:
    """Fit in turns and print seconds and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    X, y = make_classification(arguments.rows, 20, n_informative=10, random_state=0)
    arms: dict[str, list[str]] = {"none": [], "all": ALL} | {name: [name] for name in ALL}
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for repeat in range(arguments.repeats + 1):
        for name, loggers in arms.items():
            taken = fit(X, y, loggers, arguments.steps)
            if repeat:
                seconds[name].append(taken)
        print(f"{repeat} of {arguments.repeats}", flush=True)
    plain = median(seconds["none"])
    print(f"\n{platform.platform()}, {arguments.threads} threads, torch {torch.__version__}")
    print(f"{arguments.rows:,} rows, {arguments.steps} steps, medians of {arguments.repeats}\n")
    print("| loggers | seconds | over none |\n|---|---|---|")
    for name, taken in seconds.items():
        print(f"| {name} | {median(taken):.2f} | {median(taken) / plain:.3f} |")


def fit(X: Any, y: Any, loggers: list[str], steps: int) -> float:
    """Return the seconds of a fit."""
    with tempfile.TemporaryDirectory() as folder:
        model = FinetunedTabPFNClassifier(
            base_model="mini",
            device="cpu",
            max_steps=steps,
            early_stopping=False,
            random_state=0,
            precision="fp32",
            loggers=loggers,
            log_dir=Path(folder),
        )
        began = time.monotonic()
        model.fit(X, y)
        return time.monotonic() - began


if __name__ == "__main__":
    main()
