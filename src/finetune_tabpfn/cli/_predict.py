"""``finetune-tabpfn predict``: predict the rows of a file."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import pandas as pd

from finetune_tabpfn.cli import _pipes
from finetune_tabpfn.data._io import read_table
from finetune_tabpfn.data._sampling import batches
from finetune_tabpfn.forecasting._forecaster import FinetunedTabPFNForecaster
from finetune_tabpfn.models._export import load_fitted
from finetune_tabpfn.studies._models import features_of, read_for
from finetune_tabpfn.utils._progress import tqdm


def run(arguments: argparse.Namespace) -> None:
    """Predict the rows of a file."""
    model = load_fitted(arguments.model)
    if isinstance(model, FinetunedTabPFNForecaster):
        _forecast(arguments, model)
        return
    rows = read_for(model, arguments.data, missing_values=arguments.missing_values)
    X = features_of(model, rows, arguments.data)
    predicted = _in_batches(model, X, arguments.batch_size, arguments.quiet)
    _pipes.answer_table(arguments, predicted, f"predicted {len(predicted)} rows")


def _in_batches(model: Any, X: pd.DataFrame, size: int, quiet: bool) -> pd.DataFrame:
    """Predict some rows at once; someone at a terminal sees that it goes on."""
    parts = []
    hidden = True if quiet else None  # None: unless stderr is a terminal
    with tqdm(total=len(X), unit=" rows", desc="predicting", disable=hidden, leave=False) as bar:
        for rows in batches(len(X), size):
            parts.append(predictions(model, X.iloc[rows]))
            bar.update(rows.stop - rows.start)
    return pd.concat(parts, ignore_index=True)


def _forecast(arguments: argparse.Namespace, model: FinetunedTabPFNForecaster) -> None:
    """Forecast what comes after the targets of a file, or of `fit` where it has none."""
    table = read_table(arguments.data, missing_values=arguments.missing_values)
    if model.target_ in table and table[model.target_].notna().any():
        model.update(table)
    forecast = model.predict(future=table)
    _pipes.answer_table(arguments, forecast, f"forecast {len(forecast)} rows")


def predictions(model: Any, X: pd.DataFrame) -> pd.DataFrame:
    """Return predictions as columns, with a probability per class for a classifier."""
    if not hasattr(model, "predict_proba"):
        return pd.DataFrame({"prediction": model.predict(X)})
    proba = model.predict_proba(X)
    columns = {f"probability_{label}": proba[:, i] for i, label in enumerate(model.classes_)}
    return pd.DataFrame({"prediction": model.classes_[np.argmax(proba, axis=1)], **columns})
