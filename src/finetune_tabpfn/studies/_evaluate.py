"""Evaluate a model on labelled rows: metrics, figures, and a record of every row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd

from finetune_tabpfn.data._columns import tidy_columns
from finetune_tabpfn.data._io import read_table, split_target
from finetune_tabpfn.data._row_hashes import n_known, row_hashes
from finetune_tabpfn.data._sampling import batches
from finetune_tabpfn.data._validation import check_shape
from finetune_tabpfn.studies import _figures, _hub
from finetune_tabpfn.studies._cleaning import label_texts
from finetune_tabpfn.studies._metrics import (
    Codes,
    class_metrics,
    confidences,
    confusion,
    quantity_metrics,
    ranked,
    reliability,
)
from finetune_tabpfn.studies._models import (
    Predictions,
    codes_of,
    features_of,
    load_model,
    read_for,
)
from finetune_tabpfn.utils._files import save_whole
from finetune_tabpfn.utils._optional import require
from finetune_tabpfn.utils._progress import tqdm
from finetune_tabpfn.utils._text import to_json, to_json_line
from finetune_tabpfn.utils._warn import warn

METRICS_FILE, ROWS_FILE = "metrics.json", "rows.jsonl"
BATCH_SIZE = 10_000


@dataclass(frozen=True)
class Evaluation:
    """What a model came to on labelled rows.

    Attributes
    ----------
    model, data, target, task : str
    rows : int
        That were scored.
    rows_without_label : int
        Of the file; they were not scored.
    rows_of_unknown_labels : int
        Whose label the model was not fitted on: errors, without part in the metrics of
        probabilities.
    metrics : dict of str to float
    files : list of str
        What was written.
    """

    model: str
    data: str
    target: str
    task: str
    rows: int
    rows_without_label: int
    rows_of_unknown_labels: int
    metrics: dict[str, float]
    files: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-like data; a metric that cannot be had is NaN."""
        return asdict(self)

    def as_text(self) -> str:
        """Return it for reading."""
        lines = [f"{self.model} on {self.data}: {self.rows:,} rows, {self.task} of {self.target!r}"]
        if self.rows_without_label:
            lines.append(f"{self.rows_without_label:,} rows without a label left out")
        if self.rows_of_unknown_labels:
            lines.append(
                f"{self.rows_of_unknown_labels:,} rows have a label that the model does not know; "
                "they count as errors"
            )
        lines += ["", *(f"{name:<22}{value:>12.5g}" for name, value in self.metrics.items())]
        return "\n".join(lines + ([""] if self.files else []) + [f"saved {f}" for f in self.files])


def evaluate(
    model: str | Path,
    data: str | Path,
    *,
    target: str,
    context_data: str | Path | None = None,
    task: str = "auto",
    out: str | Path | None = None,
    missing_values: Sequence[Any] = (),
    batch_size: int = BATCH_SIZE,
    top: int = 5,
    progress: bool = False,
    **parameters: Any,
) -> Evaluation:
    """Evaluate a model on a labelled file.

    Parameters
    ----------
    model : str or pathlib.Path
        A fitted estimator (".joblib", ".tabpfn_fit"); with `context_data`, a base model: the path
        of a checkpoint, or a name such as "mini".
    data : str or pathlib.Path
        CSV, Parquet or JSON; or "hf://datasets/OWNER/NAME/FILE". Rows without a label are left
        out and counted.
    target : str
        Name of the label column.
    context_data : str or pathlib.Path, optional
        Labelled rows that a base model predicts from.
    task : {"auto", "classification", "regression"}
        With `context_data`; "auto" takes what its labels suggest.
    out : str or pathlib.Path, optional
        Folder for "metrics.json", "rows.jsonl" (a record of every row) and figures: confusion
        matrix or scatter, reliability of probabilities or quantiles.
    missing_values : sequence of str or number
        Cells of the files that stand for missing ones, beside blank ones.
    batch_size : int
        Rows that are predicted at once: less memory with fewer, more time with many batches,
        each of which reads the model's context again.
    top : int
        Classes in the record of a row.
    progress : bool
        Whether to show a progress bar on stderr.
    **parameters
        Of the estimator that is fitted on `context_data`.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        For files that cannot be used, a target or column that is not there.
    """
    if out is not None:
        require("matplotlib", "An evaluation with figures")  # before minutes of predicting
    context = None
    if context_data is not None:
        context = read_table(_hub.local_file(context_data), missing_values=missing_values)
    fitted = load_model(model, context, target, task, **parameters)
    table = read_for(fitted, _hub.local_file(data), target=target, missing_values=missing_values)
    rows, y, unlabelled = _labelled_rows(table, target, data)
    X = features_of(fitted, rows, data)
    evaluator = _evaluator_of(fitted, y, target, top)
    parts = list(batches(len(X), batch_size))
    _warn_of_known_rows(fitted, X, data)  # before minutes of predicting
    if out is None:
        predictions = Predictions.joined([a for _, a in _predictions(fitted, X, parts, progress)])
        files: list[Path] = []
    else:
        out = Path(out)
        predictions = _write_rows(fitted, X, rows, evaluator, out / ROWS_FILE, parts, progress)
        files = [out / ROWS_FILE, *evaluator.draw(predictions, out), out / METRICS_FILE]
    evaluation = Evaluation(
        model=str(model),
        data=str(data),
        target=target,
        task=evaluator.task,
        rows=len(y),
        rows_without_label=unlabelled,
        rows_of_unknown_labels=evaluator.n_unknown,
        metrics=evaluator.metrics(predictions),
        files=[str(file) for file in files],
    )
    if out is not None:
        text = to_json(evaluation.as_dict())
        save_whole(out / METRICS_FILE, lambda part: part.write_text(text + "\n", encoding="utf-8"))
    return evaluation


def _warn_of_known_rows(model: Any, X: pd.DataFrame, data: str | Path) -> None:
    """Warn where rows are those that a model was fitted on: it has their labels."""
    fitted = getattr(model, "row_hashes_", None)
    if fitted is None:  # a model of tabpfn's own
        return
    known = n_known(row_hashes(model.columns_.read(check_shape(X))), fitted)
    if known:
        warn(
            f"{known:,} of {len(X):,} rows of {data} are rows that the model was fitted on, whose "
            "labels it has; what it comes to on them says little about new rows."
        )


class _ClassEvaluator:
    """Knows the true classes."""

    task = "classification"

    def __init__(self, model: Any, y: pd.Series, target: str, top: int) -> None:
        self.labels = list(label_texts(pd.Series(list(model.classes_))))
        self.truth = list(label_texts(y))
        self.codes: Codes = codes_of(y, model.classes_)
        self.n_unknown = int((self.codes < 0).sum())
        self.top = top

    def metrics(self, predictions: Predictions) -> dict[str, float]:
        return class_metrics(self.codes, predictions.values)

    def records(self, predictions: Predictions, rows: slice) -> Iterable[dict[str, Any]]:
        """Yield truth, ranked predictions and whether the first is right, for each row."""
        best = ranked(predictions.values, self.labels, self.top)
        hits = predictions.values.argmax(axis=1) == self.codes[rows]
        for truth, likely, hit in zip(self.truth[rows], best, hits, strict=True):
            yield {"truth": truth, "predictions": likely, "correct": bool(hit)}

    def draw(self, predictions: Predictions, out: Path) -> list[Path]:
        """Write the figures and return their paths."""
        named = predictions.values.argmax(axis=1)
        known = self.codes >= 0
        if not known.any():
            return []
        files = [out / "confusion.png", out / "reliability.png"]
        _figures.draw_confusion(
            confusion(self.codes, named, len(self.labels)), self.labels, files[0]
        )
        found = reliability(*confidences(self.codes[known], predictions.values[known]))
        two = len(self.labels) == 2
        said = (
            f"predicted probability of {self.labels[1]!r}"
            if two
            else "probability of the first choice"
        )
        _figures.draw_reliability(found, said, files[1])
        return files


class _QuantityEvaluator:
    """Knows the true quantities."""

    task = "regression"
    n_unknown = 0

    def __init__(self, model: Any, y: pd.Series, target: str, top: int) -> None:
        numbers = pd.to_numeric(y, errors="coerce")
        if numbers.isna().any():
            odd = y[numbers.isna()].iloc[0]
            raise ValueError(f"{target!r} holds {odd!r}, but the model predicts numbers.")
        self.y, self.target = numbers.to_numpy(dtype=np.float64), target

    def metrics(self, predictions: Predictions) -> dict[str, float]:
        return quantity_metrics(self.y, predictions.values, predictions.deciles)

    def records(self, predictions: Predictions, rows: slice) -> Iterable[dict[str, Any]]:
        """Yield truth, prediction and error of each row, and whether its interval holds it."""
        for place, truth in enumerate(self.y[rows]):
            predicted = float(predictions.values[place])
            record = {"truth": float(truth), "prediction": predicted, "error": predicted - truth}
            if predictions.deciles is not None:
                low, high = predictions.deciles[place, [0, -1]].tolist()
                record |= {"interval_80": [low, high], "correct": bool(low <= truth <= high)}
            yield record

    def draw(self, predictions: Predictions, out: Path) -> list[Path]:
        """Write the figures and return their paths."""
        files = [out / "scatter.png"]
        _figures.draw_scatter(self.y, predictions.values, self.target, files[0])
        if predictions.deciles is not None:
            files.append(out / "reliability.png")
            _figures.draw_coverage(self.y, predictions.deciles, files[1])
        return files


def _evaluator_of(
    model: Any, y: pd.Series, target: str, top: int
) -> _ClassEvaluator | _QuantityEvaluator:
    if top < 1:
        raise ValueError(f"top={top!r} must be 1 or more.")
    evaluator = _ClassEvaluator if hasattr(model, "predict_proba") else _QuantityEvaluator
    return evaluator(model, y, target, top)


def _labelled_rows(
    table: pd.DataFrame, target: str, data: str | Path
) -> tuple[pd.DataFrame, pd.Series, int]:
    """Return the rows that have a label, the labels, and how many rows have none."""
    X, y = split_target(table, target)
    blank = y.astype(object).map(lambda label: isinstance(label, str) and not label.strip())
    labelled = (y.notna() & ~blank.fillna(False).astype(bool)).to_numpy()
    if not labelled.any():
        raise ValueError(f"{data} has no row with a label in {target!r}.")
    X, y = X[labelled].reset_index(drop=True), y[labelled].reset_index(drop=True)
    # of the whole file, so that a column is the same kind of thing in every batch
    return tidy_columns(X, str(data)), y, int((~labelled).sum())


def _predictions(
    model: Any, X: pd.DataFrame, parts: list[slice], progress: bool
) -> Iterable[tuple[slice, Predictions]]:
    """Yield the predictions batch by batch."""
    with tqdm(total=len(X), unit=" rows", desc="evaluating", disable=not progress) as bar:
        for rows in parts:
            yield rows, Predictions.of(model, X.iloc[rows])
            bar.update(rows.stop - rows.start)


def _write_rows(
    model: Any,
    X: pd.DataFrame,
    inputs: pd.DataFrame,
    evaluator: _ClassEvaluator | _QuantityEvaluator,
    path: Path,
    slices: list[slice],
    progress: bool,
) -> Predictions:
    """Predict and write a record of every row as the batches come; return all predictions."""
    parts = []

    def write(part: Path) -> None:
        with part.open("w", encoding="utf-8") as file:
            for rows, predictions in _predictions(model, X, slices, progress):
                _write_records(file, inputs.iloc[rows], evaluator.records(predictions, rows))
                parts.append(predictions)

    save_whole(path, write)
    return Predictions.joined(parts)


def _write_records(file: TextIO, inputs: pd.DataFrame, records: Iterable[dict[str, Any]]) -> None:
    cells = json.loads(inputs.to_json(orient="records", date_format="iso"))
    for row, cell, record in zip(inputs.index, cells, records, strict=True):
        line = {"row": int(row), "input": cell, **record}
        file.write(to_json_line(line, ensure_ascii=False))
