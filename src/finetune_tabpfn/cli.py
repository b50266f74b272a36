"""The command line: ``finetune-tabpfn demo | fit | predict | synth``.

Progress goes to stderr, results to stdout. Exit status: 0 done, 1 what was asked cannot be done
(one sentence says why), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Mapping, Sequence
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
from finetune_tabpfn.config import add_parameters, chosen_parameters, parameters
from finetune_tabpfn.export import load_fitted
from finetune_tabpfn.files import save_whole
from finetune_tabpfn.synthetic import Schema, make_table, schema_of, table_from_schema
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
    _add_synth(commands)
    return parser


def _add_synth(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command that writes synthetic tables."""
    synth = commands.add_parser(
        "synth",
        help="write a synthetic table",
        description="Write a synthetic table: from the parameters below, from a schema, or like "
        "a real table. With --schema and --like only --n-rows and --random-state apply.",
    )
    synth.add_argument("--out", type=Path, help=".csv, .parquet, .json or .jsonl")
    source = synth.add_mutually_exclusive_group()
    source.add_argument("--schema", type=Path, metavar="FILE", help="YAML, see docs/synthetic.md")
    source.add_argument("--like", type=Path, metavar="DATA", help="file of a real table")
    like = synth.add_argument_group("with --like")
    like.add_argument("--target", help="name of the column to predict")
    like.add_argument("--min-count", type=int, help="rows behind every number in the schema [10]")
    like.add_argument("--save-schema", type=Path, metavar="FILE", help="YAML to edit or share")
    add_parameters(synth, make_table, "parameters of the table")
    synth.set_defaults(run=_synth)


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


def _synth(arguments: argparse.Namespace) -> None:
    """Write a synthetic table, or the schema of a real one, or both."""
    if not (arguments.out or arguments.save_schema):
        raise ValueError("synth needs --out for a table, or --like and --save-schema for a schema.")
    schema = _schema(arguments)
    if arguments.save_schema and schema:
        save_whole(arguments.save_schema, schema.to_yaml)
        print(f"schema of {len(schema.columns)} columns, saved {arguments.save_schema}")
    if not arguments.out:
        return
    chosen = chosen_parameters(arguments, make_table)
    if schema:
        X, y = table_from_schema(schema, chosen["n_rows"], chosen["random_state"])
    else:
        X, y = make_table(**chosen)
    write_table(pd.concat([X, y], axis=1), arguments.out)
    target = "no target" if y is None else f"target {y.name!r}"
    print(f"{len(X)} rows, {X.shape[1]} columns, {target}, saved {arguments.out}")


def _schema(arguments: argparse.Namespace) -> Schema | None:
    """Return the schema to draw from; None for `make_table`."""
    names = ("target", "min_count", "save_schema")
    _refuse(arguments, {} if arguments.like else dict.fromkeys(names), "needs --like")
    if not (arguments.schema or arguments.like):
        return None
    defaults = {name: parameter.default for name, parameter in parameters(make_table).items()}
    del defaults["n_rows"], defaults["random_state"]
    _refuse(arguments, defaults, "does not go with --schema or --like")
    if arguments.schema:
        return Schema.from_yaml(arguments.schema)
    min_count = {} if arguments.min_count is None else {"min_count": arguments.min_count}
    return schema_of(read_table(arguments.like), arguments.target, **min_count)


def _refuse(arguments: argparse.Namespace, defaults: Mapping[str, Any], why: str) -> None:
    """Raise for arguments that are not at their default."""
    for name, default in defaults.items():
        if getattr(arguments, name) != default:
            raise ValueError(f"--{name.replace('_', '-')} {why}.")


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
