"""The command line: ``finetune-tabpfn demo | fit | predict``.

Progress goes to stderr, results to stdout. Exit status: 0 done, 1 what was asked cannot be done
(one sentence says why), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import joblib
import numpy as np
import pandas as pd

from finetune_tabpfn import (
    FinetunedTabPFNClassifier,
    FinetunedTabPFNRegressor,
    __version__,
    demo,
)
from finetune_tabpfn.checkpoints import load_fitted, save_whole
from finetune_tabpfn.config import add_parameters, chosen_parameters
from finetune_tabpfn.tables import infer_task, read_table, split_target, write_table


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    arguments = _parser().parse_args(argv)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            arguments.run(arguments)
    except KeyboardInterrupt:
        print("finetune-tabpfn: interrupted", file=sys.stderr)
        return 130
    except (ValueError, TypeError, OSError) as error:
        print(f"finetune-tabpfn: error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    """Build the parser of the whole program."""
    parser = argparse.ArgumentParser(
        prog="finetune-tabpfn", description="Fine-tune TabPFN to one table."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="fine-tune the mini model on a table of scikit-learn")
    demo.add_argument(
        "--out", type=Path, default=Path("demo-output"), help="folder for the results"
    )
    add_parameters(demo, base_model="mini", time_limit=45.0, random_state=0)
    demo.set_defaults(run=_demo)

    fit = commands.add_parser("fit", help="fine-tune on a file and save the fitted estimator")
    fit.add_argument("data", type=Path, help="CSV, Parquet or JSON (records or lines)")
    fit.add_argument("--target", required=True, help="name of the column to predict")
    fit.add_argument("--out", type=Path, required=True, help="file for the estimator (.joblib)")
    fit.add_argument(
        "--task",
        choices=("auto", "classification", "regression"),
        default="auto",
        help="auto: whole numbers of at most 20 values, text and booleans are classes",
    )
    fit.add_argument("--quiet", action="store_true", help="no progress bar")
    add_parameters(fit)
    fit.set_defaults(run=_fit)

    predict = commands.add_parser("predict", help="predict the rows of a file")
    predict.add_argument(
        "model", type=Path, help="what `fit` saved (.joblib), or a .tabpfn_fit file of tabpfn"
    )
    predict.add_argument("data", type=Path, help="CSV, Parquet or JSON (records or lines)")
    predict.add_argument("--out", type=Path, required=True, help=".csv, .parquet, .json or .jsonl")
    predict.set_defaults(run=_predict)
    return parser


def _demo(arguments: argparse.Namespace) -> None:
    """Fine-tune on scikit-learn's digits and compare with the base model on a test set."""
    demo.run(arguments.out, chosen_parameters(arguments))


def _fit(arguments: argparse.Namespace) -> None:
    """Fine-tune on a file and save the fitted estimator."""
    X, y = split_target(read_table(arguments.data), arguments.target)
    task = infer_task(y) if arguments.task == "auto" else arguments.task
    kinds = {
        "classification": FinetunedTabPFNClassifier,
        "regression": FinetunedTabPFNRegressor,
    }
    estimator = kinds[task](**chosen_parameters(arguments), verbose=not arguments.quiet)
    estimator.fit(X, y)
    save_whole(arguments.out, lambda part: joblib.dump(estimator, part))
    print(
        f"{task} of {arguments.target!r}: {len(X)} rows, {X.shape[1]} columns, "
        f"base model {estimator.base_model_.name}\n"
        f"{estimator.scoring_} on the hold-out: base {estimator.base_score_:.5g}, "
        f"deployed {estimator.best_score_:.5g} ({estimator.deployed_weights_})\n"
        f"{estimator.n_steps_} steps, stopped by {estimator.stop_reason_}\n"
        f"saved {arguments.out}"
    )


def _predict(arguments: argparse.Namespace) -> None:
    """Predict the rows of a file."""
    model = load_fitted(arguments.model)
    rows = read_table(arguments.data)
    write_table(_predictions(model, _features(model, rows, arguments.data)), arguments.out)
    print(f"predicted {len(rows)} rows, saved {arguments.out}")


def _features(model: Any, rows: pd.DataFrame, source: Path) -> pd.DataFrame:
    """Return the columns that the model was fitted on."""
    names = getattr(model, "feature_names_in_", None)
    if names is None:
        return rows
    missing = [name for name in names if name not in rows.columns]
    if missing:
        raise ValueError(f"{source} lacks the column {missing[0]!r} that the model was fitted on.")
    return rows[list(names)]


def _predictions(model: Any, X: pd.DataFrame) -> pd.DataFrame:
    """Return predictions as columns, with a probability per class for a classifier."""
    if not hasattr(model, "predict_proba"):
        return pd.DataFrame({"prediction": model.predict(X)})
    proba = model.predict_proba(X)
    columns = {f"probability_{label}": proba[:, i] for i, label in enumerate(model.classes_)}
    return pd.DataFrame({"prediction": model.classes_[np.argmax(proba, axis=1)], **columns})


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning as one line, without the line of code that gave it."""
    if not issubclass(category, (DeprecationWarning, FutureWarning)):
        print(f"finetune-tabpfn: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
