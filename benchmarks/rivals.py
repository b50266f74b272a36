"""Other packages that fine-tune networks for tables, beside ours: what a fit costs on a CPU.

    make benchmark-rivals ARGS="[--data FOLDER] [--tables phoneme diabetes] [--rows 2000]
                                [--seconds 60] [--who NAME ...] [--threads 1] [--cpu-clock]
                                [--give-up 1200] [--out FOLDER]"

TabICL, AutoGluon's Mitra and mitra-finetune ship no weights, so that every network here has the
shape of the published one and random weights: seconds, memory and steps mean something, scores
would not, and none are written. Each package has its defaults and as many seconds as it is given;
early stopping is off where it can be switched off, since with random weights it stops by luck.

A cell (table, package) runs in a process of its own and is given up after `--give-up` seconds.
Steps are the calls of torch's optimizers, rows of context those of the longest pass that a gradient
was taken of. With `--cpu-clock` all seconds, the limits too, are those of the processor's work for
the process, so that other work on the machine takes nothing away (on one thread). Prints a
Markdown table and writes rivals.csv into the folder; a cell that the file holds is not run again.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TABPFN_DISABLE_TELEMETRY", "1")
if "--cpu-clock" in sys.argv:  # before anyone takes a clock of his own
    time.time = time.monotonic = time.perf_counter = time.process_time

import numpy as np
import pandas as pd
import torch
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_post_hook

from _bases import base
from _tables import Table, bundled, from_folder

TEST_ROWS = 500


# --- networks of the published shapes, with random weights ----------------------------------------


def tabicl_network(task: str, folder: Path) -> Path:
    """Write a network of the shape of TabICL v2."""
    from tabicl._model.tabicl import TabICL

    path = folder / f"random-tabicl-{task}.ckpt"
    if not path.is_file():
        torch.manual_seed(0)
        config = {
            "max_classes": 10 if task == "classification" else 0,
            "row_rope_interleaved": False,  # of v2, as the next one
            "zero_init": False,
        }
        torch.save({"config": config, "state_dict": TabICL(**config).state_dict()}, path)
    return path


def mitra_network(task: str, outputs: int, folder: Path) -> Path:
    """Write a network of the shape of Mitra: for numbers v1 has one output, v2 1,000 buckets."""
    from autogluon.tabular.models.mitra._internal.models.tab2d import Tab2D

    path = folder / f"random-mitra-{task}-{outputs}"
    if not path.is_dir():
        torch.manual_seed(0)
        Tab2D(
            dim=512,
            dim_output=outputs,
            n_layers=12,
            n_heads=4,
            task=task.upper(),
            use_pretrained_weights=False,
            path_to_weights="",
            device="cpu",
        ).save_pretrained(str(path))
    return path


# --- packages -------------------------------------------------------------------------------------


class Asked(NamedTuple):
    """What a package is asked for."""

    task: str
    seconds: float
    folder: Path

    @property
    def classes(self) -> bool:
        """Tell whether the table is one of classes."""
        return self.task == "classification"


def ours(asked: Asked) -> Any:
    """Return this package's estimator."""
    from finetune_tabpfn import FinetunedTabPFNClassifier, FinetunedTabPFNRegressor

    estimator = FinetunedTabPFNClassifier if asked.classes else FinetunedTabPFNRegressor
    return estimator(
        base_model=base("v2-size", asked.task, asked.folder),
        time_limit=asked.seconds,
        patience=10**6,
        device="cpu",
        random_state=0,
    )


def tabpfn_finetuning(asked: Asked) -> Any:
    """Return the estimator of tabpfn.finetuning."""
    from tabpfn.finetuning import FinetunedTabPFNClassifier, FinetunedTabPFNRegressor

    estimator = FinetunedTabPFNClassifier if asked.classes else FinetunedTabPFNRegressor
    extra = {"model_path": str(base("v2-size", asked.task, asked.folder))}
    return estimator(
        time_limit=round(asked.seconds),
        early_stopping=False,
        device="cpu",
        random_state=0,
        **{f"extra_{'classifier' if asked.classes else 'regressor'}_kwargs": extra},
    )


def tabicl(asked: Asked) -> Any:
    """Return TabICL's estimator."""
    from tabicl import FinetunedTabICLClassifier, FinetunedTabICLRegressor

    estimator = FinetunedTabICLClassifier if asked.classes else FinetunedTabICLRegressor
    return estimator(
        model_path=tabicl_network(asked.task, asked.folder),
        time_limit=asked.seconds,
        early_stopping=False,
        device="cpu",
        random_state=0,
    )


class AutoGluonMitra:
    """AutoGluon's predictor with Mitra as its only model."""

    def __init__(self, asked: Asked) -> None:
        import_module("autogluon.tabular.models.mitra.sklearn_interface")  # not in the seconds
        self.asked = asked
        self.network = mitra_network(asked.task, 10 if asked.classes else 1, asked.folder)

    def fit(self, X: pd.DataFrame, y: pd.Series) -> AutoGluonMitra:
        """Fit the predictor."""
        from autogluon.tabular import TabularPredictor

        self.predictor = TabularPredictor(
            label="label", path=str(self.asked.folder / f"autogluon-{os.getpid()}")
        )
        self.predictor.fit(
            X.assign(label=y),
            hyperparameters={"MITRA": {"hf_model": str(self.network)}},
            time_limit=self.asked.seconds,
            num_gpus=0,
            fit_weighted_ensemble=False,
        )
        return self

    def predict(self, X: pd.DataFrame) -> Any:
        """Predict with the predictor."""
        return self.predictor.predict(X)


class MitraFinetune:
    """The estimator of mitra-finetune, whose `predict` does the work of its `fit`."""

    def __init__(self, asked: Asked) -> None:
        from mitra_finetune import MitraFinetune as Estimator

        import_module("autogluon.tabular.models.mitra.sklearn_interface")  # not in the seconds
        import_module("tabarena.benchmark.exec_models.autogluon")
        self.model = Estimator(
            mitra_network(asked.task, 10 if asked.classes else 1000, asked.folder),
            problem_type=asked.task,
            time_limit=round(asked.seconds),
            device="cpu",
            in_process=True,
        )

    def fit(self, X: pd.DataFrame, y: pd.Series) -> MitraFinetune:
        """Keep the rows, and train when a prediction is made of the first of them."""
        self.model.fit(X, y).predict(X.head(TEST_ROWS))
        return self


@dataclass(frozen=True)
class Package:
    """A package, its network and how many of its members or children predict."""

    make: Callable[[Asked], Any]
    distribution: str
    network: str
    members: int


PACKAGES = {
    "finetune-tabpfn": Package(ours, "finetune-tabpfn", "v2-size", 4),
    "tabpfn.finetuning": Package(tabpfn_finetuning, "tabpfn", "v2-size", 8),
    "TabICL": Package(tabicl, "tabicl", "TabICL v2", 8),
    "AutoGluon's Mitra": Package(AutoGluonMitra, "autogluon.tabular", "Mitra v1", 1),
    "mitra-finetune": Package(MitraFinetune, "mitra-finetune", "Mitra v2", 8),
}


# --- measuring ------------------------------------------------------------------------------------


# the axis of the rows in what a network gets second: its context's targets
ROWS_OF_TARGETS = {"TabICL": 1, "Tab2D": 1, "TabPFNV2": 0}


class Watch:
    """Counts the updates of a process and the rows of context of its longest training pass."""

    def __init__(self) -> None:
        self.steps = 0
        self.context_rows = 0
        register_optimizer_step_post_hook(self._after_step)
        register_module_forward_pre_hook(self._before_forward)

    def _after_step(self, *_: Any) -> None:
        self.steps += 1

    def _before_forward(self, module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        if not torch.is_grad_enabled():
            return
        axis = ROWS_OF_TARGETS.get(type(module).__name__)
        if axis is not None:
            self.context_rows = max(self.context_rows, inputs[1].shape[axis])


def measure(table: Table, who: str, arguments: Any) -> dict[str, Any]:
    """Fit one package to one table and predict."""
    X_train, X_test, y_train, _ = table.split(0, arguments.rows, TEST_ROWS)
    model = PACKAGES[who].make(Asked(table.task, arguments.seconds, arguments.out.resolve()))
    watch = Watch()
    started = time.monotonic()
    found: dict[str, Any] = {"rows": len(X_train), "columns": X_train.shape[1], "ended by": ""}
    try:
        model.fit(X_train, y_train)
    except Exception as error:  # how a fit ends is measured
        what = str(error).strip().split("\n")[0]
        found["ended by"] = type(error).__name__ + (f": {what}" if what else "")
    found["fit_seconds"] = time.monotonic() - started
    if not found["ended by"] and hasattr(model, "predict"):
        started = time.monotonic()
        model.predict(X_test)
        found["predict_seconds"] = time.monotonic() - started
    return found | {
        "steps": watch.steps,
        "context_rows": watch.context_rows,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def run_cells(arguments: Any) -> pd.DataFrame:
    """Run every cell that is missing, each in a process of its own."""
    file = arguments.out / "rivals.csv"
    cells = pd.read_csv(file).to_dict("records") if file.is_file() else []
    done = {(cell["table"], cell["who"]) for cell in cells}
    for table in arguments.tables:
        for who in arguments.who:
            if (table, who) in done:
                continue
            result = run_cell(table, who, arguments)
            print(f"{table}, {who}: {result}", flush=True)
            cells.append({"table": table, "who": who, **result})
            pd.DataFrame(cells).to_csv(file, index=False)
    return pd.DataFrame(cells)


def run_cell(table: str, who: str, arguments: Any) -> dict[str, Any]:
    """Run one cell in a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--cell", json.dumps([table, who])]
    environment = os.environ | {
        "AG_CPU_COUNT": str(arguments.threads),  # AutoGluon sets torch's threads by it
        "OMP_NUM_THREADS": str(arguments.threads),
    }
    try:
        ran = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=arguments.give_up,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        return {"ended by": f"given up after {arguments.give_up:g} s"}
    (arguments.out / f"{table}-{who}.log").write_text(ran.stdout + ran.stderr, encoding="utf-8")
    if ran.returncode:
        raise SystemExit(f"{table}, {who}: {ran.stderr.strip()}")
    return json.loads(ran.stdout.strip().splitlines()[-1])


def report(cells: pd.DataFrame) -> None:
    """Print a Markdown table of the cells, and what was installed."""
    rows = []
    for cell in cells.to_dict("records"):
        package = PACKAGES[cell["who"]]
        rows.append(
            {
                "table": cell["table"],
                "package": cell["who"],
                "network": package.network,
                "fit (s)": number(cell.get("fit_seconds"), 0),
                "steps": number(cell.get("steps"), 0),
                "rows of context": number(cell.get("context_rows"), 0),
                "members": package.members,
                "predict (s)": number(cell.get("predict_seconds"), 1),
                "peak (GiB)": number(cell.get("peak_gib"), 1),
                "ended by": cell["ended by"] if isinstance(cell["ended by"], str) else "",
            }
        )
    print()
    print(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))
    versions = {package.distribution: None for package in PACKAGES.values()}
    print("\n" + ", ".join(f"{name} {version(name)}" for name in [*versions, "torch"]))


def number(value: Any, digits: int) -> str:
    """Write a number, or nothing for one that is missing."""
    return "" if value is None or np.isnan(value) else f"{value:,.{digits}f}"


@functools.cache
def tables(data: Path | None) -> dict[str, Table]:
    """Return the tables by name."""
    found = list(bundled())
    if data is not None:
        found += from_folder(data)
    return {table.name: table for table in found}


def main() -> None:
    """Run one cell for the parent process, or all of them."""
    arguments = _parser().parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.cell:
        warnings.simplefilter("ignore")
        table, who = json.loads(arguments.cell)
        print("\n" + json.dumps(measure(tables(arguments.data)[table], who, arguments)))
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    report(run_cells(arguments))
    print(f"{platform.platform()}, {arguments.threads} threads")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of CSV files with a column `target`")
    parser.add_argument("--tables", nargs="*", default=["breast_cancer", "diabetes"])
    parser.add_argument("--who", nargs="*", default=list(PACKAGES), choices=PACKAGES)
    parser.add_argument("--rows", type=int, default=2000, help="at most so many to train on")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each fine-tuning")
    parser.add_argument("--give-up", type=float, default=1200.0, help="after so many seconds")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("benchmark-output/rivals"))
    parser.add_argument("--cpu-clock", action="store_true", help="count seconds of work")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
