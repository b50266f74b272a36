"""Rules that make a clean table of a raw one. Each says how much it took."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from finetune_tabpfn.data._columns import tidy_columns
from finetune_tabpfn.data._io import infer_task, split_target
from finetune_tabpfn.utils._text import unknown_name

OFF = "switched off"


@dataclass(frozen=True)
class CleaningRules:
    """What to do to the labels and the rows of a table beyond dropping what is empty.

    Parameters
    ----------
    merge_labels : mapping of str to str
        New label by old label, both as text. Old labels are looked up after trimming.
    drop_labels : sequence of str
        Rows of these labels are dropped; looked up after merging.
    keep_columns : bool
        Whether empty columns and columns that repeat another stay.
    keep_duplicates : bool
        Whether rows that agree in all columns stay.
    max_per_class : int, optional
        Rows that a class keeps at most, drawn at random.
    max_ratio : float, optional
        A class keeps at most this many times the rows of the smallest class.
    random_state : int
        Seeds the draws.
    task : {"auto", "classification", "regression"}
        What the target is; "auto" takes what it suggests.
    """

    merge_labels: Mapping[str, str] = field(default_factory=dict)
    drop_labels: Sequence[str] = ()
    keep_columns: bool = False
    keep_duplicates: bool = False
    max_per_class: int | None = None
    max_ratio: float | None = None
    random_state: int = 0
    task: str = "auto"

    def __post_init__(self) -> None:
        """Refuse limits that leave nothing."""
        if self.max_per_class is not None and self.max_per_class < 1:
            raise ValueError(f"max_per_class={self.max_per_class!r} must be 1 or more.")
        if self.max_ratio is not None and not self.max_ratio >= 1:
            raise ValueError(f"max_ratio={self.max_ratio!r} must be 1 or more.")

    @property
    def of_labels(self) -> list[str]:
        """Names of the rules that are set and need classes."""
        names = ("merge_labels", "drop_labels", "max_per_class", "max_ratio")
        return [name for name in names if getattr(self, name)]


@dataclass(frozen=True)
class Step:
    """What one rule changed.

    Attributes
    ----------
    rule : str
    rows, cells : int
        How many were dropped or changed.
    columns : tuple of str
        Which were dropped.
    detail : str
    """

    rule: str
    rows: int = 0
    columns: tuple[str, ...] = ()
    cells: int = 0
    detail: str = ""


Rule = Callable[[pd.DataFrame, str, CleaningRules], tuple[pd.DataFrame, Step]]


def clean(
    table: pd.DataFrame, target: str, rules: CleaningRules | None = None
) -> tuple[pd.DataFrame, list[Step]]:
    """Return a clean copy of a table and what each rule changed.

    Blank and infinite cells become missing; empty columns, columns that repeat an earlier one (or
    the target), empty rows, rows without a label and duplicate rows are dropped; labels are
    trimmed, merged and filtered; large classes are reduced. In this order.

    Parameters
    ----------
    table : DataFrame
    target : str
        Name of the column to predict.
    rules : CleaningRules, optional

    Returns
    -------
    DataFrame
        The clean copy, its rows numbered anew.
    list of Step
        What each rule took, in the order of the rules.

    Raises
    ------
    ValueError
        For a target that is not there, rules that name labels which are not there, rules for
        classes where the target is a quantity, and a table of which nothing is left.
    """
    rules = rules or CleaningRules()
    split_target(table, target)
    steps = []
    for rule in RULES:
        table, step = rule(table, target, rules)
        steps.append(step)
        if table.empty or table.shape[1] < 2:
            raise ValueError(
                f"Nothing is left of the table after the rule {step.rule!r} took {step.rows} rows "
                f"and {len(step.columns)} columns."
            )
    return table.reset_index(drop=True), steps


def label_texts(y: pd.Series) -> pd.Series:
    """Return labels as the text that a user would write for them; missing ones stay missing."""

    def text(value: Any) -> str:
        whole = isinstance(value, (float, np.floating)) and float(value).is_integer()
        return str(int(value)) if whole else str(value)

    return y.astype(object).map(text, na_action="ignore")


def _blank_cells(
    table: pd.DataFrame, target: str, rules: CleaningRules
) -> tuple[pd.DataFrame, Step]:
    """Make cells of nothing but spaces, and infinite numbers, missing."""
    changed, cells = {}, 0
    for name, column in table.items():
        if pd.api.types.is_float_dtype(column.dtype):
            odd = np.isinf(column.to_numpy(dtype=float, na_value=np.nan))
        elif pd.api.types.is_object_dtype(column.dtype) or isinstance(column.dtype, pd.StringDtype):
            odd = column.map(lambda cell: isinstance(cell, str) and not cell.strip()).to_numpy(bool)
        else:
            continue
        if odd.any():
            changed[name] = column.mask(odd)
            cells += int(odd.sum())
    table = table.assign(**{str(name): column for name, column in changed.items()})
    return table, Step("blank or infinite cells made missing", cells=cells)


def _empty_columns(
    table: pd.DataFrame, target: str, rules: CleaningRules
) -> tuple[pd.DataFrame, Step]:
    if rules.keep_columns:
        return table, Step("empty columns dropped", detail=OFF)
    empty = [name for name in table if name != target and table[name].isna().all()]
    return table.drop(columns=empty), Step("empty columns dropped", columns=tuple(map(str, empty)))


def _duplicate_columns(
    table: pd.DataFrame, target: str, rules: CleaningRules
) -> tuple[pd.DataFrame, Step]:
    """Drop columns that repeat the target or an earlier column."""
    features = tidy_columns(table.drop(columns=target), "the table")
    table = features.assign(**{target: table[target]})[list(table.columns)]
    if rules.keep_columns:
        return table, Step("duplicate columns dropped", detail=OFF)
    copies: dict[str, str] = {}
    seen: dict[Any, list[str]] = {}
    for name in [target, *features.columns]:
        key = pd.util.hash_pandas_object(table[name], index=False).to_numpy().tobytes()
        earlier = [other for other in seen.get(key, []) if table[other].equals(table[name])]
        if earlier:
            copies[name] = earlier[0]
        seen.setdefault(key, []).append(name)
    detail = ", ".join(f"{name} repeats {other}" for name, other in copies.items())
    return table.drop(columns=list(copies)), Step(
        "duplicate columns dropped", columns=tuple(copies), detail=detail
    )


def _empty_rows(
    table: pd.DataFrame, target: str, rules: CleaningRules
) -> tuple[pd.DataFrame, Step]:
    return _drop(table, table.drop(columns=target).isna().all(axis=1), "empty rows dropped")


def _trimmed_labels(
    table: pd.DataFrame, target: str, rules: CleaningRules
) -> tuple[pd.DataFrame, Step]:
    """Trim spaces around and inside of labels that are text."""
    labels = table[target]

    def trim(label: Any) -> Any:
        return (" ".join(label.split()) or None) if isinstance(label, str) else label

    if pd.api.types.is_numeric_dtype(labels) or labels.dtype.kind == "M":
        return table, Step("labels trimmed")
    trimmed = labels.astype(object).map(trim, na_action="ignore")
    rows = int((trimmed.fillna("") != labels.astype(object).fillna("")).sum())
    if not rows:
        return table, Step("labels trimmed")
    return table.assign(**{target: trimmed.infer_objects()}), Step("labels trimmed", rows=rows)


def _unlabelled(
    table: pd.DataFrame, target: str, rules: CleaningRules
) -> tuple[pd.DataFrame, Step]:
    return _drop(table, table[target].isna(), "rows without a label dropped")


def _merged_labels(
    table: pd.DataFrame, target: str, rules: CleaningRules
) -> tuple[pd.DataFrame, Step]:
    """Give rows the labels that theirs are merged into."""
    _check_task(table[target], rules)
    name = "labels merged"
    if not rules.merge_labels:
        return table, Step(name)
    texts = label_texts(table[target])
    _check_known("merge_labels", rules.merge_labels, texts)
    merged = texts.map(lambda label: rules.merge_labels.get(label, label))
    rows = int((merged != texts).sum())
    if pd.api.types.is_numeric_dtype(table[target]):
        numbers = pd.to_numeric(merged, errors="coerce")
        merged = merged if numbers.isna().any() else numbers.astype(table[target].dtype)
    detail = ", ".join(f"{old} -> {new}" for old, new in rules.merge_labels.items())
    return table.assign(**{target: merged.infer_objects()}), Step(name, rows=rows, detail=detail)


def _filtered_labels(
    table: pd.DataFrame, target: str, rules: CleaningRules
) -> tuple[pd.DataFrame, Step]:
    name = "rows of unwanted labels dropped"
    if not rules.drop_labels:
        return table, Step(name)
    texts = label_texts(table[target])
    _check_known("drop_labels", rules.drop_labels, texts)
    return _drop(table, texts.isin(rules.drop_labels), name, ", ".join(rules.drop_labels))


def _duplicate_rows(
    table: pd.DataFrame, target: str, rules: CleaningRules
) -> tuple[pd.DataFrame, Step]:
    if rules.keep_duplicates:
        return table, Step("duplicate rows dropped", detail=OFF)
    return _drop(table, table.duplicated(), "duplicate rows dropped")


def _reduced_classes(
    table: pd.DataFrame, target: str, rules: CleaningRules
) -> tuple[pd.DataFrame, Step]:
    """Keep of every class at most as many rows as the limits say, drawn at random."""
    name = "rows of large classes dropped"
    counts = table[target].value_counts()
    limits = [] if rules.max_per_class is None else [rules.max_per_class]
    if rules.max_ratio is not None:
        limits.append(int(rules.max_ratio * counts[counts > 0].min()))
    if not limits:
        return table, Step(name)
    order = np.random.default_rng(rules.random_state).permutation(len(table))
    place = table[target].iloc[order].groupby(table[target].iloc[order]).cumcount()
    surplus = place.sort_index() >= min(limits)
    return _drop(table, surplus, name, f"at most {min(limits)} of each class")


RULES: tuple[Rule, ...] = (
    _blank_cells,
    _empty_columns,
    _duplicate_columns,
    _empty_rows,
    _trimmed_labels,
    _unlabelled,
    _merged_labels,
    _filtered_labels,
    _duplicate_rows,
    _reduced_classes,
)


def _drop(
    table: pd.DataFrame, unwanted: pd.Series, rule: str, detail: str = ""
) -> tuple[pd.DataFrame, Step]:
    kept = table[~unwanted.to_numpy(dtype=bool)].reset_index(drop=True)
    return kept, Step(rule, rows=len(table) - len(kept), detail=detail)


def _check_task(y: pd.Series, rules: CleaningRules) -> None:
    task = infer_task(y) if rules.task == "auto" else rules.task
    if rules.of_labels and task == "regression":
        raise ValueError(
            f"{rules.of_labels[0]} is for labels, but {y.name!r} is a quantity of "
            f"{y.nunique()} different values."
        )


def _check_known(parameter: str, asked: Iterable[str], texts: pd.Series) -> None:
    """Raise for a label that no row has; a typing error would otherwise do nothing in silence."""
    known = list(texts.unique())
    for label in asked:
        if label not in known:
            raise ValueError(unknown_name(f"{parameter} names the label", label, known))
