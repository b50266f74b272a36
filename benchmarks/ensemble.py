"""What averaging the predictions of base and fine-tuned network would gain over either.

    python benchmarks/ensemble.py [--data FOLDER] [--tables NAME ...] [--splits 1] [--seconds 60]
                                  [--max-train 700] [--threads 1]

Each fit deploys what scored best on its hold-out, be it luck (`min_gain_se` 0), so that the mean of
its predictions and the base's can be held against it: log-loss and squared error are convex, so the
mean loses at most its share of what the fine-tuned network loses. Ratios to the base's test loss
(RMSE in regression); Markdown on stdout.
"""

from __future__ import annotations

import argparse
import platform
import time
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from _tables import Table, bundled, from_folder, predictions, row_losses
from finetune_tabpfn._estimators import new_estimator

TABLES = (
    "diabetes", "auto_mpg", "housing", "bodyfat", "winequality_red", "friedman2",
    "breast_cancer", "credit_g", "vote", "ionosphere", "diabetes > median",
)  # fmt: skip
SHARES = {"fine-tuned": 1.0, "half of each": 0.5, "a third fine-tuned": 1 / 3}


def measure(table: Table, split: int, arguments: Any) -> dict[str, Any]:
    """Fit a table and return the ratios."""
    X, X_test, y, y_test = table.split(split, arguments.max_train, max_test=1000)
    common = {"base_model": "mini", "device": "cpu", "random_state": split}
    base = new_estimator(table.task, {**common, "max_steps": 0, "validation": None}).fit(X, y)
    before = predictions(base, X_test)
    reference = row_losses(base, before, y_test).mean()
    limited = {**common, "time_limit": arguments.seconds, "min_gain_se": 0.0}
    started = time.monotonic()
    model = new_estimator(table.task, limited).fit(X, y)
    seconds = time.monotonic() - started
    after = predictions(model, X_test)
    root = 1 if table.task == "classification" else 0.5
    ratios = {
        name: (row_losses(model, share * after + (1 - share) * before, y_test).mean() / reference)
        ** root
        for name, share in SHARES.items()
    }
    return {
        "table": table.name, "rows": len(y), "split": split, **ratios,
        "steps": model.n_steps_, "seconds": round(seconds, 1),
    }  # fmt: skip


def main() -> None:
    """Print a row per table and split, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of CSV files with a column `target`")
    parser.add_argument("--tables", nargs="*", default=list(TABLES))
    parser.add_argument("--splits", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--max-train", type=int, default=700, help="rows, hold-out included")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    found = [*bundled(), *(from_folder(arguments.data) if arguments.data else ())]
    named = {table.name: table for table in found}
    rows = []
    for split in range(1, arguments.splits + 1):
        for name in arguments.tables:
            if name in named:
                rows.append(measure(named[name], split, arguments))
                print(rows[-1], flush=True)
    result = pd.DataFrame(rows)
    print(f"\n{result.round(3).to_markdown(index=False)}\n")
    print(result[list(SHARES)].agg(["median", "max"]).round(3).to_markdown())
    print(f"\n{platform.platform()}, {arguments.threads} threads, torch {torch.__version__}")


if __name__ == "__main__":
    main()
