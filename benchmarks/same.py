"""Tell whether two versions of this package come to the same results, bit by bit.

    python benchmarks/same.py --out before.json      # in the one version
    python benchmarks/same.py --against before.json  # in the other, on the same machine

A dozen fits of every kind with the mini models and a few steps: hashes of their predictions, of the
history without its seconds, and why each ended. Prints what differs and then exits with 1.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine

from finetune_tabpfn import Callback, fine_tune_base_model
from finetune_tabpfn._estimators import new_estimator
from finetune_tabpfn._tasks import Kind

SHORT: dict[str, Any] = {"base_model": "mini", "max_steps": 12, "eval_interval": 4}
SHORT |= {"n_estimators": 2, "random_state": 0, "min_gain_se": 0.0}
CANCER, DIABETES = load_breast_cancer(return_X_y=True), load_diabetes(return_X_y=True)


class Interrupts(Callback):
    """Stands for Ctrl-C at the sixth step."""

    def after_step(self, state: Any) -> None:
        """Raise it."""
        if state.step == 6:
            raise KeyboardInterrupt


def fitted(kind: Kind, X: Any, y: Any, fit: dict[str, Any] | None = None, **changes: Any) -> Any:
    """Return a fitted estimator and what it predicts."""
    model = new_estimator(kind, {**SHORT, **changes}).fit(X, y, **(fit or {}))
    return model, model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)


def classifier(fit: dict[str, Any] | None = None, rows: int = 250, **changes: Any) -> Any:
    """Fit a classifier to some rows of a table."""
    X, y = CANCER[0][:rows], CANCER[1][:rows]
    return fitted("classification", X, y, fit, **changes)


def regressor(fit: dict[str, Any] | None = None, rows: int = 250, **changes: Any) -> Any:
    """Fit a regressor to some rows of a table."""
    X, y = DIABETES[0][:rows], DIABETES[1][:rows]
    return fitted("regression", X, y, fit, **changes)


def mixed() -> Any:
    """Fit a table of every kind of column."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "number": np.where(rng.random(150) < 0.2, np.nan, rng.normal(size=150)),
            "flag": rng.random(150) < 0.5,
            "category": pd.Categorical(rng.choice(list("abc"), 150)),
            "text": rng.choice(["red", "green", None], 150),
            "day": pd.date_range("2024-01-01", periods=150, freq="D"),
        }
    )
    y = np.where((X["category"] == "a") ^ X["flag"], "yes", "no")
    return fitted("classification", X, y)


def resumed() -> Any:
    """Fit in two goes."""
    with tempfile.TemporaryDirectory() as folder:
        classifier(max_steps=6, checkpoint=folder)
        return classifier(checkpoint=folder, resume=True)


def related() -> Any:
    """Fine-tune a base model on two tables and predict a third with it."""
    tables = [load(return_X_y=True) for load in (load_iris, load_wine)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "related-v3.safetensors"
        fine_tune_base_model(tables, path, task="classification", **SHORT)
        return classifier(base_model=path, max_steps=4)


OWN = {"X_val": CANCER[0][300:400], "y_val": CANCER[1][300:400]}
SPLITS = {"batch_size": 3, "gradient_accumulation_steps": 2, "query_size": 40}
WEIGHT = np.linspace(0.1, 2, 250)
FITS: dict[str, Callable[[], Any]] = {
    "classifier": classifier,
    "regressor": regressor,
    "classifier to its own end": lambda: classifier(max_steps=300, patience=2),
    "regressor to its own end": lambda: regressor(max_steps=300, patience=2, plateau_patience=1),
    "every kind of column": mixed,
    "folds": lambda: classifier(n_folds=2),
    "LoRA": lambda: regressor(tuning="lora", lora_dropout=0.1),
    "part": lambda: classifier(tuning="last_layers", learning_rate=1e-3),
    "weights": lambda: regressor({"sample_weight": WEIGHT}),
    "groups": lambda: classifier({"groups": np.arange(250) // 5}),
    "classes": lambda: classifier(class_weight="balanced", balanced_contexts=True),
    "rows of one's own": lambda: classifier(OWN),
    "order of time": lambda: regressor(validation="time", scoring="neg_mean_absolute_error"),
    "several splits": lambda: classifier(**SPLITS),
    "rates": lambda: regressor(learning_rate="auto", max_steps=24),
    "half precision": lambda: classifier(precision="bf16"),
    "cached": lambda: classifier(fit_mode="fit_with_cache", weight_decay=0.01, ema_decay=0.0),
    "interrupted": lambda: classifier(callbacks=[Interrupts()]),
    "resumed": resumed,
    "related tables": related,
}  # fmt: skip


def digest(values: Any) -> str:
    """Return a hash of numbers, bit by bit."""
    return hashlib.sha256(np.ascontiguousarray(values, dtype=np.float64).tobytes()).hexdigest()[:16]


def results(names: list[str]) -> dict[str, dict[str, Any]]:
    """Return what every fit comes to."""
    found = {}
    for name in names:
        model, predictions = FITS[name]()
        history = model.history_.select_dtypes("number").drop(columns="seconds", errors="ignore")
        found[name] = {
            "predictions": digest(predictions),
            "history": digest(history.to_numpy()),
            "shape of the history": list(history.shape),
            "stop_reason": model.stop_reason_,
            "deployed_weights": model.deployed_weights_,
            "n_steps": model.n_steps_,
        }
        print(name, found[name], flush=True)
    return found


def main() -> int:
    """Record, or compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--fits", nargs="+", choices=FITS, default=list(FITS))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    found = results(arguments.fits)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(found, indent=2))
    if arguments.against is None:
        return 0
    before = json.loads(arguments.against.read_text())
    different = [name for name in found if found[name] != before.get(name)]
    print(f"different: {', '.join(different)}" if different else f"all {len(found)} alike")
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())
