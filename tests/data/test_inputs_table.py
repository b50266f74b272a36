"""docs/inputs.md says what a column is taken for; here every cell of its tables is tried."""

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from finetune_tabpfn import FinetunedTabPFNClassifier
from finetune_tabpfn.data._io import read_table, write_table

N = 12
PAGE = Path(__file__).parents[2] / "docs" / "inputs.md"
DAYS = pd.date_range("2024-01-20", periods=N)
SPANS = pd.to_timedelta(np.arange(N), unit="h")
FITTED = {  # what the rows of the first table stand for
    "numbers": pd.Series(np.arange(N) / 4),
    "whole numbers with gaps (`Int64`)": pd.Series([1, None] * (N // 2), dtype="Int64"),
    "booleans": pd.Series([True, False] * (N // 2)),
    "text": pd.Series(["a", "b", "7"] * (N // 3)),
    'text of digits alone ("01")': pd.Series(["01", "02"] * (N // 2)),
    "dates": pd.Series(DAYS),
    "dates written as text": pd.Series(DAYS.strftime("%d/%m/%Y")),
    "timespans": pd.Series(SPANS),
    "categories of text": pd.Series(["a", "b"] * (N // 2), dtype="category"),
    "categories of numbers": pd.Series([1, 2] * (N // 2), dtype="category"),
    "missing cells alone": pd.Series([None] * N, dtype=object),
}
LATER = {  # what the columns of the second table stand for
    "numbers": [1, 0],
    "booleans": [True, False],
    "text of digits": ["1", "0"],
    "other text": ["a", "b"],
    "dates": DAYS[:2],
    "dates written as text": ["2024-01-20", "2024-01-21"],
    "timespans": SPANS[:2],
    "missing cells alone": [None, None],
}
LABELS = ["yes", "no"] * (N // 2)


def tables():
    """Yield the tables of the page, as dicts of cells by the names of row and column."""
    for block in re.findall(r"(?:^\|.*\n)+", PAGE.read_text(encoding="utf-8"), re.MULTILINE):
        head, _, *rows = ([c.strip() for c in line[1:-1].split("|")] for line in block.splitlines())
        yield {(row[0], name): cell for row in rows for name, cell in zip(head[1:], row[1:])}  # noqa: B905


AT_FIT, LATER_ON = list(tables())[:2]


def fitted(X):
    model = FinetunedTabPFNClassifier(base_model="mini", max_steps=0, n_estimators=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(X, LABELS)


def test_the_tables_are_whole():
    formats = ("array", "DataFrame", "CSV", "JSON, JSON lines", "Parquet")
    assert set(AT_FIT) == {(name, way) for name in FITTED for way in formats}
    kinds = ("numbers", "booleans", "text", "dates", "timespans", "nothing")
    assert set(LATER_ON) == {(kind, name) for kind in kinds for name in LATER}
    assert set(AT_FIT.values()) == set(kinds)


@pytest.mark.parametrize("way", ["array", "DataFrame", "csv", "json", "jsonl", "parquet"])
def test_what_fit_takes_a_column_for(way, tmp_path):
    table = pd.DataFrame(FITTED)
    if way == "array":
        X = table.to_numpy(dtype=object)
    elif way == "DataFrame":
        X = table
    else:
        write_table(table, tmp_path / f"t.{way}")
        X = read_table(tmp_path / f"t.{way}")
    heads = {"csv": "CSV", "json": "JSON, JSON lines", "jsonl": "JSON, JSON lines"}
    head = {**heads, "parquet": "Parquet"}.get(way, way)
    kinds = [column.kind for column in fitted(X).columns_.columns]
    assert dict(zip(FITTED, kinds, strict=True)) == {name: AT_FIT[name, head] for name in FITTED}


@pytest.fixture(scope="module")
def model():
    """A model with a column of every kind."""
    names = ("numbers", "booleans", "text", "dates", "timespans")
    X = pd.DataFrame({name: FITTED[name] for name in names} | {"nothing": [np.nan] * N})
    model = fitted(X)
    assert [column.kind for column in model.columns_.columns] == list(X.columns)
    return model, X


@pytest.mark.parametrize("moment", ["X_val", "predict"])
@pytest.mark.parametrize("now", list(LATER))
def test_what_later_rows_are_read_as(model, now, moment):
    model, X = model
    rows = X.iloc[:2].copy()
    for kind in X.columns:
        changed = rows.assign(**{kind: LATER[now]})
        if LATER_ON[kind, now] != "refused":
            rows = changed
            continue
        name = {"predict": "X", "X_val": "X_val"}[moment]
        with pytest.raises(
            ValueError, match=f"{name} has .* in column '{kind}', which held {kind}"
        ):
            handed(model, X, changed, moment)
    handed(model, X, rows, moment)
    read = model.columns_.read(rows)
    for kind in X.columns:
        if LATER_ON[kind, now] != "refused":
            assert kind_of(read[kind]) == LATER_ON[kind, now], kind


def handed(model, X, rows, moment):
    """Hand rows over as a user would."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if moment == "predict":
            assert np.isfinite(model.predict_proba(rows)).all()
        else:
            FinetunedTabPFNClassifier(**model.get_params()).fit(
                X, LABELS, X_val=rows, y_val=LABELS[:2]
            )


def kind_of(cells):
    """Say what TabPFN is given."""
    if cells.isna().all():
        return "missing"
    if pd.api.types.is_numeric_dtype(cells.dtype):
        return "numbers"
    return {"M": "dates", "m": "timespans"}.get(cells.dtype.kind, "text")
