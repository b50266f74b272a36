"""From a raw file to a clean table, training rows and test rows, and a report of what was done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import joblib
import numpy as np
import pandas as pd

from finetune_tabpfn.data._io import READERS, infer_task, read_table, write_table
from finetune_tabpfn.data._sampling import Indices, hold_out, target_bins
from finetune_tabpfn.studies import _hub
from finetune_tabpfn.studies._cleaning import CleaningRules, Step, clean, label_texts
from finetune_tabpfn.studies._tfidf import text_columns, text_components
from finetune_tabpfn.utils._files import save_whole
from finetune_tabpfn.utils._optional import require
from finetune_tabpfn.utils._text import to_json

REPORT_FILE = "report.json"
TEXT_FILE = "text.joblib"


@dataclass(frozen=True)
class Report:
    """What `prepare` did.

    Attributes
    ----------
    source, target, task : str
    rows_before, columns_before, rows, columns : int
        Of the raw and of the clean table, target included.
    steps : list of Step
        What each rule changed, in order.
    labels : dict of str to int
        Rows of each class; empty for a quantity.
    conflicts : int
        Rows that agree with another in everything but the label. They stay.
    train_rows, test_rows : int
    text_columns : list of str
        Columns that were turned into TF-IDF components in the training and test rows.
    files : list of str
        What was written.
    hub : str or None
        Where the files were pushed.
    """

    source: str
    target: str
    task: str
    rows_before: int
    columns_before: int
    rows: int
    columns: int
    steps: list[Step]
    labels: dict[str, int]
    conflicts: int
    train_rows: int
    test_rows: int
    text_columns: list[str]
    files: list[str]
    hub: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-like data."""
        return asdict(self)

    def as_text(self) -> str:
        """Return it for reading."""
        lines = [
            f"{self.source}: {self.rows_before:,} rows, {self.columns_before} columns -> "
            f"{self.rows:,} rows, {self.columns} columns; {self.task} of {self.target!r}",
            "",
            f"{'rule':<36}{'rows':>8}{'columns':>9}{'cells':>8}",
        ]
        for step in self.steps:
            counts = f"{step.rows:>8,}{len(step.columns):>9}{step.cells:>8,}"
            named = step.detail or ", ".join(step.columns)
            lines.append(f"{step.rule:<36}{counts}{'  ' if named else ''}{_shortened(named)}")
        if self.conflicts:
            lines += ["", f"{self.conflicts:,} rows differ from another in the label alone; kept."]
        if self.labels:
            total = sum(self.labels.values())
            lines += ["", f"{'label':<36}{'rows':>8}"]
            lines += [
                f"{_shortened(label, 35):<36}{count:>8,}{count / total:>9.1%}"
                for label, count in self.labels.items()
            ]
        if self.text_columns:
            lines += ["", f"TF-IDF components of {', '.join(self.text_columns)}"]
        lines += ["", f"{self.train_rows:,} training rows, {self.test_rows:,} test rows"]
        lines += [f"saved {file}" for file in self.files]
        return "\n".join(lines + ([f"pushed to {self.hub}"] if self.hub else []))


def prepare(
    source: str | Path,
    out: str | Path,
    *,
    target: str,
    task: str = "auto",
    rules: CleaningRules | None = None,
    missing_values: Sequence[Any] = (),
    test_size: float = 0.2,
    tfidf: Sequence[str] | Literal["auto"] = (),
    n_components: int = 16,
    file_format: str | None = None,
    hub_repo: str | None = None,
    private: bool = False,
    random_state: int = 0,
) -> Report:
    """Clean a raw table, divide it into training and test rows, and write all three.

    Parameters
    ----------
    source : str or pathlib.Path
        CSV, Parquet or JSON; or "hf://datasets/OWNER/NAME/FILE".
    out : str or pathlib.Path
        Folder for "clean", "train" and "test" tables, "report.json" and, with `tfidf`,
        "text.joblib": skrub's fitted transformer, for new rows.
    target : str
        Name of the column to predict.
    task : {"auto", "classification", "regression"}
        "auto" takes what the target suggests.
    rules : CleaningRules, optional
        Their seed and task are those given here.
    missing_values : sequence of str or number
        Cells that stand for missing ones, beside blank ones.
    test_size : float
        Share of the rows to test on, stratified by class or by the target's deciles. Every class
        of two and more rows has rows on both sides, a single row trains.
    tfidf : sequence of str or "auto"
        Columns of text to turn into TF-IDF components, which are learned from the training rows
        alone; "auto" takes the columns of free text. The others are left to tabpfn, which makes
        categories or numbers of text itself.
    n_components : int
        For each of these columns.
    file_format : {"csv", "parquet", "json", "jsonl"}, optional
        That of the source if not given.
    hub_repo : str, optional
        Dataset repository "OWNER/NAME" of the Hugging Face Hub to push the files to.
    private : bool
        Whether a repository that is made is private.
    random_state : int
        Seeds the split and the draws.

    Returns
    -------
    Report

    Raises
    ------
    ValueError
        For a source, target, label or column that is not there, and for values out of range.
    """
    if not 0 < test_size < 1:
        raise ValueError(f"test_size={test_size!r} must be between 0 and 1.")
    if hub_repo:
        require("huggingface_hub", f"hub_repo={hub_repo!r}")
    out, path = Path(out), _hub.local_file(source)
    raw = read_table(path, missing_values=missing_values)
    rules = replace(rules or CleaningRules(), random_state=random_state, task=task)
    table, steps = clean(raw, target, rules)
    task = infer_task(table[target]) if task == "auto" else task
    train, test = split_rows(table, target, test_size, random_state, task)
    columns = text_columns(table.drop(columns=target)) if tfidf == "auto" else list(tfidf)
    components = None
    if columns:
        features = train.drop(columns=target)
        components = text_components(features, columns, n_components, random_state)
        train, test = (
            components.transform(part.drop(columns=target)).assign(**{target: part[target]})
            for part in (train, test)
        )
    ending = file_format or _ending(path)
    tables = {f"clean.{ending}": table, f"train.{ending}": train, f"test.{ending}": test}
    names = [*tables, *([TEXT_FILE] if components else []), REPORT_FILE]
    report = Report(
        source=str(source),
        target=target,
        task=task,
        rows_before=len(raw),
        columns_before=raw.shape[1],
        rows=len(table),
        columns=table.shape[1],
        steps=steps,
        labels=_label_counts(table[target]) if task == "classification" else {},
        conflicts=_conflicts(table, target) if task == "classification" else 0,
        train_rows=len(train),
        test_rows=len(test),
        text_columns=columns,
        files=[str(out / name) for name in names],
    )
    _write(out, tables, components, report)
    if hub_repo:
        report = replace(report, hub=_hub.push(out, names, hub_repo, private=private))
    return report


def split_rows(
    table: pd.DataFrame, target: str, share: float, random_state: int, task: str = "auto"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Divide a table into training rows and held-out rows, stratified by the target."""
    rng = np.random.default_rng(random_state)
    train, held_out = hold_out(strata_of(table[target], task), share, rng)
    return table.iloc[train].reset_index(drop=True), table.iloc[held_out].reset_index(drop=True)


def strata_of(y: pd.Series, task: str = "auto") -> Indices:
    """Return the stratum of each row: its class, or the decile of a quantity."""
    if (infer_task(y) if task == "auto" else task) == "regression":
        return target_bins(pd.to_numeric(y).to_numpy(dtype=np.float64))
    return pd.factorize(y, sort=False)[0].astype(np.int64)


def _write(out: Path, tables: dict[str, pd.DataFrame], components: Any, report: Report) -> None:
    for name, table in tables.items():
        write_table(table, out / name)
    if components:
        save_whole(out / TEXT_FILE, lambda part: joblib.dump(components, part))
    text = to_json(report.as_dict())
    save_whole(out / REPORT_FILE, lambda part: part.write_text(text + "\n", encoding="utf-8"))


def _ending(path: Path) -> str:
    return next(
        suffix[1:].lower() for suffix in reversed(path.suffixes) if suffix[1:].lower() in READERS
    )


def _label_counts(y: pd.Series) -> dict[str, int]:
    return {str(label): int(count) for label, count in label_texts(y).value_counts().items()}


def _conflicts(table: pd.DataFrame, target: str) -> int:
    """Return how many rows have a twin of another label."""
    features = table.drop(columns=target)
    alike = features.duplicated(keep=False) & ~table.duplicated(keep=False)
    return int(alike.sum())


def _shortened(text: str, width: int = 80) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."
