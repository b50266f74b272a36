"""Experiments beside each other: one table, and which is the best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from finetune_tabpfn.studies._metrics import PRIMARY, sign_of
from finetune_tabpfn.studies._study_records import Experiment, labels_of
from finetune_tabpfn.utils._text import to_json, unknown_name

PARTS = ("train", "validation", "test")


def metric_name(metric: str | None, task: str) -> str:
    """Return a metric's name with its part; that of the task where none is given."""
    if metric is None:
        return f"validation_{PRIMARY[task]}"
    part, _, name = metric.partition("_")
    part = "validation" if part == "val" else part
    if part not in PARTS:
        raise ValueError(
            f"metric={metric!r} must begin with the rows that it is of: train_, validation_ or "
            f"test_, such as 'validation_{PRIMARY[task]}'."
        )
    sign_of(name)
    return f"{part}_{name}"


def signed(experiment: Experiment, metric: str) -> float | None:
    """Return a metric so that greater is better; None where the experiment lacks it."""
    value = experiment.metric(metric)
    return None if value is None else sign_of(metric.partition("_")[2]) * value


def best_of(experiments: Sequence[Experiment], metric: str) -> Experiment:
    """Return the best of some experiments, the earlier of two that are alike."""
    scored = [(value, one) for one in experiments if (value := signed(one, metric)) is not None]
    if not scored:
        failed = [one for one in experiments if one.status == "failed"]
        why = f" ({failed[0].id} failed: {failed[0].error})" if failed else ""
        raise ValueError(
            f"metric={metric!r} is had by none of {len(experiments)} experiments{why}."
        )
    return max(scored, key=lambda pair: pair[0])[1]


def of_table(experiments: list[Experiment], table: str | None) -> list[Experiment]:
    """Return the experiments of one table, which must be named where there are several."""
    labels = labels_of(experiments)
    names = list(labels.values())
    if table is None and len(names) > 1:
        raise ValueError(
            f"The study has several tables; say which: table={names[0]!r}, for example."
        )
    if table is not None and table not in names:
        raise ValueError(unknown_name("table is", table, names or ["none: the study is empty"]))
    return [one for one in experiments if table in (None, labels[one.table["fingerprint"]])]


def comparison(experiments: list[Experiment]) -> pd.DataFrame:
    """Return a row per experiment, as `Study.compare` describes it."""
    labels = labels_of(experiments)
    rows = []
    for one in experiments:
        row: dict[str, Any] = {n: getattr(one, n) for n in ("id", "name", "status", "time")}
        row |= {"seconds": one.seconds, "table": labels[one.table["fingerprint"]], "task": one.task}
        row |= {f"hp_{name}": _cell(value) for name, value in one.parameters.items()}
        for part in PARTS:
            row |= {f"{part}_{name}": value for name, value in getattr(one, part).items()}
        row |= {f"validation_{n}_spread": value for n, value in one.validation_spread.items()}
        rows.append({**row, "notes": one.notes, "error": one.error})
    found = pd.DataFrame(rows)
    groups = ("hp_", "train_", "validation_", "test_", "notes", "error")
    names = [str(name) for name in found]
    first = [name for name in names if not name.startswith(groups)]
    ordered = [name for group in groups for name in names if name.startswith(group)]
    return found[first + ordered]


def _cell(value: Any) -> Any:
    """Return a value that a cell can hold and a CSV can show."""
    return to_json(value, indent=None) if isinstance(value, (dict, list)) else value
