"""Tables and baselines that the benchmarks share."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn import datasets
from sklearn.base import BaseEstimator
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import (
    log_loss,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from finetune_tabpfn.data._io import infer_task, read_table, split_target


@dataclass(frozen=True)
class Table:
    """A table to measure on.

    Of a made one, `best` returns what nobody can better: the probabilities or means of rows.
    """

    name: str
    task: str
    X: pd.DataFrame
    y: pd.Series
    best: Callable[[pd.DataFrame], np.ndarray] | None = None

    def split(self, seed: int, max_train: int, max_test: int = 2000) -> tuple[Any, Any, Any, Any]:
        """Return X_train, X_test, y_train, y_test: 70 % of the rows to train on, at most a number.

        Of a made table 2,000 rows are there to test on.
        Classes with fewer than ten rows are left out: a score on their rows would be luck.
        """
        X, y = self.X, self.y
        stratify = None
        if self.task == "classification":
            common = y.map(y.value_counts()) >= 10
            X, y = X[common].reset_index(drop=True), y[common].reset_index(drop=True)
            stratify = y
        rows = len(y)
        train = min(max_train, rows - 2000 if self.best else int(0.7 * rows))
        return tuple(
            train_test_split(
                X,
                y,
                train_size=train,
                test_size=min(max_test, rows - train),
                stratify=stratify,
                random_state=seed,
            )
        )


def bundled() -> Iterator[Table]:
    """Yield the tables that scikit-learn bundles, and its Friedman functions."""
    for name in ("breast_cancer", "wine", "iris", "digits", "diabetes"):
        X, y = getattr(datasets, f"load_{name}")(return_X_y=True, as_frame=True)
        yield Table(name, "regression" if name == "diabetes" else "classification", X, y)
        if name == "diabetes":
            yield Table("diabetes > median", "classification", X, (y > y.median()).astype(int))
    for number, noise in ((1, 1.0), (2, 50.0), (3, 0.1)):
        make = getattr(datasets, f"make_friedman{number}")
        X, y = make(n_samples=1000, noise=noise, random_state=0)
        X = pd.DataFrame(X).add_prefix("x")
        yield Table(f"friedman{number}", "regression", X, pd.Series(y, name="y"))


def made(rows: int) -> Iterator[Table]:
    """Yield a table of each task with so many rows to train on, whose best possible loss is known.

    Waves, steps and interactions of nine numbers and a category, four of the numbers without
    meaning, and noise: of four classes, or normal.
    """
    rng = np.random.default_rng(rows)
    n_rows = rows + 2000
    X = pd.DataFrame(rng.uniform(size=(n_rows, 9))).add_prefix("x")
    X["colour"] = rng.choice(["red", "green", "blue", "grey"], size=n_rows)
    drawn = rng.uniform(size=(n_rows, 1)) < np.cumsum(class_probabilities(X), axis=1)
    yield Table(
        f"made {rows}", "classification", X, pd.Series(drawn.argmax(axis=1)), class_probabilities
    )
    y = pd.Series(mean(X) + 0.7 * rng.normal(size=n_rows))
    yield Table(f"made {rows}, numbers", "regression", X, y, mean)


def class_probabilities(X: pd.DataFrame) -> np.ndarray:
    """Return the probabilities of the four classes of a made table."""
    warm = X["colour"].eq("red") | X["colour"].eq("grey")
    logits = np.stack(
        [
            np.sin(6 * X["x0"]) + X["x1"],
            np.cos(6 * X["x2"]) * np.where(warm, 1, -1),
            3 * X["x3"] * X["x4"] - 0.5,
            np.where(X["x1"] > 0.6, 1, -1) * X["x0"],
        ],
        axis=1,
    )
    weights = np.exp(3 * logits)
    return weights / weights.sum(axis=1, keepdims=True)


def mean(X: pd.DataFrame) -> np.ndarray:
    """Return the mean of a made table's target."""
    waves = np.sin(6 * X["x0"]) * np.where(X["x1"] > 0.5, 2, -1)
    steps = np.floor(4 * X["x2"]) * X["colour"].map({"red": 1, "green": -1, "blue": 0, "grey": 0.5})
    return (waves + steps + 4 * X["x3"] * X["x4"]).to_numpy()


class BestPossible:
    """Predicts what nobody can better on a made table."""

    def __init__(self, table: Table) -> None:
        self._best = table.best
        if table.task == "classification":
            self.classes_ = np.unique(table.y)
            self.predict_proba = table.best

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Return means."""
        return self._best(X)


def from_folder(folder: Path, target: str = "target") -> Iterator[Table]:
    """Yield the tables of a folder that have a column of the given name."""
    for path in sorted(folder.glob("*.csv")):
        table = read_table(path)
        if target in table.columns:
            # a column that is missing throughout stops HistGradientBoosting
            table = table.dropna(subset=target).dropna(axis=1, how="all")
            X, y = split_target(table, target)
            yield Table(path.stem, infer_task(y), X, y)


def baselines(task: str, seed: int) -> dict[str, BaseEstimator]:
    """Return scikit-learn's models at their defaults, with the preparation that each needs."""
    if task == "classification":
        return {
            "LogisticRegression": make_pipeline(_one_hot(), LogisticRegression(max_iter=2000)),
            "RandomForest": make_pipeline(_ordinal(), RandomForestClassifier(random_state=seed)),
            "HistGradientBoosting": make_pipeline(
                _ordinal(), HistGradientBoostingClassifier(random_state=seed)
            ),
        }
    return {
        "Ridge": make_pipeline(_one_hot(), Ridge()),
        "RandomForest": make_pipeline(_ordinal(), RandomForestRegressor(random_state=seed)),
        "HistGradientBoosting": make_pipeline(
            _ordinal(), HistGradientBoostingRegressor(random_state=seed)
        ),
    }


def _one_hot() -> Any:
    """Scaled numbers and one column per category."""
    return make_column_transformer(
        (
            make_pipeline(SimpleImputer(strategy="median"), StandardScaler()),
            make_column_selector(dtype_include=np.number),
        ),
        (
            OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=5),
            make_column_selector(dtype_exclude=np.number),
        ),
    )


def _ordinal() -> Any:
    """Numbers as they are, missing cells included, and a code per category."""
    return make_column_transformer(
        ("passthrough", make_column_selector(dtype_include=np.number)),
        (
            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
            make_column_selector(dtype_exclude=np.number),
        ),
    )


def scores(model: Any, X: Any, y: Any) -> dict[str, float]:
    """Return test scores of a fitted model.

    Classification: log-loss, AUC, accuracy, Brier score, calibration error. Regression: RMSE, MAE,
    R², and of models that predict a distribution its negative log density and its CRPS over the
    nine deciles.
    """
    if not hasattr(model, "predict_proba"):
        return _regression_scores(model, X, np.asarray(y, dtype=float))
    proba = np.clip(np.asarray(model.predict_proba(X), dtype=float), 1e-7, 1)
    proba /= proba.sum(axis=1, keepdims=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        area = roc_auc_score(
            y,
            proba[:, 1] if proba.shape[1] == 2 else proba,
            multi_class="ovr",
            labels=model.classes_,
        )
    truth = np.asarray(y)[:, None] == np.asarray(model.classes_)
    at = np.arange(len(truth))
    return {
        "log_loss": log_loss(y, proba, labels=model.classes_),
        "auc": area,
        "accuracy": float(np.mean(model.classes_[proba.argmax(axis=1)] == np.asarray(y))),
        "brier": float(((proba - truth) ** 2).sum(axis=1).mean()),
        "calibration_error": calibration_error(proba.max(axis=1), truth[at, proba.argmax(axis=1)]),
    }


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 10) -> float:
    """Return how far confidence and accuracy lie apart in the mean, over bins of equal count."""
    order = np.array_split(np.argsort(confidence), bins)
    gaps = [len(rows) * abs(confidence[rows].mean() - right[rows].mean()) for rows in order]
    return float(sum(gaps) / len(confidence))


def predictions(model: Any, X: Any) -> np.ndarray:
    """Return probabilities or means."""
    found = model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)
    return np.asarray(found, dtype=np.float64)


def row_losses(model: Any, predicted: np.ndarray, y: Any) -> np.ndarray:
    """Return the log-loss or squared error of every row."""
    if predicted.ndim == 1:
        return (predicted - np.asarray(y)) ** 2
    codes = np.searchsorted(model.classes_, y)
    return -np.log(np.clip(predicted[np.arange(len(codes)), codes], 1e-7, 1))


def _regression_scores(model: Any, X: Any, y: np.ndarray) -> dict[str, float]:
    found = {}
    if "output_type" in inspect.signature(model.predict).parameters:
        full = model.predict(X, output_type="full")
        predicted = full["mean"]
        density = full["criterion"].cpu()(full["logits"].float().cpu(), torch.tensor(y).float())
        deciles = np.stack(full["quantiles"])
        levels = np.arange(0.1, 0.95, 0.1)[:, None]
        above = y - deciles
        found["nll"] = float(density.mean())
        found["crps"] = float(2 * np.maximum(levels * above, (levels - 1) * above).mean())
    else:
        predicted = model.predict(X)
    return {
        "rmse": root_mean_squared_error(y, predicted),
        "mae": mean_absolute_error(y, predicted),
        "r2": r2_score(y, predicted),
        **found,
    }
