"""Everything that needs a CUDA card, in one call: speed against the rival, precision, memory.

    python benchmarks/gpu.py [--base v2-size v3-size] [--rows 1000 10000 50000] [--steps 20]

Per base and rows: steps per second of ours and of tabpfn.finetuning, and the share of the matrix
products' ceiling, measured on the same card, that ours reaches; then bf16 and fp16 against fp32;
then a fit whose memory is cut until it must ask less. Base models with random weights of official
sizes cost what the official ones do. `--device cpu` runs it without a card, to see that it works.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("TABPFN_DISABLE_TELEMETRY", "1")

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from _bases import base
from finetune_tabpfn import Callback
from speed import bare, ours, rival, table


class Steps(Callback):
    """Keeps the seconds of every step."""

    def on_train_end(self, state: Any) -> None:
        """Read them off the loop's own record; the first ones warm up."""
        self.seconds = float(np.median(state.step_seconds[2:]))


def ceiling(device: str) -> float:
    """Return the floating-point operations per second of large matrix products in bf16."""
    size = 8192 if device != "cpu" else 1024
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    best = 0.0
    for _ in range(10):
        wait(device)
        started = time.monotonic()
        torch.mm(a, b)
        wait(device)
        best = max(best, 2 * size**3 / (time.monotonic() - started))
    return best


def wait(device: str) -> None:
    """Let the card finish."""
    if device != "cpu":
        torch.cuda.synchronize()


def speed(arguments: Any) -> None:
    """Print steps per second and what they reach of the ceiling."""
    most = ceiling(arguments.device)
    print(f"\nmatrix products: {most / 1e12:.1f} TFLOP/s in bf16\n")
    print("| base | rows | ours, steps/s | splits' rows | of the ceiling | rival, steps/s |")
    print("|---|---|---|---|---|---|")
    for name in arguments.base:
        path = base(name, "classification", arguments.out)
        for rows in arguments.rows:
            X, y = table(rows, arguments.columns)
            clock = Steps()
            model = ours(path, arguments, callbacks=[clock], eval_interval=10**6).fit(X, y)
            context, query = (int(share * min(rows * 0.8, 10_000)) for share in (0.6, 0.4))
            one = argparse.Namespace(**{**vars(arguments), "steps": 1})
            step = bare(path, X, y, one, context=context, query=query, splits=1)
            with FlopCounterMode(display=False) as flops:
                step()
            reached = flops.get_total_flops() / clock.seconds / most
            started = time.monotonic()
            try:
                rival(path, arguments).fit(X, y)
                theirs = f"{model.n_steps_ / (time.monotonic() - started):.2f}"
            except torch.OutOfMemoryError:
                theirs = "out of memory"
            print(
                f"| {name} | {rows} | {1 / clock.seconds:.2f} | {context + query} "
                f"| {reached:.2f} | {theirs} |",
                flush=True,
            )


def precision(arguments: Any) -> None:
    """Print what half precision changes."""
    X, y = table(1000, arguments.columns)
    print("\n| base | precision | score before | after | largest change of a probability |")
    print("|---|---|---|---|---|")
    for name in ("mini", *arguments.base):
        path = base(name, "classification", arguments.out)
        reference = None
        for kind in ("fp32", "bf16", "fp16"):
            model = ours(path, arguments, precision=kind, min_gain_se=0.0).fit(X, y)
            proba = model.predict_proba(X[:200])
            reference = proba if reference is None else reference
            print(
                f"| {name} | {kind} | {model.base_score_:.4f} | {model.best_score_:.4f} "
                f"| {np.abs(proba - reference).max():.4f} |",
                flush=True,
            )


def memory(arguments: Any) -> None:
    """Cut the memory of the card until the fit must ask less of it; it must end all the same."""
    if arguments.device == "cpu":
        print("\nno card: its memory cannot be cut")
        return
    path = base(arguments.base[0], "classification", arguments.out)
    X, y = table(10_000, arguments.columns)
    for share in (0.2, 0.1, 0.05, 0.03):
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(share)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = ours(path, arguments).fit(X, y)
        said = [str(one.message) for one in caught if "emory" in str(one.message)]
        print(f"\n{share:.0%} of the card: {model.n_steps_} steps, {model.stop_reason_}; {said}")
    torch.cuda.set_per_process_memory_fraction(1.0)


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", nargs="+", default=["v2-size", "v3-size"])
    parser.add_argument("--rows", nargs="+", type=int, default=[1000, 10_000, 50_000])
    parser.add_argument("--columns", type=int, default=20)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, default=Path("benchmark-output/speed"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    card = torch.cuda.get_device_name() if arguments.device != "cpu" else platform.processor()
    print(f"{card}, {platform.platform()}, torch {torch.__version__}")
    speed(arguments)
    precision(arguments)
    memory(arguments)


if __name__ == "__main__":
    main()
