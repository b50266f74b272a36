"""What a fit costs beyond its bare steps, what a prediction costs, and what memory they take.

    python benchmarks/speed.py overhead [--base mini v2-size] [--rows 1000] [--steps 30]
    python benchmarks/speed.py predict  [--base mini]
    python benchmarks/speed.py memory   [--base mini] [--shapes 1000x20 10000x100 1000x20x8 ...]
    python benchmarks/speed.py batches  [--base mini] [--shapes 20000x60 200000x60 ...]
    python benchmarks/speed.py precision [--base mini v2-size]
    python benchmarks/speed.py compile  [--base mini]
    python benchmarks/speed.py together [--base mini] [--shapes 100x5 1000x20]

`overhead`: wall time of `fit` over bare forward, backward and update of the same steps, the two
alternating; for tabpfn.finetuning over bare steps on its own splits, without its recomputation.
`predict`: over a plain TabPFNClassifier with the same weights and members, and one row with the
context cached. `precision`: seconds of a step in fp32 and in bf16. `compile`: with torch.compile
and without. `together`: seconds of a validation with members of equal shape in one forward pass,
and one after the other. `memory`: peak of a process that fits, beyond what importing takes; a shape
is rows, columns and, if not 4, members; writes memory.png. `batches`: peak of a process that
predicts from 500 context rows, beyond the model and the rows; in batches, and up to 20,000 rows in
one piece. --base takes a checkpoint as well, --device a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TABPFN_DISABLE_TELEMETRY", "1")

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split
from tabpfn import TabPFNClassifier
from tabpfn.finetuning import FinetunedTabPFNClassifier as RivalClassifier

from _bases import base
from finetune_tabpfn import Callback, FinetunedTabPFNClassifier, _tabpfn
from finetune_tabpfn._tasks import Classification
from finetune_tabpfn.data._sampling import SplitSampler
from finetune_tabpfn.finetuning import _defaults
from finetune_tabpfn.finetuning._batches import SplitBatches
from finetune_tabpfn.finetuning._defaults import split_sizes
from finetune_tabpfn.training._device import Precision, autocast

TASK = Classification(np.array([0, 1]))
MEMBERS = 4
MOST_AT_ONCE = 20_000  # rows to predict in one piece
DIMENSIONS = ("rows", "columns", "members")
GROWTH = (
    "1000x20", "3000x20", "10000x20", "20000x20", "50000x20",
    "1000x50", "1000x100", "1000x200",
    "1000x20x8", "1000x20x16",
    "10000x100",
)  # fmt: skip


def ours(path: Path, arguments: Any, **parameters: Any) -> FinetunedTabPFNClassifier:
    """Return our estimator, which makes all its steps."""
    fixed = {"patience": None, "random_state": 0, "device": arguments.device}
    return FinetunedTabPFNClassifier(
        base_model=path, max_steps=arguments.steps, **fixed, **parameters
    )


def rival(path: Path, arguments: Any, **parameters: Any) -> RivalClassifier:
    """Return tabpfn's, with as many steps."""
    plain = {"model_path": str(path), "ignore_pretraining_limits": True}
    return RivalClassifier(
        device=arguments.device,
        epochs=arguments.steps,
        early_stopping=False,
        random_state=0,
        extra_classifier_kwargs=plain,
        **parameters,
    )


def prepared(
    path: Path, X: Any, y: Any, X_held_out: Any, device: torch.device, n_estimators: int
) -> _tabpfn.PreparedTable:
    """Return a table prepared as a fit does."""
    blueprint = _tabpfn.Blueprint(
        kind="classification",
        specs=_tabpfn.load(path, "classification", device),
        n_estimators=n_estimators,
        devices=(device,),
        categorical_features=None,
        random_state=0,
        precision="fp32",
        max_context=10_000,
    )
    return _tabpfn.prepare(blueprint, TASK, X, y, X_held_out)


def bare(
    path: Path,
    X: Any,
    y: Any,
    arguments: Any,
    *,
    context: int,
    query: int,
    splits: int,
    precision: Precision = "fp32",
    compiled: bool = False,
) -> Callable[[], None]:
    """Return a function that makes the steps and nothing else: all data are prepared."""
    device = torch.device(arguments.device)
    table = prepared(path, X, y, X[:100], device, n_estimators=2)
    batches = SplitBatches(table, SplitSampler(len(y), context, query, 0), 1, 1)
    drawn = [table.batch([batches.sampler.draw(n, 0)], n % 2) for n in range(splits)]
    model = table.network
    if compiled:
        model = torch.compile(model)

    def steps() -> None:
        optimizer = torch.optim.AdamW(model.parameters(), 1e-5)
        model.train()
        for _ in range(arguments.steps):
            optimizer.zero_grad(set_to_none=True)
            for batch in drawn:
                with autocast(device, precision):
                    loss = batch.loss(model) / splits
                loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        _finish(arguments.device)

    return steps


def overhead(name: str, arguments: Any) -> None:
    """Print `fit` over the bare steps."""
    path = base(name, "classification", arguments.out)
    X, y = table(arguments.rows, arguments.columns)
    X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.2, random_state=0)
    sizes = split_sizes(len(y_train), torch.device(arguments.device), None, None)
    learned = int(0.9 * len(y))
    bare_ours = bare(
        path, X_train, y_train, arguments, context=sizes.context, query=sizes.query, splits=1
    )
    query = int(0.2 * learned)
    bare_rival = bare(
        path, X[:learned], y[:learned], arguments, context=learned - query, query=query, splits=2
    )
    validation: list[float] = []

    def fit_ours() -> None:
        clock = ValidationClock()
        given = {"X_val": X_val, "y_val": y_val}
        ours(path, arguments, callbacks=[clock]).fit(X_train, y_train, **given)
        validation.append(clock.seconds)

    work = {
        "ours": {"bare steps": bare_ours, "ours": fit_ours},
        "rival": {
            "bare steps of the rival": bare_rival,
            "rival": lambda: rival(path, arguments).fit(X, y),
        },
    }
    measured = alternate(
        {what: run for who in arguments.who for what, run in work[who].items()}, arguments.repeats
    )
    median = {what: statistics.median(seconds) for what, seconds in measured.items()}
    cells = [name, str(arguments.rows)]
    if "ours" in arguments.who:
        spent = zip(measured["ours"], validation, strict=True)
        without = statistics.median(fit - seconds for fit, seconds in spent)
        cells.append(f"{median['bare steps'] / arguments.steps:.3f}")
        cells.append(f"{median['ours'] / median['bare steps']:.2f}")
        cells.append(f"{without / median['bare steps']:.2f}")
    if "rival" in arguments.who:
        reference = median["bare steps of the rival"]
        cells.append(f"{reference / arguments.steps:.3f}")
        cells.append(f"{median['rival'] / reference:.2f}")
    print(f"| {' | '.join(cells)} |", flush=True)


def precision(name: str, arguments: Any) -> None:
    """Print the seconds of a step in both precisions."""
    rows, seconds = steps_of(
        name, arguments, {"fp32": {"precision": "fp32"}, "bf16": {"precision": "bf16"}}
    )
    median = {kind: statistics.median(its[1:]) for kind, its in seconds.items()}
    print(f"| {name} | {rows} | {median['fp32']:.2f} | {median['bf16']:.2f} |", flush=True)


def compile_(name: str, arguments: Any) -> None:
    """Print the seconds of a step as it is and compiled, and of the first compiled one."""
    rows, seconds = steps_of(name, arguments, {"plain": {}, "compiled": {"compiled": True}})
    median = {kind: statistics.median(its[1:]) for kind, its in seconds.items()}
    print(
        f"| {name} | {rows} | {median['plain']:.3f} | {median['compiled']:.3f} "
        f"| {seconds['compiled'][0]:.0f} |",
        flush=True,
    )


def steps_of(
    name: str, arguments: Any, kinds: dict[str, dict[str, Any]]
) -> tuple[int, dict[str, list[float]]]:
    """Return the rows of a split and the seconds of single steps, alternating between kinds."""
    path = base(name, "classification", arguments.out)
    X, y = table(arguments.rows, arguments.columns)
    sizes = split_sizes(int(0.8 * len(y)), torch.device(arguments.device), None, None)
    one = argparse.Namespace(**{**vars(arguments), "steps": 1})
    given = {"context": sizes.context, "query": sizes.query, "splits": 1}
    work = {kind: bare(path, X, y, one, **given, **extra) for kind, extra in kinds.items()}
    # the first evaluation warms up
    return sizes.context + sizes.query, alternate(work, arguments.repeats + 1)


def together(name: str, arguments: Any) -> None:
    """Print the seconds of a validation, members of equal shape together or one by one."""
    path = base(name, "classification", arguments.out)
    for shape in arguments.shapes or ["100x5", "1000x20", "10000x20"]:
        n_rows, n_columns = map(int, shape.split("x"))
        X, y = table(n_rows, n_columns)
        X_train, X_val, y_train, _ = train_test_split(X, y, test_size=0.2, random_state=0)
        device = torch.device(arguments.device)
        both = prepared(path, X_train, y_train, X_val, device, n_estimators=4)
        groups = list(both.groups(both.members))

        def validate(groups: list[Any], held: _tabpfn.PreparedTable = both) -> None:
            for group in groups:
                held.forward_members(group)
            _finish(arguments.device)

        work = {
            "as it is": lambda: validate(groups),  # noqa: B023 - called before the next shape
            "together": lambda: validate([both.members]),  # noqa: B023
            "one by one": lambda: validate([[member] for member in both.members]),  # noqa: B023
        }
        seconds = alternate(work, arguments.repeats + 1)
        median = {kind: statistics.median(its[1:]) for kind, its in seconds.items()}
        cells = " | ".join(f"{median[kind]:.3f}" for kind in work)
        print(f"| {name} | {shape} | {len(groups)} | {cells} |", flush=True)


class ValidationClock(Callback):
    """Adds up the seconds of validation."""

    seconds = 0.0

    def on_train_end(self, state: Any) -> None:
        """Read them off the loop's own record."""
        self.seconds = sum(state.validation_seconds)


def predict(name: str, arguments: Any) -> None:
    """Print a prediction of ours over a plain one's."""
    path = base(name, "classification", arguments.out)
    X, y = table(arguments.rows, arguments.columns)
    arguments.steps = 2
    tuned = ours(path, arguments).fit(X, y)
    cached = ours(path, arguments, fit_mode="fit_with_cache").fit(X, y)
    plain = TabPFNClassifier(
        model_path=path, n_estimators=4, device=arguments.device, ignore_pretraining_limits=True
    ).fit(X, y)
    work = {
        "plain": lambda: plain.predict_proba(X),
        "ours": lambda: tuned.predict_proba(X),
        "plain, one row": lambda: plain.predict_proba(X[:1]),
        "ours, one row": lambda: tuned.predict_proba(X[:1]),
        "cached, one row": lambda: cached.predict_proba(X[:1]),
    }
    measured = alternate(work, 4 * arguments.repeats)
    median = {what: statistics.median(seconds[1:]) for what, seconds in measured.items()}
    print(
        f"| {name} | {arguments.rows} | {median['ours']:.3f} "
        f"| {median['ours'] / median['plain']:.3f} "
        f"| {median['ours, one row'] / median['plain, one row']:.3f} "
        f"| {1000 * median['cached, one row']:.0f} "
        f"| {median['ours, one row'] / median['cached, one row']:.0f} |",
        flush=True,
    )


def memory(name: str, arguments: Any) -> None:
    """Print the peak of a process that fits, for every shape, ours and the rival's."""
    rows: list[dict[str, Any]] = []
    for shape in arguments.shapes or GROWTH:
        found: dict[str, Any] = {"base": name, "shape": shape}
        for who in arguments.who:
            options = ["--base", name, "--steps", "2", "--device", arguments.device]
            options += ["--out", str(arguments.out), "--threads", str(arguments.threads)]
            command = [sys.executable, __file__, "fit", "--shapes", shape, *options, "--who", who]
            ran = subprocess.run(command, capture_output=True, text=True, check=False)
            answer = ran.stdout.strip().splitlines()
            found |= {
                f"{who} {key}": value
                for key, value in (json.loads(answer[-1]) if ran.returncode == 0 else {}).items()
            }
        rows.append(found)
        print(json.dumps(found), flush=True)
    print(pd.DataFrame(rows).round(2).to_markdown(index=False))
    draw_growth(pd.DataFrame(rows), arguments.out / "memory.png")


def draw_growth(found: pd.DataFrame, path: Path) -> None:
    """Draw peak memory over rows, columns and members, the other two as in the smallest shape."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    sizes = pd.DataFrame([numbers(shape) for shape in found["shape"]], columns=list(DIMENSIONS))
    found = pd.concat([sizes, found], axis=1)
    fig, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained", sharey=True)
    for axis, dimension in zip(axes, DIMENSIONS, strict=True):
        others = [other for other in DIMENSIONS if other != dimension]
        line = found[(found[others] == found[others].min()).all(axis=1)].sort_values(dimension)
        for who in ("ours", "rival"):
            if f"{who} GiB" in line:
                axis.plot(line[dimension], line[f"{who} GiB"], "o-", label=who)
        axis.set_xlabel(dimension)
        axis.set_xscale("log")
        axis.set_yscale("log")
    axes[0].set_ylabel("peak memory of a fit (GiB)")
    axes[0].legend()
    fig.savefig(path, dpi=120)


def numbers(shape: str) -> list[int]:
    """Return rows, columns and members of a shape like 1000x20 or 1000x20x8."""
    return [*map(int, shape.split("x")), MEMBERS][:3]


def fit(name: str, arguments: Any) -> None:
    """Fit once, in this process, and print its peak memory."""
    path = base(name, "classification", arguments.out)
    n_rows, n_columns, n_members = numbers(arguments.shapes[0])
    X, y = table(n_rows, n_columns)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if arguments.who == ["ours"]:
        model = ours(path, arguments, n_estimators=n_members)
    else:
        model = rival(path, arguments, n_estimators_final_inference=n_members)
    seconds = _seconds(lambda: model.fit(X, y))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    gib = torch.cuda.max_memory_allocated() / 2**30 if arguments.device != "cpu" else None
    print(json.dumps({"GiB": gib or (peak - before) / 2**20, "seconds": seconds}))


def in_batches(name: str, arguments: Any) -> None:
    """Print the peak of a process that predicts, for every number of rows."""
    print("| rows x columns | in one piece (GiB) | seconds | in batches (GiB) | seconds |")
    print("|---|---|---|---|---|")
    for shape in arguments.shapes or ("20000x60x1", "200000x60x1"):
        figures = []
        for way in ("predict-at-once", "predict-rows"):
            if way == "predict-at-once" and numbers(shape)[0] > MOST_AT_ONCE:
                figures += ["not run", "-"]
                continue
            options = ["--shapes", shape, "--base", name, "--device", arguments.device]
            options += ["--out", str(arguments.out), "--threads", str(arguments.threads)]
            command = [sys.executable, __file__, way, *options]
            ran = subprocess.run(command, capture_output=True, text=True, check=True)
            answer = json.loads(ran.stdout.strip().splitlines()[-1])
            figures += [f"{answer['GiB']:.2f}", f"{answer['seconds']:.1f}"]
        print(f"| {shape} | {' | '.join(figures)} |", flush=True)


def predict_rows(name: str, arguments: Any) -> None:
    """Predict many rows and print what memory that took, beyond model and rows."""
    n_rows, n_columns, n_members = numbers(arguments.shapes[0])
    X, y = table(500, n_columns)
    arguments.steps = 0
    model = ours(base(name, "classification", arguments.out), arguments, n_estimators=n_members)
    model.fit(X, y).predict_proba(X)
    rows = np.random.default_rng(0).standard_normal((n_rows, n_columns), dtype=np.float32)
    if arguments.what == "predict-at-once":
        _defaults.CELLS_AT_ONCE = rows.size
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = _seconds(lambda: model.predict_proba(rows))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    gib = torch.cuda.max_memory_allocated() / 2**30 if arguments.device != "cpu" else None
    print(json.dumps({"GiB": gib or (peak - before) / 2**20, "seconds": seconds}))


def table(n_rows: int, n_columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a made-up table of two classes."""
    X, y = make_classification(
        n_rows, n_columns, n_informative=min(8, n_columns - 2), random_state=0
    )
    return X.astype(np.float32), y


def alternate(work: dict[str, Callable[[], Any]], times: int) -> dict[str, list[float]]:
    """Return the seconds of every piece of work, done in turn some times over."""
    measured: dict[str, list[float]] = {what: [] for what in work}
    for _ in range(times):
        for what, run in work.items():
            measured[what].append(_seconds(run))
    return measured


def _seconds(work: Callable[[], Any]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def _finish(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


HEADS = {
    "overhead": "| base | rows | bare step (s) | fit / bare | fit without validation / bare "
    "| rival's bare step (s) | rival's fit / bare |\n|---|---|---|---|---|---|---|",
    "precision": "| base | rows of a split | fp32 (s) | bf16 (s) |\n|---|---|---|---|",
    "compile": "| base | rows of a split | plain (s) | compiled (s) | first compiled step (s) |"
    "\n|---|---|---|---|---|",
    "together": "| base | shape | passes | as it is (s) | all together (s) | one by one (s) |"
    "\n|---|---|---|---|---|---|",
    "predict": "| base | rows | predict_proba (s) | over plain | one row, over plain "
    "| one row, cached (ms) | times faster |\n|---|---|---|---|---|---|---|",
}


WHAT = {
    "overhead": overhead,
    "predict": predict,
    "precision": precision,
    "compile": compile_,
    "together": together,
    "memory": memory,
    "batches": in_batches,
    "predict-rows": predict_rows,  # what `batches` starts in a process of its own
    "predict-at-once": predict_rows,
    "fit": fit,  # what `memory` starts in a process of its own
}


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=list(WHAT))
    parser.add_argument("--base", nargs="+", default=["mini"], help="mini, v2-size, v3-size, file")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--columns", type=int, default=20)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--shapes", nargs="+", metavar="ROWSxCOLUMNS[xMEMBERS]")
    parser.add_argument("--who", nargs="+", default=["ours", "rival"], choices=["ours", "rival"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("benchmark-output/speed"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    if arguments.what in HEADS:
        print(HEADS[arguments.what])
    for name in arguments.base:
        WHAT[arguments.what](name, arguments)
    if arguments.what not in ("fit", "predict-rows", "predict-at-once"):
        print(f"\n{platform.platform()}, {arguments.threads} threads, torch {torch.__version__}")


if __name__ == "__main__":
    main()
