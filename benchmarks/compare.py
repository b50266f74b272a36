"""Fine-tuning compared: base zero-shot, ours, tabpfn.finetuning, and scikit-learn's ensembles.

    python benchmarks/compare.py [--data FOLDER] [--splits 1] [--seconds 60] [--out FOLDER]
                                 [--tables NAME ...] [--arms NAME ...] [--base mini]
                                 [--synthetic ROWS ...] [--made ROWS ...] [--device cpu]
                                 [--cpu-clock]

Every cell (table, split, arm) runs in a process of its own, the arms of a split one after the
other, with the same base model, the same rows and the same seconds for each fine-tuning. A cell
that the output holds already is not run again. With `--cpu-clock` all seconds, the limits too, are
those of the processor's work for the process, so that other work on the machine takes nothing away
(on one thread, and without a GPU). Prints Markdown tables and writes cells.csv and
compare.png into the folder. With `--base v2-size` the network has random weights, and only times
and memory mean anything; `--base CLASSIFIER,REGRESSOR` takes checkpoints.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("TABPFN_DISABLE_TELEMETRY", "1")
if "--cpu-clock" in sys.argv:  # before anyone takes a clock of his own
    time.time = time.monotonic = time.perf_counter = time.process_time

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from tabpfn import TabPFNClassifier, TabPFNRegressor
from tabpfn.finetuning import FinetunedTabPFNClassifier as RivalClassifier
from tabpfn.finetuning import FinetunedTabPFNRegressor as RivalRegressor

from _bases import base
from _tables import (
    BestPossible,
    Table,
    baselines,
    bundled,
    from_folder,
    made,
    predictions,
    row_losses,
    scores,
)
from finetune_tabpfn import FinetunedTabPFNClassifier, FinetunedTabPFNRegressor, _tabpfn
from finetune_tabpfn.finetuning._defaults import learning_rate
from finetune_tabpfn.synthetic import make_table

MEMBERS = 4
PRIMARY = {"classification": "log_loss", "regression": "rmse"}
ARMS = (
    "base", "ours", "ours, one hold-out", "ours, four folds", "ours, auto",
    "ours, a third of the time", "ours, scored by AUC",
    "rival", "rival, documented", "rival, 3e-4", "rival, our rate",
    "HistGradientBoosting", "RandomForest", "best possible",
)  # fmt: skip
# what the rival's documentation and messages name; its default of 1e-5 is an arm as well
RIVAL_RATES = {"rival, documented": 1e-4, "rival, 3e-4": 3e-4}


def arm(name: str, task: str, seed: int, arguments: Any) -> Any:
    """Return the model of an arm, not fitted."""
    classes = task == "classification"
    files = arguments.base.split(",")
    path = base(files[0 if classes else -1], task, arguments.out)
    common = {"device": arguments.device, "random_state": seed}
    plain = {"model_path": path, "ignore_pretraining_limits": True}
    if name == "base":
        estimator = TabPFNClassifier if classes else TabPFNRegressor
        return estimator(**plain, n_estimators=MEMBERS, **common)
    if name.startswith("ours"):
        estimator = FinetunedTabPFNClassifier if classes else FinetunedTabPFNRegressor
        limit = {"time_limit": arguments.seconds, "n_estimators": MEMBERS}
        if name == "ours, auto":
            limit["learning_rate"] = "auto"
        if name == "ours, one hold-out":
            limit["n_folds"] = 1
        if name == "ours, four folds":
            limit["n_folds"] = 4
        if name == "ours, scored by AUC":
            limit["scoring"] = "roc_auc" if classes else "r2"
        if name == "ours, a third of the time":
            limit["time_limit"] /= 3
        return estimator(base_model=path, **limit, **common)
    if name.startswith("rival"):
        estimator = RivalClassifier if classes else RivalRegressor
        extra = f"extra_{'classifier' if classes else 'regressor'}_kwargs"
        options: dict[str, Any] = {
            extra: {key: str(value) if key == "model_path" else value
                    for key, value in plain.items()},
            "time_limit": round(arguments.seconds),
            "n_estimators_final_inference": MEMBERS,
            **common,
        }  # fmt: skip
        if name in RIVAL_RATES:
            options["learning_rate"] = RIVAL_RATES[name]
        if name == "rival, our rate":  # what helps it, and steps as long as there is time
            options |= {
                "learning_rate": learning_rate(parameters_of(path, task)),
                "epochs": 100_000,
            }
            options |= {"lr_warmup_only": True}
        return estimator(**options)
    return baselines(task, seed)[name]


def parameters_of(path: Path, task: str) -> int:
    """Return the number of parameters of a checkpoint."""
    model = _tabpfn.load(path, task, torch.device("cpu")).model
    return sum(weight.numel() for weight in model.parameters())


def measure(table: Table, seed: int, name: str, arguments: Any) -> dict[str, Any]:
    """Fit and score one cell."""
    X_train, X_test, y_train, y_test = table.split(seed, arguments.max_train)
    started = time.monotonic()
    model = (
        BestPossible(table)
        if name == "best possible"
        else arm(name, table.task, seed, arguments).fit(X_train, y_train)
    )
    fitted = time.monotonic()
    if not hasattr(model, "classes_") and table.task == "classification":
        model.classes_ = np.unique(y_train)  # the rival has none
    result = scores(model, X_test, y_test)
    predict_seconds = time.monotonic() - fitted
    losses = row_losses(model, predictions(model, X_test), y_test)
    np.save(losses_file(arguments.out, table.name, seed, name), losses)
    return result | {
        "task": table.task,
        "rows": len(X_train),
        "fit_seconds": fitted - started,
        "predict_seconds": predict_seconds,
        "steps": getattr(model, "n_steps_", np.nan),
        "deployed": getattr(model, "deployed_weights_", ""),
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def losses_file(out: Path, table: str, seed: int, name: str) -> Path:
    """Return where a cell's loss of every test row is kept, for paired comparisons."""
    return out / "losses" / f"{table}-{seed}-{name}.npy"


def tables(arguments: Any) -> dict[str, Table]:
    """Return the tables by name."""
    found = list(bundled())
    if arguments.data is not None:
        found += from_folder(arguments.data)
    for rows in arguments.synthetic:
        X, y = make_table(n_rows=rows, n_columns=20, task="multiclass", random_state=0)
        found.append(Table(f"synthetic {rows}", "classification", X, y))
        X, y = make_table(n_rows=rows, n_columns=20, task="regression", random_state=0)
        found.append(Table(f"synthetic {rows}, numbers", "regression", X, y))
    for rows in arguments.made:
        found += made(rows)
    named = {table.name: table for table in found}
    return {name: named[name] for name in arguments.tables or named}


def run_cells(arguments: Any) -> pd.DataFrame:
    """Run every cell that is missing, each in a process of its own."""
    file = arguments.out / "cells.csv"
    cells = pd.read_csv(file).to_dict("records") if file.is_file() else []
    done = {(cell["table"], cell["split"], cell["arm"]) for cell in cells}
    for seed in range(arguments.splits):
        for table, known in tables(arguments).items():
            for name in arguments.arms:
                if (table, seed, name) in done:
                    continue
                if name == "best possible" and known.best is None:
                    continue
                command = [sys.executable, __file__, *sys.argv[1:], "--cell"]
                command += [json.dumps([table, seed, name])]
                ran = subprocess.run(command, capture_output=True, text=True, check=False)
                if ran.returncode:
                    print(f"{table} {seed} {name}: {ran.stderr.strip().splitlines()[-1]}")
                    continue
                result = json.loads(ran.stdout.strip().splitlines()[-1])
                cells.append({"table": table, "split": seed, "arm": name, **result})
                pd.DataFrame(cells).to_csv(file, index=False)
                numbers = {k: round(v, 4) for k, v in result.items() if isinstance(v, float)}
                print(f"{table} {seed} {name}: {numbers}", flush=True)
    return pd.DataFrame(cells)


def report(cells: pd.DataFrame, out: Path) -> None:
    """Print a table per task and what the arms come to."""
    for task, metric in PRIMARY.items():
        part = cells[cells["task"] == task]
        if part.empty:
            continue
        index = ["table", "split"]
        wide = part.pivot_table(index=index, columns="arm", values=metric, sort=False)
        large = (part.groupby(index)["rows"].first() >= 500).reindex(wide.index)
        errors = pd.DataFrame(
            {name: [clearly_worse(out, *key, name) for key in wide.index] for name in wide},
            index=wide.index,
        )
        print(f"\n{task}: mean {metric} on the test set\n")
        print(wide.groupby(level="table", sort=False).mean().round(4).to_markdown())
        for what, rows in (("all tables", wide.index), ("500 rows and more", wide.index[large])):
            if len(rows) and "base" in wide:
                print(f"\n{task}, {what} ({len(rows)} table-splits): {metric} over the base's\n")
                print(summary(wide.loc[rows], errors.loc[rows]).round(3).to_markdown())
        others = ["auc", "accuracy", "brier", "calibration_error", "mae", "r2", "nll", "crps"]
        measured = ["fit_seconds", "predict_seconds", "peak_gib"]
        means = part.groupby("arm", sort=False)[[n for n in others if n in part]].mean()
        medians = part.groupby("arm", sort=False)[measured].median()
        print(f"\n{task}: mean of other scores, median of seconds and memory\n")
        print(means.dropna(axis=1, how="all").join(medians).round(3).to_markdown())
    figure(cells, out / "compare.png")


def clearly_worse(out: Path, table: str, seed: int, name: str) -> float:
    """Tell whether the test rows put an arm behind the base by one standard error; NaN: unknown.

    And by a thousandth of its loss: the base, deployed by us in float32 where tabpfn takes bf16,
    differs by a little less on many rows alike.
    """
    files = [losses_file(out, table, seed, who) for who in (name, "base")]
    if not all(file.is_file() for file in files):
        return np.nan
    its, base = (np.load(file) for file in files)
    change = its - base
    clear = max(change.std() / np.sqrt(len(change)), 1e-3 * base.mean())
    return float(change.mean() > clear)


def summary(scores: pd.DataFrame, clearly_worse: pd.DataFrame) -> pd.DataFrame:
    """Return, per arm, what its ratios to the base come to and how often ours is ahead of it."""
    ratios = scores.div(scores["base"], axis=0)
    found = {
        "median": ratios.median(),
        "geometric mean": np.exp(np.log(ratios).mean()),
        "best": ratios.min(),
        "worst": ratios.max(),
        "better": (ratios < 1 - 1e-6).sum() / ratios.count(),
        "worse by 1 s.e.": clearly_worse.mean(),
    }
    for ours in ("ours", "ours, a third of the time"):
        if ours in scores:
            pairs = scores[scores[ours].notna()]
            behind = pairs.gt(pairs[ours] + 1e-9, axis=0).sum() / pairs.count()
            ahead = pairs.lt(pairs[ours] - 1e-9, axis=0).sum() / pairs.count()
            found |= {f"behind {ours}": behind, f"ahead of {ours}": ahead}
    return pd.DataFrame(found)


def figure(cells: pd.DataFrame, path: Path) -> None:
    """Draw the ratio to the base per table, a mark for each arm."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    fig, axes = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
    for axis, (task, metric) in zip(axes, PRIMARY.items(), strict=True):
        part = cells[cells["task"] == task]
        if part.empty:
            continue
        means = part.pivot_table(index="table", columns="arm", values=metric)
        if "base" not in means:
            continue
        ratios = means.div(means["base"], axis=0).drop(columns="base")
        for name in ratios.columns:
            axis.plot(ratios[name], range(len(ratios)), "o", label=name, alpha=0.8)
        axis.axvline(1, color="grey", linewidth=1)
        axis.set_yticks(range(len(ratios)), ratios.index)
        axis.set_xscale("log")
        axis.set_xlabel(f"test {metric} / base model's (lower is better)")
        axis.set_title(task)
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=max(1, len(labels)))
    fig.savefig(path, dpi=120)


def main() -> None:
    """Run one cell for the parent process, or all of them."""
    arguments = _parser().parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.cell:
        warnings.simplefilter("ignore")
        table, seed, name = json.loads(arguments.cell)
        print(json.dumps(measure(tables(arguments)[table], seed, name, arguments)))
        return
    (arguments.out / "losses").mkdir(parents=True, exist_ok=True)
    cells = run_cells(arguments)
    report(cells, arguments.out)
    print(f"\n{platform.platform()}, {arguments.threads} threads, torch {torch.__version__}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of CSV files with a column `target`")
    parser.add_argument("--tables", nargs="*", help="names of tables, all by default")
    parser.add_argument("--synthetic", nargs="*", type=int, default=[], metavar="ROWS")
    parser.add_argument(
        "--made",
        nargs="*",
        type=int,
        default=[],
        metavar="ROWS",
        help="tables made here, whose best possible loss is known",
    )
    parser.add_argument("--arms", nargs="*", default=list(ARMS), choices=ARMS)
    parser.add_argument("--splits", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each fine-tuning")
    parser.add_argument("--max-train", type=int, default=10_000)
    parser.add_argument("--base", default="mini", help="or v2-size, or two checkpoints: FILE,FILE")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("benchmark-output/compare"))
    parser.add_argument("--cpu-clock", action="store_true", help="count seconds of work")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
