"""Does `fit` return within its time limit? Asked for, and taken, per table and limit.

    python benchmarks/time_limit.py [--limits 10 20 60] [--csv TABLE.csv:TARGET ...]

Without --csv: made-up tables of 300, 1,000 and 7,000 rows x 20 columns. Base model: mini. The
promise is 1.05 x limit + 1 s. Figures depend on the machine, which is named in the output.
"""

import argparse
import platform
import time
import warnings

import torch
from sklearn.datasets import make_classification

from finetune_tabpfn import FinetunedTabPFNClassifier, FinetunedTabPFNRegressor
from finetune_tabpfn.tables import infer_task, read_table, split_target


def tables(files: list[str]) -> dict:
    """Return the tables to fit, by name."""
    if not files:
        return {
            f"{rows} x 20": make_classification(rows, 20, n_informative=8, random_state=0)
            for rows in (300, 1000, 7000)
        }
    named = {}
    for file in files:
        path, target = file.rsplit(":", 1)
        named[path.rsplit("/", 1)[-1]] = split_target(read_table(path), target)
    return named


def main() -> None:
    """Print a row per table and limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limits", type=float, nargs="+", default=[10, 20, 60])
    parser.add_argument("--csv", nargs="+", default=[], metavar="FILE:TARGET")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{platform.platform()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(
        f"{'table':>24} {'limit':>6} {'taken':>6} {'kept':>5} {'steps':>6} {'rounds':>6}  deployed"
    )
    for name, (X, y) in tables(arguments.csv).items():
        regression = hasattr(y, "dtype") and hasattr(y, "index") and infer_task(y) == "regression"
        estimator = FinetunedTabPFNRegressor if regression else FinetunedTabPFNClassifier
        for limit in arguments.limits:
            model = estimator(base_model="mini", time_limit=limit, random_state=0)
            model.set_params(max_steps=100_000, early_stopping=False)
            started = time.monotonic()
            model.fit(X, y)
            taken = time.monotonic() - started
            kept = "yes" if taken <= 1.05 * limit + 1 else "NO"
            print(
                f"{name:>24} {limit:6.0f} {taken:6.1f} {kept:>5} {model.n_steps_:6d} "
                f"{max(0, len(model.history_) - 1):6d}  {model.deployed_weights_}",
                flush=True,
            )


if __name__ == "__main__":
    main()
