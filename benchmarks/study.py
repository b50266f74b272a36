"""Measure a study of two tables on several workers against the same study run serially.

    python benchmarks/study.py [--workers 2] [--rows 400] [--max-steps 40] [--out FOLDER]

Six settings (three learning rates, two ways of tuning) on each of two tables that scikit-learn
bundles: 12 fits. First one after the other, then on workers that each compute with one thread, as
the serial run does. Both must come to the same, bit for bit; what differs is the time. The report
of the parallel study is left in the folder.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a thread for the serial run as for each worker
os.environ.setdefault("TABPFN_DISABLE_TELEMETRY", "1")

import joblib
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_wine

from finetune_tabpfn.studies import Experiment, Study, StudyAnalyzer

TABLES = {"breast_cancer": load_breast_cancer, "wine": load_wine}
GRID = {"learning_rate": [1e-4, 4e-4, 1.6e-3], "tuning": ["full", "norm"]}


def run(folder: Path, arguments: argparse.Namespace) -> list[Experiment]:
    """Run the study: a grid for each table."""
    study = Study(folder, save_models=False, verbose=True)
    parameters = {"base_model": "mini", "max_steps": arguments.max_steps, "n_estimators": 2}
    found: list[Experiment] = []
    for name, load in TABLES.items():
        frame = load(as_frame=True).frame.sample(frac=1, random_state=0)[: arguments.rows]
        frame = frame.reset_index(drop=True)
        n_train = round(0.7 * len(frame))
        train, test = frame[:n_train], frame[n_train:]
        found += study.grid_search(
            GRID, train, test=test, target="target", parameters=parameters, name=name
        )
    return found


def timed(
    folder: Path, arguments: argparse.Namespace, workers: int
) -> tuple[list[Experiment], float]:
    """Run the study on some workers, which have been started before the clock is."""
    if workers == 1:
        began = time.monotonic()
        return run(folder, arguments), time.monotonic() - began
    with joblib.parallel_config("loky", n_jobs=workers, inner_max_num_threads=1):
        # an import of torch takes seconds, once for as many experiments as there are
        joblib.Parallel()(joblib.delayed(_warm_up)() for _ in range(2 * workers))
        began = time.monotonic()
        return run(folder, arguments), time.monotonic() - began


def _warm_up() -> None:
    from finetune_tabpfn import FinetunedTabPFNClassifier

    FinetunedTabPFNClassifier()
    time.sleep(0.5)  # so that every worker gets one


def result_of(experiment: Experiment) -> dict[str, Any]:
    """Return what must not differ."""
    history = [
        {name: value for name, value in row.items() if name != "seconds"}
        for row in experiment.history
    ]
    metrics = {part: getattr(experiment, part) for part in ("train", "validation", "test")}
    return {**metrics, "history": history, "parameters": experiment.parameters}


def main() -> None:
    """Run both and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--max-steps", type=int, default=40)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    folder = arguments.out or Path(tempfile.mkdtemp())
    serial, serial_seconds = timed(folder / "serial", arguments, 1)
    parallel, parallel_seconds = timed(folder / "parallel", arguments, arguments.workers)
    same = [result_of(one) for one in serial] == [result_of(one) for one in parallel]
    ids = {one.id for one in parallel}
    rows = {
        "serial": [1, len(serial), serial_seconds, sum(one.seconds for one in serial)],
        "parallel": [
            arguments.workers,
            len(parallel),
            parallel_seconds,
            sum(one.seconds for one in parallel),
        ],
    }
    columns = ["workers", "experiments", "seconds", "seconds of experiments"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    print(table.to_string(float_format="{:.1f}".format))
    print(f"same results: {'yes' if same else 'NO'}; ids of their own: {len(ids) == len(parallel)}")
    print(f"speed-up {serial_seconds / parallel_seconds:.2f}")
    print(StudyAnalyzer(folder / "parallel").report(folder / "report.html"))


if __name__ == "__main__":
    main()
