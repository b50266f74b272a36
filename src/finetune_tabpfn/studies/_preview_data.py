"""The rows of a preview: cleaned, divided, sampled, and kept for the next call."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from finetune_tabpfn.data._io import infer_task, read_table
from finetune_tabpfn.data._kinds import Columns, names_of_text
from finetune_tabpfn.data._sampling import Indices
from finetune_tabpfn.studies import _hub
from finetune_tabpfn.studies._cleaning import CleaningRules, clean, label_texts
from finetune_tabpfn.studies._prepare import split_rows, strata_of
from finetune_tabpfn.utils._files import save_whole
from finetune_tabpfn.utils._optional import require
from finetune_tabpfn.utils._text import to_json

HELD_OUT = 0.2  # share of the rows
ENTRIES = 20  # of the cache; the oldest go
CACHE = "The cache of previews (cache_dir=None does without)"
PARTS = ("train", "new", "held_out")


@dataclass(frozen=True)
class PreviewData:
    """The rows that a preview fits on and scores.

    Attributes
    ----------
    train, held_out : DataFrame
        Of the table, target included.
    new : DataFrame or None
        The rows in question, where a base table was given.
    task : str
    rows_available : int
        In the files, after cleaning.
    notes : list of str
        What was left out, in sentences.
    """

    train: pd.DataFrame
    held_out: pd.DataFrame
    new: pd.DataFrame | None
    task: str
    rows_available: int
    notes: list[str] = field(default_factory=list)

    @property
    def rows_used(self) -> int:
        """How many rows are fitted on or scored."""
        return len(self.train) + len(self.held_out) + (0 if self.new is None else len(self.new))


def user_cache() -> Path:
    """Return the folder that keeps prepared rows between calls."""
    platformdirs = require("platformdirs", CACHE)
    return Path(platformdirs.user_cache_path("finetune-tabpfn")) / "preview"


def preview_data(
    data_path: str | Path,
    base_data: str | Path | None,
    target: str,
    *,
    task: str,
    sample_size: int | None,
    random_state: int,
    missing_values: Sequence[Any] = (),
    cache_dir: Path | None,
) -> PreviewData:
    """Return the rows of a preview, from the cache if they were prepared before.

    Parameters
    ----------
    data_path, base_data : str or pathlib.Path
        The held-out rows are of `base_data` where that is given, else of `data_path`.
    target : str
    task : {"auto", "classification", "regression"}
    sample_size : int or None
        Rows at most, stratified; None takes all.
    random_state : int
    missing_values : sequence of str or number
    cache_dir : pathlib.Path or None
        None does without.
    """
    data_path = _hub.local_file(data_path)
    base_data = None if base_data is None else _hub.local_file(base_data)

    def prepared() -> PreviewData:
        return _prepare(
            data_path, base_data, target, task, sample_size, random_state, missing_values
        )

    if cache_dir is None:
        return prepared()
    require("pyarrow", CACHE)
    words = [str(value) for value in missing_values]
    settings = [target, task, sample_size, random_state, words, version("finetune-tabpfn")]
    entry = cache_dir / f"{_key([data_path, base_data], settings)}.parquet"
    found = _read_entry(entry)
    if found is None:
        found = prepared()
        _write_entry(entry, found)
        # what is read has the same types of columns in this call as in the next
        found = _read_entry(entry) or found
    return found


def sample(strata: Indices, size: int, rng: np.random.Generator) -> Indices:
    """Return about `size` row numbers in ascending order, every stratum in proportion.

    A stratum keeps one row at least, so that many small ones can make it more.
    """
    share = size / len(strata)
    if share >= 1:
        return np.arange(len(strata))
    kept = []
    for stratum, count in zip(*np.unique(strata, return_counts=True), strict=True):
        wanted = max(1, int(np.floor(share * count + rng.random())))  # unbiased rounding
        kept.append(rng.permutation(np.flatnonzero(strata == stratum))[:wanted])
    return np.sort(np.concatenate(kept))


def _prepare(
    data_path: Path,
    base_data: Path | None,
    target: str,
    task: str,
    sample_size: int | None,
    random_state: int,
    missing_values: Sequence[Any],
) -> PreviewData:
    """Read, clean, divide and sample."""
    source = base_data or data_path
    table, steps = clean(read_table(source, missing_values=missing_values), target)
    notes = _dropped(source, sum(step.rows for step in steps if "dropped" in step.rule))
    task = infer_task(table[target]) if task == "auto" else task
    train, held_out = split_rows(table, target, HELD_OUT, random_state, task)
    new = None
    if base_data is not None:
        new, said = _new_rows(data_path, table, target, missing_values)
        notes += said
    available = len(table) + (0 if new is None else len(new))
    data = PreviewData(train, held_out, new, task, available, notes)
    return data if sample_size is None else sampled(data, target, sample_size, random_state)


def _new_rows(
    path: Path, table: pd.DataFrame, target: str, missing_values: Sequence[Any]
) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows in question with the table's columns, without those that it has already.

    A row that is held out must not be learned from, or the rows would seem better than they are.
    """
    raw = read_table(path, text=names_of_text(table), missing_values=missing_values)
    missing = [name for name in table.columns if name not in raw.columns]
    if missing:
        raise ValueError(f"{path} lacks the column {missing[0]!r} of the base table.")
    new, steps = clean(raw[list(table.columns)], target, CleaningRules(keep_columns=True))
    notes = _dropped(path, sum(step.rows for step in steps if "dropped" in step.rule))
    labels = new[target]
    if labels.dtype.kind != table[target].dtype.kind:
        labels = label_texts(labels)
    features = table.drop(columns=target)
    # text stays text: of both tables together, the fit will learn which of it is dates
    columns = Columns.of(features, categorical=range(features.shape[1]))
    matched = columns.read(new[list(features.columns)], str(path))
    new = pd.DataFrame(matched).assign(**{target: labels})[list(table.columns)]
    joined = pd.concat([table, new], ignore_index=True)
    known = joined.duplicated().to_numpy()[len(table) :]
    new = joined.iloc[len(table) :][~known].reset_index(drop=True)
    if new.empty:
        raise ValueError(f"{path} holds no row that the base table does not have already.")
    if known.any():
        notes.append(f"{int(known.sum()):,} new rows are in the base table already; left out.")
    return new, notes


def sampled(data: PreviewData, target: str, size: int, random_state: int) -> PreviewData:
    """Return at most `size` rows, every part and every class in proportion; a note says so."""
    if data.rows_used <= size:
        return data
    rng = np.random.default_rng(random_state)

    def part(rows: pd.DataFrame | None) -> pd.DataFrame | None:
        if rows is None:
            return None
        wanted = max(1, int(len(rows) * size / data.rows_used))
        kept = sample(strata_of(rows[target], data.task), wanted, rng)
        return rows.iloc[kept].reset_index(drop=True)

    train, held_out, new = part(data.train), part(data.held_out), part(data.new)
    assert train is not None
    assert held_out is not None
    used = len(train) + len(held_out) + (0 if new is None else len(new))
    note = f"A stratified sample of {used:,} of {data.rows_used:,} rows."
    return PreviewData(train, held_out, new, data.task, data.rows_available, [*data.notes, note])


def _dropped(path: Path, rows: int) -> list[str]:
    return (
        [f"{rows:,} empty, unlabelled or duplicate rows of {path.name} left out."] if rows else []
    )


def _key(files: list[Path | None], settings: list[Any]) -> str:
    """Return the name of a cache entry: what the files hold and how they are prepared."""
    digest = hashlib.sha256(to_json(settings).encode())
    for path in files:
        if path is not None and not path.is_file():
            raise ValueError(f"{path} is not a file.")
        digest.update(b"" if path is None else path.name.encode() + b"\0")
        if path is not None:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:32]


def _read_entry(entry: Path) -> PreviewData | None:
    """Return what the cache has; None where it has nothing that can be read."""
    facts = entry.with_suffix(".json")
    try:
        said = json.loads(facts.read_text(encoding="utf-8"))
        rows = pd.read_parquet(entry)
        facts.touch()  # the oldest entries go
        parts = {name: rows.loc[name].reset_index(drop=True) for name in said.pop("parts")}
        return PreviewData(**{"new": None, **parts}, **said)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_entry(entry: Path, data: PreviewData) -> None:
    """Keep rows for the next call, where the cache can be written and the columns be kept."""
    parts = {name: rows for name in PARTS if (rows := getattr(data, name)) is not None}
    said = {
        "parts": list(parts),
        "task": data.task,
        "rows_available": data.rows_available,
        "notes": data.notes,
    }
    try:
        save_whole(entry, lambda part: pd.concat(parts).to_parquet(part))
        text = to_json(said)
        save_whole(entry.with_suffix(".json"), lambda part: part.write_text(text, encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return  # the next call prepares them again
    _prune(entry.parent)


def _prune(folder: Path) -> None:
    """Remove the entries that were used least lately."""
    entries = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in entries[ENTRIES:]:
        old.unlink(missing_ok=True)
        old.with_suffix(".parquet").unlink(missing_ok=True)
