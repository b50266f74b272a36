"""The demonstration: fine-tune the mini model on a table that scikit-learn bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from sklearn.model_selection import train_test_split

from finetune_tabpfn._estimators import new_estimator
from finetune_tabpfn.loggers._plot import save_curve
from finetune_tabpfn.models._export import save_model
from finetune_tabpfn.utils._optional import require

MODEL_FILE = "digits-v3.safetensors"  # tabpfn reads the version off the name
CURVE_FILE = "training_curve.png"


def run(out: Path, settings: dict[str, Any]) -> pd.DataFrame:
    """Fine-tune, print test scores of base and fine-tuned, write curve and model.

    Parameters
    ----------
    out : pathlib.Path
        Folder for the training curve (PNG) and the fine-tuned model.
    settings : dict
        Of the estimator, each by a name of its own.

    Returns
    -------
    DataFrame
        A row per metric, columns "base" and "fine-tuned".
    """
    require("matplotlib", "The training curve of the demonstration")
    X, y = load_digits(return_X_y=True, as_frame=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.3, stratify=y, random_state=0
    )
    print(
        f"digits: {len(X_train)} training rows, {len(X_test)} test rows, {X.shape[1]} columns, "
        f"{y.nunique()} classes"
    )
    tuned = new_estimator("classification", {**settings, "verbose": True}).fit(X_train, y_train)
    untouched = {**settings, "max_steps": 0, "time_limit": None}
    base = new_estimator("classification", untouched).fit(X_train, y_train)
    scores = pd.DataFrame(
        {
            "base": _metrics(base.predict_proba(X_test), y_test),
            "fine-tuned": _metrics(tuned.predict_proba(X_test), y_test),
        }
    )
    print(f"\n{scores.to_string(float_format='{:.4f}'.format)}\n\n{verdict(scores)}")
    out.mkdir(parents=True, exist_ok=True)
    save_curve(tuned, out / CURVE_FILE)
    save_model(tuned, out / MODEL_FILE)
    print(f"\ntraining curve: {out / CURVE_FILE}\nfine-tuned model: {out / MODEL_FILE}")
    return scores


def verdict(scores: pd.DataFrame) -> str:
    """Say in one sentence whether fine-tuning paid."""
    base, tuned = scores.loc["log-loss", ["base", "fine-tuned"]].to_numpy(dtype=float)
    change = tuned / base - 1
    if change < -0.01:
        return f"Fine-tuning pays on this table: the test log-loss falls by {-change:.0%}."
    if change > 0.01:
        return f"Fine-tuning does not pay on this table: the test log-loss rises by {change:.0%}."
    return "Fine-tuning makes no difference on this table."


def _metrics(proba: Any, y: pd.Series) -> dict[str, float]:
    return {
        "log-loss": log_loss(y, proba),
        "accuracy": accuracy_score(y, proba.argmax(axis=1)),
        "AUC": roc_auc_score(y, proba, multi_class="ovr"),
    }
