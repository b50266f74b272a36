"""``finetune-tabpfn predict``: predict the rows of a file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from finetune_tabpfn.cli._options import (
    TABLE_FORMATS,
    Commands,
    add_json,
    add_missing_values,
    answer,
)
from finetune_tabpfn.data._io import read_table, write_table
from finetune_tabpfn.data._sampling import batches
from finetune_tabpfn.forecasting._forecaster import FinetunedTabPFNForecaster
from finetune_tabpfn.models._export import load_fitted
from finetune_tabpfn.studies._models import features_of, read_for


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "predict",
        help="predict the rows of a file",
        description="Predict the rows of a file: a column `prediction`, and for classes a "
        "probability for each. Columns that the model was not fitted on are left out. Of a "
        "forecaster: what comes after the file's last targets; rows without hold the covariates.",
    )
    parser.add_argument(
        "model", type=Path, help="what `fit` saved (.joblib), or a .tabpfn_fit file of tabpfn"
    )
    parser.add_argument("data", type=Path, help=TABLE_FORMATS)
    parser.add_argument("--out", type=Path, required=True, help=".csv, .parquet, .json or .jsonl")
    parser.add_argument("--batch-size", type=int, default=10_000, help="rows at once [10000]")
    add_missing_values(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Predict the rows of a file."""
    model = load_fitted(arguments.model)
    if isinstance(model, FinetunedTabPFNForecaster):
        _forecast(arguments, model)
        return
    rows = read_for(model, arguments.data, missing_values=arguments.missing_values)
    X = features_of(model, rows, arguments.data)
    parts = [predictions(model, X.iloc[some]) for some in batches(len(X), arguments.batch_size)]
    predicted = pd.concat(parts, ignore_index=True)
    write_table(predicted, arguments.out)
    answer(
        arguments,
        f"predicted {len(rows)} rows, saved {arguments.out}",
        {"rows": len(rows), "columns": list(predicted.columns), "path": arguments.out},
    )


def _forecast(arguments: argparse.Namespace, model: FinetunedTabPFNForecaster) -> None:
    """Forecast what comes after the targets of a file, or of `fit` where it has none."""
    table = read_table(arguments.data, missing_values=arguments.missing_values)
    if model.target_ in table and table[model.target_].notna().any():
        model.update(table)
    forecast = model.predict(future=table)
    write_table(forecast, arguments.out)
    answer(
        arguments,
        f"forecast {len(forecast)} rows, saved {arguments.out}",
        {"rows": len(forecast), "columns": list(forecast.columns), "path": arguments.out},
    )


def predictions(model: Any, X: pd.DataFrame) -> pd.DataFrame:
    """Return predictions as columns, with a probability per class for a classifier."""
    if not hasattr(model, "predict_proba"):
        return pd.DataFrame({"prediction": model.predict(X)})
    proba = model.predict_proba(X)
    columns = {f"probability_{label}": proba[:, i] for i, label in enumerate(model.classes_)}
    return pd.DataFrame({"prediction": model.classes_[np.argmax(proba, axis=1)], **columns})
