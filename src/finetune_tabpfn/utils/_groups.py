"""The settings of the estimators in groups, as one looks for them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

GROUPS = {
    "fine-tuning": (
        "base_model", "time_limit", "max_steps", "learning_rate", "tuning", "patience", "device",
        "random_state",
    ),
    "validation": ("scoring", "validation", "n_folds", "eval_interval", "min_gain_se"),
    "prediction": ("n_estimators", "fit_mode"),
    "columns and classes": ("categorical_features", "class_weight", "balanced_contexts"),
    "steps of the training": (
        "batch_size", "context_size", "query_size", "precision", "gradient_accumulation_steps",
        "warmup_steps", "weight_decay", "max_grad_norm", "ema_decay", "plateau_patience",
        "min_delta",
    ),
    "LoRA, where tuning is lora": ("lora_rank", "lora_alpha", "lora_dropout"),
    "records and checkpoints": ("loggers", "log_dir", "checkpoint", "checkpoint_every", "resume"),
}  # fmt: skip
OTHERS = "others"
TABLE = re.compile(r'<table class="parameters-table">\s*<tbody>(.*?)</tbody>', re.DOTALL)
ROW = re.compile(r"<tr\b.*?</tr>", re.DOTALL)
HEADING = (
    '<tr class="default"><th colspan="3" scope="rowgroup" style="text-align: left">{}</th></tr>'
)


def in_groups(html: str) -> str:
    """Return the HTML that scikit-learn shows of an estimator with its parameters in groups.

    Where its table of parameters is another than today's, or there is none, it stays as it is.
    """
    table = TABLE.search(html)
    if table is None or ROW.sub("", table[1]).strip():
        return html
    rows = "".join(_grouped(ROW.findall(table[1])))
    return html[: table.start(1)] + rows + html[table.end(1) :]


def _grouped(rows: Sequence[str]) -> Iterator[str]:
    """Yield headings and the rows below each."""
    group_of = {name: heading for heading, names in GROUPS.items() for name in names}
    headings = [group_of.get(_parameter(row), OTHERS) for row in rows]
    if set(headings) <= {OTHERS}:  # an estimator without any of these settings
        yield from rows
        return
    for heading in (*GROUPS, OTHERS):
        if heading in headings:
            yield HEADING.format(heading)
            yield from (row for row, its in zip(rows, headings, strict=True) if its == heading)


def _parameter(row: str) -> str:
    """Return the parameter of a row: its first word, or of a nested one the parameter it is in."""
    words = re.findall(r"\w+", re.sub(r"<[^>]*>", " ", row))
    return words[0].partition("__")[0] if words else ""
