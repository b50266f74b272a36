"""Fine-tuned TabPFN in AutoML libraries, and how far its estimates are from real fits.

autogluon   the leaderboard of bagged models, ours beside LightGBM and random forest, and the weight
            of each in the ensemble
flaml       what FLAML's search finds with ours among its learners
estimates   estimate_seconds and estimate_memory beside fits, each in a process of its own

The first two run in the environment of `make test-automl`. Times are of whatever else the machine
does as well.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import log_loss, root_mean_squared_error

from _tables import Table, from_folder
from finetune_tabpfn import estimate_memory, estimate_seconds
from finetune_tabpfn._estimators import new_estimator

TABLES = ("credit_g", "phoneme", "housing")
# rows, columns, classes, steps, folds
FITS = (
    (150, 4, 3, 100, 4),
    (500, 10, 2, 60, 1),
    (800, 20, 0, 60, 4),
    (2000, 60, 2, 10, 1),
    (5000, 20, 3, 20, 1),
    (10_000, 10, 0, 10, 1),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("autogluon", "flaml", "estimates", "fit"))
    parser.add_argument("sizes", type=int, nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help="folder of tables whose target is called target")
    parser.add_argument("--tables", nargs="+", default=TABLES)
    parser.add_argument("--base-model", default="mini")
    parser.add_argument("--max-steps", type=int, default=200)
    parser.add_argument("--bag-folds", type=int, default=4)
    parser.add_argument("--time-limit", type=float, default=240, help="seconds for each table")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--verbosity", type=int, default=0, help="of AutoGluon")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    warnings.simplefilter("ignore")
    if given.what == "fit":
        _fit(*given.sizes, given.base_model)
    elif given.what == "estimates":
        estimates(given)
    elif given.data is None:
        parser.error(f"{given.what} needs a folder of tables: --data FOLDER")
    else:
        {"autogluon": autogluon, "flaml": flaml}[given.what](given)


def _tables(given: argparse.Namespace) -> Iterator[Table]:
    wanted = [table for table in from_folder(given.data) if table.name in given.tables]
    yield from sorted(wanted, key=lambda table: list(given.tables).index(table.name))


def _halves(table: Table) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return rows to train on and rows to test on, the target among their columns."""
    X_train, X_test, y_train, y_test = table.split(seed=0, max_train=10_000)
    return X_train.assign(target=y_train), X_test.assign(target=y_test)


def autogluon(given: argparse.Namespace) -> None:
    """Print the leaderboard of each table."""
    from autogluon.tabular import TabularPredictor

    from finetune_tabpfn.automl import FinetunedTabPFNModel

    ours = {"base_model": given.base_model, "max_steps": given.max_steps}
    for table in _tables(given):
        train, test = _halves(table)
        metric = "log_loss" if table.task == "classification" else "root_mean_squared_error"
        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            predictor = TabularPredictor(
                "target", eval_metric=metric, path=folder, verbosity=given.verbosity
            )
            predictor.fit(
                train,
                hyperparameters={FinetunedTabPFNModel: ours, "GBM": {}, "RF": {}},
                num_bag_folds=given.bag_folds,
                num_stack_levels=0,
                dynamic_stacking=False,
                ag_args_ensemble={"fold_fitting_strategy": "sequential_local"},
                num_cpus=given.threads,
                num_gpus=0,
                time_limit=given.time_limit,
            )
            seconds = time.monotonic() - began
            board = predictor.leaderboard(test)
            ensemble = predictor._trainer.load_model("WeightedEnsemble_L2")
            weights = ensemble._get_model_weights()
        board["weight"] = board["model"].map(weights).fillna("")
        columns = ["model", "score_test", "score_val", "fit_time", "pred_time_test", "weight"]
        print(f"\n{table.name}: {len(train)} rows to train on, {len(test)} to test on, ", end="")
        print(f"-{metric}; {seconds:.0f} of {given.time_limit:.0f} s")
        print(board[columns].round(4).to_string(index=False), flush=True)


def flaml(given: argparse.Namespace) -> None:
    """Print what a search among ours, LightGBM and random forest finds in each table."""
    from flaml import AutoML

    from finetune_tabpfn.automl import FinetunedTabPFNEstimator

    class Ours(FinetunedTabPFNEstimator):
        base_model = given.base_model

    for table in _tables(given):
        train, test = _halves(table)
        automl = AutoML()
        automl.add_learner("finetuned_tabpfn", Ours)
        began = time.monotonic()
        automl.fit(
            train.drop(columns="target"),
            train["target"],
            task=table.task,
            metric="log_loss" if table.task == "classification" else "rmse",
            time_budget=given.time_limit,
            estimator_list=["lgbm", "rf", "finetuned_tabpfn"],
            eval_method="holdout",
            retrain_full="budget",
            n_jobs=given.threads,
            seed=0,
            verbose=0,
        )
        seconds = time.monotonic() - began
        losses = {name: round(v, 4) for name, v in automl.best_loss_per_estimator.items()}
        print(
            f"\n{table.name}: {seconds:.0f} of {given.time_limit:.0f} s, validation loss {losses}"
        )
        print(f"best: {automl.best_estimator} {automl.best_config}")
        print(f"test loss: {_loss(automl, test):.4f}", flush=True)


def _loss(model: Any, test: pd.DataFrame) -> float:
    X, y = test.drop(columns="target"), test["target"]
    if hasattr(model, "predict_proba") and y.dtype.kind not in "f":
        return float(log_loss(y, model.predict_proba(X), labels=model.classes_))
    return float(root_mean_squared_error(y, model.predict(X)))


def _settings(steps: int, folds: int, base_model: str) -> dict[str, Any]:
    return {
        "base_model": base_model,
        "max_steps": steps,
        "n_folds": folds,
        "patience": None,
        "random_state": 0,
    }


def _fit(rows: int, columns: int, classes: int, steps: int, folds: int, base_model: str) -> None:
    """Fit once and print seconds and bytes."""
    X = np.random.default_rng(1).normal(size=(rows, columns))
    # something to learn: where nothing beats the base model, the choice at the end costs nothing
    signal = X[:, 0] + X[:, 1] * X[:, 2]
    y = signal.argsort().argsort() * classes // rows if classes else signal
    began = time.monotonic()
    task = "classification" if classes else "regression"
    new_estimator(task, _settings(steps, folds, base_model)).fit(X, y)
    print(time.monotonic() - began, _peak())


def _peak() -> int:
    """Return the most bytes of this process on Linux; `ru_maxrss` would begin with its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


def estimates(given: argparse.Namespace) -> None:
    """Print estimates beside what fits take."""
    print("rows   columns classes steps folds   seconds  estimate ratio     MB  estimate ratio")
    for sizes in FITS:
        *shape, steps, folds = sizes
        settings = _settings(steps, folds, given.base_model)
        seconds, bytes_ = estimate_seconds(*shape, **settings), estimate_memory(*shape, **settings)
        command = [sys.executable, __file__, "fit", *map(str, sizes)]
        command += ["--threads", str(given.threads), "--base-model", given.base_model]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env=dict(os.environ)
        )
        real, taken = map(float, done.stdout.split())
        print(
            f"{shape[0]:<6} {shape[1]:<7} {shape[2]:<7} {steps:<5} {folds:<5} {real:9.1f} "
            f"{seconds:9.1f} {seconds / real:5.2f} {taken / 1e6:6.0f} {bytes_ / 1e6:9.0f} "
            f"{bytes_ / taken:5.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
