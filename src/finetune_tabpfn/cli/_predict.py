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
    _pipes.answer_table(arguments, predicted, f"predicted {len(predicted)} rows")


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
