"""Measure what drawing the tables costs, beside the step that is trained on them.

    python benchmarks/prior.py [--threads 1] [--steps 3]

Alternates between drawing the tables of a step and forward and backward passes over them, at the
sizes of each stage of a pretraining run of a mini model.
"""

from __future__ import annotations

import argparse
import platform
import time
from statistics import median

import torch

from finetune_tabpfn.finetuning._budget import Timer
from finetune_tabpfn.pretraining import PretrainConfig
from finetune_tabpfn.pretraining._config import STAGES
from finetune_tabpfn.pretraining._run import new_batches, new_specs


def main() -> None:
    """Print a row per task and stage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{platform.platform()}, {arguments.threads} threads, torch {torch.__version__}\n")
    header = ("task", "rows up to", "tables", "drawing, s", "step, s", "share")
    print("{:>15} {:>10} {:>7} {:>11} {:>8} {:>6}".format(*header))
    device = torch.device("cpu")
    for kind in ("classification", "regression"):
        config = PretrainConfig(kind=kind)
        specs = new_specs(config)
        batches = new_batches(config, None, specs, device, Timer(None))
        for stage in STAGES:
            drawing, training, tables = [], [], 0
            for number in range(arguments.steps):
                step = min(config.steps - 1, int(stage.until * config.steps) - 1 - number)
                started = time.monotonic()
                passes = list(batches(step))
                drawn = time.monotonic()
                for share, batch in passes:
                    (share * batch.loss(specs.model)).backward()
                drawing.append(drawn - started)
                training.append(time.monotonic() - drawn)
                tables += sum(batch.x.shape[1] for _, batch in passes)
            share = median(drawing) / (median(drawing) + median(training))
            print(
                f"{kind:>15} {stage.max_rows:10d} {tables / arguments.steps:7.0f} "
                f"{median(drawing):11.3f} {median(training):8.2f} {share:6.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
