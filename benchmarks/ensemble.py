"""Several short trainings against one long one: the mean of their weights, or of predictions.

    python benchmarks/ensemble.py [--data FOLDER] [--tables NAME[@ROWS] ...] [--split 0]
                                  [--seconds 40] [--folds 4] [--threads 1]

Each table is fine-tuned once on a single hold-out and once for each of several folds in the same
time, and everything that could be deployed predicts the test rows: the best evaluation of the
single training, the mean of the folds' predictions, the mean of their weights, the weights half-way
to it from the base, and means of predictions with the base's. `NAME@ROWS` trains on so many rows
of the table. Ratios to the base's test loss (RMSE in regression), and in brackets how many standard
errors of the test rows lie between; Markdown on stdout.
"""

from __future__ import annotations

import argparse
import platform
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from _tables import Table, bundled, from_folder, predictions, row_losses
from finetune_tabpfn import Callback
from finetune_tabpfn._estimators import new_estimator
from finetune_tabpfn.training._state import (
    TrainState,
    Weights,
    copy_weights,
    mean_weights,
    mix_weights,
)

TABLES = (
    "abalone@400", "phoneme@500", "telco_churn@500", "winequality_red@500", "hypothyroid@600",
    "friedman1@400", "friedman2@400", "friedman3@400", "breast_cancer", "vote", "ionosphere",
    "diabetes > median", "bodyfat", "auto_mpg", "wine",
)  # fmt: skip


class BestOfEachFold(Callback):
    """Keeps the weights that scored best in each training."""

    def __init__(self) -> None:
        self.weights: dict[int, Weights] = {}
        self.base: Weights = {}

    def after_evaluation(self, state: TrainState) -> None:
        """Keep them."""
        if not state.history[-1].evaluation:
            self.base = copy_weights(state.model)
        if state.best_evaluation == state.history[-1].evaluation:
            self.weights[state.fold] = copy_weights(state.model)


def measure(table: Table, rows: int, arguments: Any) -> dict[str, str]:
    """Fine-tune a table in both ways and return the ratio of everything that could be deployed."""
    X, X_test, y, y_test = table.split(arguments.split, rows, max_test=1000)
    kept = {}
    for n_folds in (1, arguments.folds):
        kept[n_folds] = BestOfEachFold()
        limited = {
            "base_model": "mini", "device": "cpu", "random_state": arguments.split,
            "n_folds": n_folds, "callbacks": [kept[n_folds]], "time_limit": arguments.seconds,
            "max_steps": 100_000, "patience": None,
        }  # fmt: skip
        model = new_estimator(table.task, limited).fit(X, y)

    def predicted(weights: Weights) -> Any:
        model.predictor_.models_[0].load_state_dict(weights)
        return predictions(model, X_test)

    folds = kept[arguments.folds]
    mean = mean_weights(list(folds.weights.values()))
    base = predicted(folds.base)
    candidates = {
        "one training": predicted(kept[1].weights[0]),
        "folds: mean of predictions": np.mean([predicted(w) for w in folds.weights.values()], 0),
        "folds: mean of weights": predicted(mean),
        "half-way to it": predicted(mix_weights(folds.base, mean, 0.5)),
    }
    candidates["predictions of it and the base"] = (candidates["folds: mean of weights"] + base) / 2
    before = row_losses(model, base, y_test)
    root = 1 if table.task == "classification" else 0.5
    found = {"table": table.name, "rows": str(len(y))}
    for name, after in candidates.items():
        change = row_losses(model, after, y_test) - before
        errors = change.mean() / (change.std() / np.sqrt(len(change)) or 1.0)
        ratio = (1 + change.mean() / before.mean()) ** root
        found[name] = f"{ratio:.3f} ({errors:.1f})"
    return found


def main() -> None:
    """Print a row per table, and what the candidates come to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of CSV files with a column `target`")
    parser.add_argument("--tables", nargs="*", default=list(TABLES))
    parser.add_argument("--split", type=int, default=0, help="seed of the rows and of the fits")
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    found = [*bundled(), *(from_folder(arguments.data) if arguments.data else ())]
    named = {table.name: table for table in found}
    lines = []
    for asked in arguments.tables:
        name, _, rows = asked.partition("@")
        if name in named:
            lines.append(measure(named[name], int(rows or 2000), arguments))
            print(lines[-1], flush=True)
    result = pd.DataFrame(lines)
    print(f"\n{result.to_markdown(index=False)}\n")
    ratios = result.iloc[:, 2:].map(lambda text: float(text.split()[0]))
    summary = {
        "median": ratios.median(),
        "geometric mean": np.exp(np.log(ratios).mean()),
        "worst": ratios.max(),
    }
    print(pd.DataFrame(summary).round(3).to_markdown())
    print(f"\n{platform.platform()}, {arguments.threads} threads, torch {torch.__version__}")


if __name__ == "__main__":
    main()
