"""How good is a mini base model? Zero-shot against scikit-learn's models, and fine-tuned.

    python benchmarks/mini.py [--data FOLDER] [--splits 3] [--fine-tune 60] [--out FILE.csv]
                              [--base NAME=CLASSIFIER,REGRESSOR ...]

The base model is used zero-shot through tabpfn's own estimators, the others at their defaults.
Tables: those that scikit-learn bundles, and every CSV of a folder with a column `target`. With
--fine-tune SECONDS, tables of 1,000 training rows and more are fine-tuned as well. Cells that
the output file holds already are not run again.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TABPFN_DISABLE_TELEMETRY", "1")

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import make_classification
from tabpfn import TabPFNClassifier, TabPFNRegressor

from _tables import Table, baselines, bundled, from_folder, scores
from finetune_tabpfn import FinetunedTabPFNClassifier, FinetunedTabPFNRegressor
from finetune_tabpfn.models._base_models import mini

MIN_ROWS_TO_TUNE = 1000
PRIMARY = {"classification": "log_loss", "regression": "rmse"}


def main() -> None:
    """Run what is missing and print the tables."""
    arguments = _parser().parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    tables = list(bundled())
    if arguments.data is not None:
        tables += from_folder(arguments.data)
    results, asked = _load(arguments.out), set()
    for table, seed in itertools.product(tables, range(arguments.splits)):
        split = table.split(seed, arguments.max_train)
        for name, model in models(table, len(split[0]), seed, arguments).items():
            key = (table.name, seed, name)
            asked.add(key)
            if key in results:
                continue
            results[key] = measure(model, split) | {"task": table.task, "rows": len(split[0])}
            _save(results, arguments.out)
            print(f"{table.name:>20} {seed} {name:>22}", _format(results[key]), flush=True)
    print(f"\n{platform.platform()}, {arguments.threads} threads, torch {torch.__version__}\n")
    report(_frame({key: results[key] for key in results if key in asked}))
    print(f"zero-shot fit and predict, 1,000 x 20 rows, 4 members: {speed():.2f} s")


def speed() -> float:
    """Return the seconds of a zero-shot fit and predict of the shipped classifier."""
    X, y = make_classification(2000, 20, n_informative=10, random_state=0)
    model = TabPFNClassifier(model_path=mini("classification").path, n_estimators=4, device="cpu")
    started = time.monotonic()
    model.fit(X[:1000], y[:1000]).predict_proba(X[1000:])
    return time.monotonic() - started


def models(table: Table, n_rows: int, seed: int, arguments: Any) -> dict[str, Any]:
    """Return what is compared on a table, as functions that build the models."""
    classes = table.task == "classification"
    made: dict[str, Any] = {
        name: lambda model=model: model for name, model in baselines(table.task, seed).items()
    }
    files = {"mini": (mini("classification").path, mini("regression").path)}
    files |= dict(arguments.base)
    plain = TabPFNClassifier if classes else TabPFNRegressor
    tuned = FinetunedTabPFNClassifier if classes else FinetunedTabPFNRegressor
    for name, (classifier, regressor) in files.items():
        path = (classifier if classes else regressor).resolve()
        if classes and _max_classes(path) < table.y.nunique():
            continue
        options = {"n_estimators": arguments.members, "device": "cpu", "random_state": seed}
        made[name] = partial(plain, model_path=path, ignore_pretraining_limits=True, **options)
        if arguments.fine_tune and n_rows >= MIN_ROWS_TO_TUNE:
            made[f"{name}, tuned"] = partial(
                tuned, base_model=path, time_limit=arguments.fine_tune, **options
            )
    return made


def _max_classes(path: Path) -> int:
    """Return how many classes a checkpoint can tell apart."""
    from tabpfn.checkpoint import Checkpoint

    return int(Checkpoint(path).load()["config"]["max_num_classes"])


def measure(build: Any, split: tuple[Any, Any, Any, Any]) -> dict[str, float]:
    """Fit and score one model."""
    X_train, X_test, y_train, y_test = split
    started = time.monotonic()
    model = build().fit(X_train, y_train)
    fitted = time.monotonic()
    result = scores(model, X_test, y_test)
    return result | {
        "fit_seconds": fitted - started,
        "predict_seconds": time.monotonic() - fitted,
    }


def report(results: pd.DataFrame) -> None:
    """Print a table per task, the mean ranks, and what fine-tuning changes."""
    for task, metric in PRIMARY.items():
        cells = results[results["task"] == task]
        names = [name for name in dict.fromkeys(cells["model"]) if not name.endswith("tuned")]
        for shown in (metric, "auc" if task == "classification" else "r2"):
            means = cells.pivot_table(index="table", columns="model", values=shown, sort=False)
            print(f"{task}, mean {shown} over splits\n")
            print(means[names].to_string(float_format="{:.4g}".format, na_rep="-"), "\n")
        per_split = cells.pivot_table(index=["table", "split"], columns="model", values=metric)
        ranked = per_split[names].dropna().rank(axis=1)
        print(f"mean rank by {metric}\n\n{ranked.mean().round(2).to_string()}\n")
        for name in [name for name in names if f"{name}, tuned" in per_split.columns]:
            ratio = (per_split[f"{name}, tuned"] / per_split[name]).dropna()
            ratio = ratio.groupby(level="table").median()
            if len(ratio):
                print(f"{name}: {metric} fine-tuned over zero-shot, tables >= 1,000 rows\n")
                print(ratio.round(3).to_string())
                print(f"median {ratio.median():.3f}, better on {np.mean(ratio < 1):.0%}\n")


def _frame(results: dict[Any, dict[str, Any]]) -> pd.DataFrame:
    rows = [
        {"table": table, "split": seed, "model": model, **values}
        for (table, seed, model), values in results.items()
    ]
    return pd.DataFrame(rows)


def _load(path: Path) -> dict[Any, dict[str, Any]]:
    if not path.is_file():
        return {}
    rows = pd.read_csv(path).to_dict("records")
    return {(row.pop("table"), row.pop("split"), row.pop("model")): row for row in rows}


def _save(results: dict[Any, dict[str, Any]], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _frame(results).to_csv(path, index=False)


def _format(values: dict[str, Any]) -> str:
    return " ".join(f"{k} {v:.4g}" for k, v in values.items() if isinstance(v, float))


def _named_files(text: str) -> tuple[str, tuple[Path, Path]]:
    name, files = text.split("=", 1)
    classifier, regressor = files.split(",", 1)
    return name, (Path(classifier), Path(regressor))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of CSV files with a column `target`")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--max-train", type=int, default=2000, help="training rows at most")
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--fine-tune", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("benchmark-output/mini.csv"))
    parser.add_argument(
        "--base",
        nargs="*",
        type=_named_files,
        default=[],
        metavar="NAME=CLASSIFIER,REGRESSOR",
        help="further base models",
    )
    return parser


if __name__ == "__main__":
    main()
