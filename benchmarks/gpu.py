"""Everything that needs a CUDA card, in one call of at most four minutes, as one table.

    python benchmarks/gpu.py [--seconds 240] [--base mini v2-size] [--rows 300 1257 10000]
                             [--limits 5 12 30] [--beside 4] [--device cuda] [--parts limits ...]

limits: real time limits, each cell in a process of its own beside others, so that the card is
contended for; a limit is kept within 1.05 x + 1 s. answers: what one model says of the same rows
whole and in parts, pickled, saved, loaded without the card, and what a second fit of the same seed
says. precision: half precision against fp32. speed: steps per second against tabpfn.finetuning, and
their share of the card's matrix products. splits: what a step of several splits costs. memory: a
fit whose share of the card is cut until it must ask less. Networks with random weights of official
sizes cost what the official ones do. A part that no longer fits the time is named as left out.
`--device cpu` runs it without a card, to see that it works.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("TABPFN_DISABLE_TELEMETRY", "1")

import joblib
import numpy as np
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from _bases import base
from finetune_tabpfn import FinetunedTabPFNClassifier
from finetune_tabpfn.finetuning._defaults import split_sizes
from speed import bare, ours, rival, table

Row = dict[str, Any]
LUCK = {"min_gain_se": 0.0}  # what scored best is deployed, be it luck
VARIED_AT = (1257, 12.0)  # rows and limit of the cells that vary one parameter
VARIANTS: list[Row] = [
    {"precision": "fp32"},
    {"precision": "bf16"},
    {"precision": "fp16"},
    {"n_folds": 2},
    {"tuning": "lora"},
    {"fit_mode": "fit_with_cache"},
    {"learning_rate": "auto"},
]


def limits(arguments: Any) -> Iterator[Row]:
    """Yield a row for every base, table and limit, and for one changed parameter at a time."""
    cells = [
        (name, rows, limit, {})
        for name in arguments.base
        for rows in arguments.rows
        for limit in arguments.limits
    ]
    rows = min(arguments.rows, key=lambda n: abs(n - VARIED_AT[0]))
    limit = min(arguments.limits, key=lambda s: abs(s - VARIED_AT[1]))
    cells += [(name, rows, limit, change) for name in arguments.base[:1] for change in VARIANTS]
    for name in arguments.base:
        base(name, "classification", arguments.out)  # written once, before several ask for it
    # the longest first, so that none is left alone at the end
    cells.sort(key=lambda cell: -cell[2])
    with ThreadPoolExecutor(arguments.beside) as pool:
        yield from pool.map(lambda cell: _limited(*cell, arguments), cells)


def _limited(name: str, rows: int, limit: float, change: Row, arguments: Any) -> Row:
    """Return what a process says that fits one cell."""
    cell = json.dumps({"base": name, "rows": rows, "limit": limit, "change": change})
    command = [sys.executable, __file__, "--cell", cell, "--device", arguments.device]
    ran = subprocess.run(
        [*command, "--out", str(arguments.out)], capture_output=True, text=True, check=False
    )
    setting = f"time_limit={limit:g}" + "".join(f", {k}={v}" for k, v in change.items())
    row = {"part": "limits", "base": name, "rows": rows, "setting": setting}
    if ran.returncode:
        return {**row, "result": f"FAILED: {ran.stderr.strip().splitlines()[-1]}"}
    return {**row, **json.loads(ran.stdout.strip().splitlines()[-1])}


def fit_cell(cell: Row, arguments: Any) -> Row:
    """Fit one cell; the process has imported everything, as one that fits twice has."""
    X, y = table(cell["rows"] * 5 // 4, arguments.columns)
    X, y, X_test, y_test = (
        X[: cell["rows"]],
        y[: cell["rows"]],
        X[cell["rows"] :],
        y[cell["rows"] :],
    )
    model = FinetunedTabPFNClassifier(
        base_model=base(cell["base"], "classification", arguments.out),
        time_limit=cell["limit"],
        max_steps=10**6,
        patience=None,
        random_state=0,
        device=arguments.device,
        **cell["change"],
    )
    started = time.monotonic()
    model.fit(X, y)
    taken = time.monotonic() - started
    accuracy = model.score(X_test[:500], y_test[:500])
    kept = taken <= 1.05 * cell["limit"] + 1
    return {
        "seconds": round(taken, 1),
        "steps": model.n_steps_,
        "result": f"{'kept' if kept else 'NOT KEPT'}; {max(0, len(model.history_) - 1)} "
        f"evaluations; {model.deployed_weights_}; accuracy {accuracy:.3f}",
    }


def answers(arguments: Any) -> Iterator[Row]:
    """Yield the largest differences of a probability between answers that should be one."""
    X, y = table(1257, arguments.columns)
    rows = X[:300]
    for name in arguments.base:
        path = base(name, "classification", arguments.out)
        settings = {
            "max_steps": 20,
            "random_state": 0,
            "training": {"min_gain_se": 0.0},
            "n_folds": 2,
        }

        def fitted(path: Path = path, settings: Row = settings) -> FinetunedTabPFNClassifier:
            model = FinetunedTabPFNClassifier(base_model=path, device=arguments.device, **settings)
            return model.fit(X, y)

        started = time.monotonic()
        model = fitted()
        seconds = time.monotonic() - started
        whole = model.predict_proba(rows)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.joblib"
            joblib.dump(model, file)
            found = {
                "in parts of 7 rows": np.concatenate(
                    [model.predict_proba(rows[n : n + 7]) for n in range(0, len(rows), 7)]
                ),
                "written and read": joblib.load(file).predict_proba(rows),
                "read without the card": _without_card(file, rows),
                "a second fit": fitted().predict_proba(rows),
            }
        for what, proba in found.items():
            apart = np.abs(proba - whole).max()
            yield {
                "part": "answers", "base": name, "rows": 1257, "setting": what,
                "seconds": round(seconds, 1), "steps": model.n_steps_,
                "result": f"{apart:.1e} apart",
            }  # fmt: skip


def _without_card(file: Path, rows: Any) -> Any:
    """Return what a process that sees no card predicts with a model that was fitted on one."""
    np.save(file.with_suffix(".npy"), np.asarray(rows))
    program = (
        "import sys, joblib, numpy as np\n"
        "model, rows, out = joblib.load(sys.argv[1]), np.load(sys.argv[2]), sys.argv[3]\n"
        "np.save(out, model.predict_proba(rows))\n"
    )
    out = file.with_name("without.npy")
    command = [sys.executable, "-W", "ignore", "-c", program, str(file)]
    command += [str(file.with_suffix(".npy")), str(out)]
    subprocess.run(command, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}, check=True)
    return np.load(out)


def precision(arguments: Any) -> Iterator[Row]:
    """Yield what half precision changes, and whether it is faster."""
    X, y = table(1000, arguments.columns)
    for name in arguments.base:
        path, reference = base(name, "classification", arguments.out), None
        for kind in ("fp32", "bf16", "fp16"):
            started = time.monotonic()
            model = ours(path, arguments, precision=kind, training=LUCK).fit(X, y)
            seconds = time.monotonic() - started
            proba = model.predict_proba(X[:200])
            reference = proba if reference is None else reference
            yield {
                "part": "precision", "base": name, "rows": 1000, "setting": kind,
                "seconds": round(seconds, 1), "steps": model.n_steps_,
                "result": f"score {model.base_score_:.4f} to {model.best_score_:.4f}; "
                f"{np.abs(proba - reference).max():.4f} from fp32",
            }  # fmt: skip


def speed(arguments: Any) -> Iterator[Row]:
    """Yield steps per second of ours and of the rival, whole fits of equal steps."""
    most = ceiling(arguments.device)
    for name in arguments.base[-1:]:
        path = base(name, "classification", arguments.out)
        for rows in (1000, 10_000):
            X, y = table(rows, arguments.columns)
            # one split a step, as the rival; without validations between
            settings = {"eval_interval": 10**6, "batch_size": 1, "precision": "auto"}
            model, seconds = _timed(lambda: ours(path, arguments, **settings).fit(X, y))  # noqa: B023
            try:
                _, theirs = _timed(lambda: rival(path, arguments).fit(X, y))  # noqa: B023
                ratio = f"{theirs / seconds:.1f} times the rival's"
            except torch.OutOfMemoryError:
                ratio = "the rival ran out of memory"
            sizes = split_sizes(int(0.8 * rows), torch.device(arguments.device), None, None)
            one = argparse.Namespace(**{**vars(arguments), "steps": 1})
            step = bare(path, X, y, one, context=sizes.context, query=sizes.query, splits=1)
            step()
            _, bare_seconds = _timed(step)
            with FlopCounterMode(display=False) as flops:
                step()
            reached = flops.get_total_flops() / bare_seconds / most
            yield {
                "part": "speed", "base": name, "rows": rows,
                "setting": f"splits of {sizes.context + sizes.query}",
                "seconds": round(seconds, 1), "steps": model.n_steps_,
                "result": f"{model.n_steps_ / seconds:.1f} steps/s, {ratio}; a bare step takes "
                f"{bare_seconds:.3f} s in fp32, {reached:.3f} of {most / 1e12:.0f} TFLOP/s",
            }  # fmt: skip


def splits(arguments: Any) -> Iterator[Row]:
    """Yield the seconds of a step by its number of splits: what `batch_size="auto"` rests on."""
    for name in arguments.base:
        for rows in (300, 1257):
            X, y = table(rows, arguments.columns)
            for size in (1, 4, 8):
                settings = {"eval_interval": 10**6, "batch_size": size}
                path = base(name, "classification", arguments.out)
                model, seconds = _timed(lambda: ours(path, arguments, **settings).fit(X, y))  # noqa: B023
                yield {
                    "part": "splits", "base": name, "rows": rows, "setting": f"batch_size={size}",
                    "seconds": round(seconds, 1), "steps": model.n_steps_,
                    "result": f"{model.n_steps_ / seconds:.1f} steps/s",
                }  # fmt: skip


def memory(arguments: Any) -> Iterator[Row]:
    """Yield fits with ever less of the card's memory; each must train and end all the same."""
    if arguments.device == "cpu":
        return
    name = arguments.base[-1]
    path = base(name, "classification", arguments.out)
    X, y = table(10_000, arguments.columns)
    for share in (0.1, 0.05, 0.03):
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(share)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model, seconds = _timed(lambda: ours(path, arguments).fit(X, y))
        said = [str(one.message) for one in caught if "emory" in str(one.message)]
        yield {
            "part": "memory", "base": name, "rows": 10_000, "setting": f"{share:.0%} of the card",
            "seconds": round(seconds, 1), "steps": model.n_steps_,
            "result": f"{model.stop_reason_}; {' '.join(said) or 'nothing asked less'}",
        }  # fmt: skip
    torch.cuda.set_per_process_memory_fraction(1.0)


# by name: what it yields, and the seconds that it takes on an H100, as planned
PARTS: dict[str, tuple[Callable[[Any], Iterator[Row]], float]] = {
    "limits": (limits, 130.0),
    "answers": (answers, 40.0),
    "memory": (memory, 20.0),
    "speed": (speed, 25.0),
    "precision": (precision, 15.0),
    "splits": (splits, 15.0),
}


def ceiling(device: str) -> float:
    """Return the floating-point operations per second of large matrix products in bf16."""
    size = 8192 if device != "cpu" else 1024
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return max(2 * size**3 / _timed(lambda: _waited(torch.mm(a, b)))[1] for _ in range(10))


def _waited(result: torch.Tensor) -> torch.Tensor:
    if result.is_cuda:
        torch.cuda.synchronize()
    return result


def _timed(run: Callable[[], Any]) -> tuple[Any, float]:
    started = time.monotonic()
    found = run()
    return found, time.monotonic() - started


def main() -> None:
    """Run all of it, or one cell in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--base", nargs="+", default=["mini", "v2-size"])
    parser.add_argument("--rows", nargs="+", type=int, default=[300, 1257, 10_000])
    parser.add_argument("--limits", nargs="+", type=float, default=[5, 12, 30])
    parser.add_argument("--columns", type=int, default=20)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--beside", type=int, default=4)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--out", type=Path, default=Path("benchmark-output/gpu"))
    parser.add_argument("--cell", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.cell is not None:
        print(json.dumps(fit_cell(arguments.cell, arguments)))
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    began, rows = time.monotonic(), []
    for part in arguments.parts:
        run, planned = PARTS[part]
        if time.monotonic() - began + planned > arguments.seconds:
            rows.append({"part": part, "result": "left out: no time"})
            continue
        for row in run(arguments):
            rows.append(row)
            print(row, flush=True)
    card = torch.cuda.get_device_name() if arguments.device != "cpu" else platform.processor()
    found = pd.DataFrame(rows).to_markdown(index=False)
    where = f"{card}, {platform.platform()}, torch {torch.__version__}"
    text = f"{where}, {time.monotonic() - began:.0f} s\n\n{found}\n"
    (arguments.out / "gpu.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
