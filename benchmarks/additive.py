"""Can a base model add up what many columns say? Made-up logistic data of growing width.

    python benchmarks/additive.py [--base FILE ...] [--seeds 2]

A class depends on all columns alike, additively: 700 training and 500 test rows of independent
normal columns, the score's standard deviation is 3. Test log-loss, mean over seeds.
"""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path

os.environ.setdefault("TABPFN_DISABLE_TELEMETRY", "1")

import numpy as np
import pandas as pd
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from tabpfn import TabPFNClassifier

from finetune_tabpfn.models._base_models import mini

TRAIN, ROWS, SCALE = 700, 1200, 3.0


def draw(n_columns: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a table."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(ROWS, n_columns))
    weights = rng.normal(size=n_columns) / np.sqrt(n_columns) * SCALE
    return X, (rng.random(ROWS) < 1 / (1 + np.exp(-X @ weights))).astype(int)


def main() -> None:
    """Print a row per model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", nargs="*", type=Path, default=[], help="further checkpoints")
    parser.add_argument("--columns", nargs="+", type=int, default=[5, 20, 50])
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    models = {
        "LogisticRegression": LogisticRegression(max_iter=1000),
        "RandomForest": RandomForestClassifier(random_state=0),
    }
    for path in (mini("classification").path, *arguments.base):
        models[path.stem] = TabPFNClassifier(
            model_path=path.resolve(), n_estimators=4, device="cpu", random_state=0
        )
    rows = {}
    for name, model in models.items():
        for n_columns in arguments.columns:
            losses = []
            for seed in range(arguments.seeds):
                X, y = draw(n_columns, seed)
                model.fit(X[:TRAIN], y[:TRAIN])
                losses.append(log_loss(y[TRAIN:], model.predict_proba(X[TRAIN:])))
            rows.setdefault(name, {})[f"{n_columns} columns"] = np.mean(losses)
    print(pd.DataFrame(rows).T.round(3).to_markdown())
    print(f"\n{platform.platform()}, torch {torch.__version__}")


if __name__ == "__main__":
    main()
