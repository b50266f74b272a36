"""Does fine-tuning pay on a table, should rows be added to it? An estimate in minutes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from finetune_tabpfn.studies._comparison import Comparison, compare
from finetune_tabpfn.studies._preview_data import PreviewData, preview_data, sampled, user_cache
from finetune_tabpfn.studies._preview_models import (
    LEAST_ROWS,
    Candidate,
    ModelPair,
    Question,
    Say,
    rows_that_fit,
)

SCHEMA_VERSION = 1
NOTICE = "PREVIEW - NON-BINDING ESTIMATE"
SAMPLE_SIZE = 10_000
TIME_LIMIT = 240.0  # seconds of a preview
# share of it that predicting the held-out rows may take, once: two models predict them, and every
# evaluation of the training validates on nearly as many rows
PREDICTING = 0.1
QUESTIONS = {
    "fine_tuning": "Does fine-tuning pay?",
    "add_rows": "Should these rows be added?",
}
TEST_MODE = {"max_steps": 2, "n_estimators": 1}
TEST_ROWS = 200
PACKAGES = ("finetune-tabpfn", "tabpfn", "torch", "scikit-learn")


def preview(
    data_path: str | Path,
    *,
    target: str,
    base_data: str | Path | None = None,
    baseline_model: str | Path | None = None,
    task: str = "auto",
    missing_values: Sequence[Any] = (),
    sample_size: int = SAMPLE_SIZE,
    full: bool = False,
    test_mode: bool = False,
    cache_dir: str | Path | None = "user",
    say: Say = lambda line: None,
    **parameters: Any,
) -> dict[str, Any]:
    """Estimate what fine-tuning, or adding rows, would change on held-out rows.

    Without `base_data` the question is whether fine-tuning pays on a table: the base model as it
    is, against the fine-tuned one, both with the same rows to predict from. With it, whether rows
    should be added to a table: fine-tuned on the table, against fine-tuned on the table and the
    rows, both scored on held-out rows of the table.

    Parameters
    ----------
    data_path : str or pathlib.Path
        The table, or the rows in question: CSV, Parquet, JSON, "hf://datasets/OWNER/NAME/FILE".
    target : str
        Name of the column to predict.
    base_data : str or pathlib.Path, optional
        The table to add the rows to.
    baseline_model : str or pathlib.Path, optional
        What to compare with instead: a fitted estimator (".joblib", ".tabpfn_fit"), or a
        checkpoint or name of a base model, which predicts from the table's training rows.
    task : {"auto", "classification", "regression"}
    missing_values : sequence of str or number
        Cells that stand for missing ones, beside blank ones.
    sample_size : int
        Rows to fit on and to score at most, stratified. Where a trial with few rows says that
        predicting would take too much of the time limit, there are fewer, and a note says so.
    full : bool
        Answer with all rows and, unless given, without a time limit. The result has the same
        form, with ``preview_mode`` false; its held-out rows include those of the preview.
    test_mode : bool
        Try the way from file to answer: at most 200 rows, two steps, the mini model. The figures
        mean nothing.
    cache_dir : str, pathlib.Path or None
        Folder that keeps the prepared rows for the next call; "user" is one in the user's cache
        folder, None does without.
    say : callable
        Is told in a line what goes on.
    **parameters
        Of the estimators. `time_limit` is of the whole preview, 240 seconds if not given.

    Returns
    -------
    dict
        As docs/preview.schema.json describes it.

    Raises
    ------
    ValueError
        For files, columns and parameters that cannot be used.

    Notes
    -----
    The time limit cuts the training; the predictions for the held-out rows, which cannot be cut,
    are estimated. A machine that gets busier meanwhile makes a preview late by what they take
    longer.
    """
    began = time.monotonic()
    parameters = _settings(parameters, full, test_mode)
    data = preview_data(
        data_path,
        base_data,
        target,
        task=task,
        missing_values=missing_values,
        sample_size=_rows_to_read(sample_size, full, test_mode),
        random_state=parameters["random_state"],
        cache_dir=_cache_folder(cache_dir),
    )
    if not full:
        data = _as_time_allows(data, target, parameters)
    say(
        f"{data.task} of {target!r}: {data.rows_used:,} of {data.rows_available:,} rows, "
        f"{len(data.held_out):,} of them held out"
    )
    question: Question = "fine_tuning" if base_data is None else "add_rows"
    pair = ModelPair(data, target, question, parameters, began, say)
    baseline = pair.baseline(baseline_model)
    candidate = pair.candidate(baseline)
    truth, before, after = pair.aligned(baseline, candidate)
    comparison = compare(truth, before, after, random_state=parameters["random_state"])
    if candidate.had_no_time:
        comparison = replace(comparison, confidence=0.0)
    return {
        "schema_version": SCHEMA_VERSION,
        "preview_mode": not full,
        "notice": "FULL RUN" if full else NOTICE,
        "test_mode": test_mode,
        "question": question,
        "task": data.task,
        "target": target,
        "data": _sizes(data, data_path, base_data),
        "sample_size_used": data.rows_used,
        "baseline": baseline.described(),
        "candidate": candidate.described(),
        **_figures(comparison),
        "verdict": _verdict(question, comparison, candidate),
        "notes": data.notes + pair.notes,
        "parameters": _as_json(parameters),
        "versions": {name: version(name) for name in PACKAGES},
        "time_elapsed": round(time.monotonic() - began, 3),
    }


def _as_json(parameters: dict[str, Any]) -> dict[str, Any]:
    return {k: v if _is_plain(v) else repr(v) for k, v in parameters.items()}


def _rows_to_read(sample_size: int, full: bool, test_mode: bool) -> int | None:
    """Return the rows to read at most, None for all."""
    if sample_size < 20:
        raise ValueError(f"sample_size={sample_size!r} must be 20 or more.")
    if full:
        return None
    return min(sample_size, TEST_ROWS) if test_mode else sample_size


def _as_time_allows(data: PreviewData, target: str, parameters: dict[str, Any]) -> PreviewData:
    """Return as many rows as can be predicted in their share of the time limit."""
    limit = parameters["time_limit"]
    if limit is None:
        return data
    rows = rows_that_fit(data, target, parameters, PREDICTING * limit)
    return sampled(data, target, max(rows, LEAST_ROWS), parameters["random_state"])


def _cache_folder(cache_dir: str | Path | None) -> Path | None:
    if cache_dir == "user":
        return user_cache()
    return None if cache_dir is None else Path(cache_dir)


def _sizes(
    data: PreviewData, data_path: str | Path, base_data: str | Path | None
) -> dict[str, Any]:
    """Return the files and how many of their rows are used for what."""
    return {
        "data_path": str(data_path),
        "base_data": None if base_data is None else str(base_data),
        "rows_available": data.rows_available,
        "train_rows": len(data.train),
        "new_rows": None if data.new is None else len(data.new),
        "held_out_rows": len(data.held_out),
    }


def _settings(parameters: dict[str, Any], full: bool, test_mode: bool) -> dict[str, Any]:
    """Return the parameters of the estimators."""
    settings: dict[str, Any] = {"base_model": "auto", "random_state": 0, "time_limit": None}
    settings |= {k: v for k, v in parameters.items() if v is not None or k not in settings}
    if not isinstance(settings["random_state"], (int, np.integer)):
        raise ValueError(f"random_state={settings['random_state']!r} must be an integer.")
    if settings["time_limit"] is None and not full:
        settings["time_limit"] = TIME_LIMIT
    if test_mode:
        settings |= TEST_MODE
        if settings["base_model"] == "auto":
            settings["base_model"] = "mini"
    return settings


def _figures(comparison: Comparison) -> dict[str, Any]:
    """Return the deltas as JSON-like data; what cannot be had is None."""

    def plain(value: Any) -> Any:
        if isinstance(value, tuple):
            return [plain(item) for item in value]
        return float(value) if np.isfinite(value) else None

    return {
        "metrics": {
            name: {key: plain(value) for key, value in asdict(delta).items()}
            for name, delta in comparison.metrics.items()
        },
        "combined_delta": plain(comparison.combined),
        "combined_interval": plain(comparison.interval),
        "estimation_confidence": plain(comparison.confidence),
    }


def _verdict(question: Question, comparison: Comparison, candidate: Candidate) -> str:
    """Say in one line what the comparison comes to."""
    doing, pays, harms = {
        "fine_tuning": ("Fine-tuning", "pays", "does not pay"),
        "add_rows": ("Adding the rows", "pays", "does harm"),
    }[question]
    low, high = comparison.interval
    change = abs(comparison.combined)
    between = f"95 % interval {low:+.1%} to {high:+.1%}"
    if question == "fine_tuning" and candidate.had_no_time:
        return "No answer: the time limit left no room to fine-tune; a longer one will do."
    if low == high == 0 and candidate.model.deployed_weights_ == "base":
        return f"{doing} does not pay: nothing was better on its hold-out than the base model."
    if low > 0:
        return f"{doing} {pays}: it takes away {change:.1%} of the error ({between})."
    if high < 0:
        return f"{doing} {harms}: the error grows ({comparison.combined:+.1%}, {between})."
    return (
        f"{doing} makes no clear difference: {comparison.combined:+.1%} of the error taken away, "
        f"{between}."
    )


def _is_plain(value: Any) -> bool:
    return isinstance(value, (int, float, str, bool, type(None)))


def as_text(result: dict[str, Any]) -> str:
    """Return the result of a preview for reading."""
    data, width = result["data"], 30
    lines = [
        result["notice"],
        f"{QUESTIONS[result['question']]} {result['task']} of {result['target']!r}, "
        f"{result['sample_size_used']:,} of {data['rows_available']:,} rows, "
        f"{data['held_out_rows']:,} held out",
        f"baseline:  {result['baseline']['name']}",
        f"candidate: {result['candidate']['name']}",
        "",
        f"{'metric':<{width}}{'baseline':>12}{'candidate':>12}{'delta':>12}   95 % interval",
    ]
    for name, row in result["metrics"].items():
        numbers = "".join(_number(row[key], 12) for key in ("baseline", "candidate", "delta"))
        low, high = (_number(bound, 10) for bound in row["interval"])
        lines.append(f"{name:<{width}}{numbers}  {low} {high}")
    low, high = (_number(bound, 10) for bound in result["combined_interval"])
    combined = _number(result["combined_delta"], 36)
    lines.append(f"{'combined (share of the error)':<{width}}{combined}  {low} {high}")
    lines += [
        "",
        result["verdict"],
        f"confidence {result['estimation_confidence']:.2f}, {result['time_elapsed']:.0f} s",
        *result["notes"],
    ]
    return "\n".join(lines)


def _number(value: float | None, width: int) -> str:
    return f"{'-' if value is None else f'{value:.4g}':>{width}}"
