"""Does `fit` return within its time limit? Asked for, and taken, per base model, table and limit.

    python benchmarks/time_limit.py [--limits 10 30 120] [--rows 200 1000 10000 50000]
                                    [--base mini v2-size] [--csv TABLE.csv:TARGET ...]

Made-up tables of 20 columns, or those of --csv. The promise is 1.05 x limit + 1 s where the base
alone fits: the seconds of a fit without steps (`max_steps=0`) are in the table. Writes
time_limit.png and prints a Markdown table. Figures depend on the machine, which is named.
"""

from __future__ import annotations

import argparse
import platform
import time
import warnings
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import torch
from sklearn.datasets import make_classification

from _bases import base
from finetune_tabpfn import FinetunedTabPFNClassifier, FinetunedTabPFNRegressor
from finetune_tabpfn.data._io import infer_task, read_table, split_target


def tables(arguments: Any) -> dict[str, tuple[Any, Any, str]]:
    """Return X, y and the task of the tables to fit, by name."""
    named = {}
    for file in arguments.csv:
        path, target = file.rsplit(":", 1)
        X, y = split_target(read_table(path), target)
        named[Path(path).stem] = X, y, infer_task(y)
    for rows in () if arguments.csv else arguments.rows:
        X, y = make_classification(rows, 20, n_informative=8, random_state=0)
        named[f"{rows} x 20"] = X, y, "classification"
    return named


def measure(path: Path, X: Any, y: Any, task: str, limit: float) -> dict[str, Any]:
    """Fit with a limit, and without steps."""
    estimator = FinetunedTabPFNRegressor if task == "regression" else FinetunedTabPFNClassifier
    common = {"base_model": path, "random_state": 0}
    started = time.monotonic()
    estimator(**common, max_steps=0, time_limit=limit).fit(X, y)
    alone = time.monotonic() - started
    model = estimator(**common, time_limit=limit, max_steps=10**6, patience=None)
    started = time.monotonic()
    model.fit(X, y)
    taken = time.monotonic() - started
    return {
        "limit (s)": limit,
        "taken (s)": round(taken, 1),
        "kept": "yes" if taken <= 1.05 * limit + 1 else "NO",
        "without steps (s)": round(alone, 1),
        "steps": model.n_steps_,
        "evaluations": max(0, len(model.history_) - 1),
        "deployed": model.deployed_weights_,
    }


def figure(cells: pd.DataFrame, path: Path) -> None:
    """Draw the time taken over the time asked for."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    fig, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for name, part in cells.groupby("base", sort=False):
        ax.plot(part["limit (s)"], part["taken (s)"], "o", alpha=0.6, label=name)
    limits = sorted(cells["limit (s)"].unique())
    ax.plot(limits, [1.05 * limit + 1 for limit in limits], "k--", lw=1, label="1.05 x limit + 1 s")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("time_limit (s)")
    ax.set_ylabel("wall time of fit (s)")
    ax.legend()
    fig.savefig(path, dpi=120)


def main() -> None:
    """Print a row per base model, table and limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limits", type=float, nargs="+", default=[10, 30, 120])
    parser.add_argument("--rows", type=int, nargs="+", default=[200, 1000, 10_000, 50_000])
    parser.add_argument("--csv", nargs="+", default=[], metavar="FILE:TARGET")
    parser.add_argument("--base", nargs="+", default=["mini", "v2-size"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("benchmark-output/speed"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    cells = []
    for name in arguments.base:
        for table, (X, y, task) in tables(arguments).items():
            path = base(name, task, arguments.out)
            for limit in arguments.limits:
                row = {"base": name, "table": table, **measure(path, X, y, task, limit)}
                cells.append(row)
                print(row, flush=True)
    found = pd.DataFrame(cells)
    print(found.to_markdown(index=False))
    figure(found, arguments.out / "time_limit.png")
    print(f"\n{platform.platform()}, {arguments.threads} threads, torch {torch.__version__}")


if __name__ == "__main__":
    main()
