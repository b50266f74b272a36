"""Figures of a study's report, as SVG, drawn off pyplot: no window, nothing to close."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from finetune_tabpfn.studies._importance import Importance
from finetune_tabpfn.studies._search_space import differ_by_factors
from finetune_tabpfn.studies._study_records import Experiment
from finetune_tabpfn.utils._optional import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 30  # experiments of a table, the best ones
CURVES = 8  # that are drawn in colour, the best ones
BLUE, ORANGE, GRAY, GREEN = "#2563a8", "#c2570c", "#b8bec6", "#2f855a"


def draw_scores(experiments: Sequence[Experiment], metric: str) -> str:
    """Draw validation and test metric of the experiments of a table, which are sorted."""
    shown = experiments[:SHOWN]
    name = metric.partition("_")[2]
    figure, axes = _new(5.2, 1.1 + 0.24 * len(shown))
    places = np.arange(len(shown))
    for part, color, marker in (("validation", BLUE, "o"), ("test", ORANGE, "D")):
        values = [_number(getattr(one, part).get(name)) for one in shown]
        if not np.isnan(values).all():
            axes.plot(values, places, marker, color=color, ms=5, label=part)
    spreads = [_number(one.validation_spread.get(name)) for one in shown]
    if not np.isnan(spreads).all():
        middles = [_number(one.validation.get(name)) for one in shown]
        axes.errorbar(middles, places, xerr=spreads, fmt="none", ecolor=BLUE, alpha=0.4)
    axes.set_yticks(places, [one.id for one in shown], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(name)
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper right", ncols=2, fontsize=8, frameon=False)
    return _svg(figure)


def draw_effects(found: Importance) -> str:
    """Draw how much each hyperparameter matters; pale where it may be chance."""
    rows = found.table[::-1].to_dict("records")
    figure, axes = _new(5.2, 1.0 + 0.34 * len(rows))
    names = [str(row["hyperparameter"]) for row in rows]
    colors = [BLUE if row["matters"] else GRAY for row in rows]
    axes.barh(names, [row["importance"] for row in rows], color=colors, height=0.6)
    for place, row in enumerate(rows):
        text = f" {row['effect']:+.2f}" if isinstance(row["best"], (int, float)) else " (text)"
        axes.text(row["importance"], place, text, va="center", fontsize=8)
    share = "share of the variance (fANOVA)"
    what = share if found.method == "fANOVA" else "correlation with the score"
    axes.set(xlim=(0, 1.15), xlabel=f"{what}\n(beside it the rank correlation)")
    axes.grid(axis="x", alpha=0.3)
    return _svg(figure)


def draw_setting(name: str, values: Iterable[Any], metrics: Sequence[float], metric: str) -> str:
    """Draw a metric against the values of a hyperparameter."""
    figure, axes = _new(3.4, 2.7)
    cells = list(values)
    numbers = [v for v in cells if isinstance(v, (int, float)) and not isinstance(v, bool)]
    if len(numbers) == len(cells):
        axes.plot(numbers, metrics, "o", color=BLUE, ms=5, alpha=0.6, mew=0)
        if differ_by_factors(sorted(numbers)):
            axes.set_xscale("log")
    else:
        levels = sorted({str(v) for v in cells})
        places = [levels.index(str(v)) for v in cells]
        axes.plot(places, metrics, "o", color=BLUE, ms=5, alpha=0.6, mew=0)
        axes.set_xticks(range(len(levels)), [_short(level) for level in levels], fontsize=8)
        axes.set_xlim(-0.5, len(levels) - 0.5)
    axes.set(xlabel=_short(name, 40), ylabel=metric.partition("_")[2])
    axes.grid(alpha=0.3)
    return _svg(figure)


def draw_curves(curves: pd.DataFrame, best: Sequence[str], scoring: str) -> str:
    """Draw the score after every evaluation; the best experiments in colour, the first fold."""
    from matplotlib import colormaps

    figure, axes = _new(5.2, 3.6)
    first = curves[(curves["fold"] == 0) & curves["score"].notna()]
    colored = list(best[:CURVES])
    colors = colormaps["viridis"](np.linspace(0, 0.85, max(len(colored), 1)))
    for name, rows in first.groupby("id"):
        if name not in colored:
            axes.plot(rows["step"], rows["score"], color=GRAY, lw=0.8, zorder=1)
    for name, color in zip(colored, colors, strict=False):
        rows = first[first["id"] == name]
        axes.plot(rows["step"], rows["score"], color=color, lw=1.4, marker="o", ms=2.5, label=name)
    axes.set(xlabel="step (optimizer updates)", ylabel=f"{scoring}\n(greater is better)")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2, fontsize=7, frameon=False)
    return _svg(figure)


def draw_gaps(table: pd.DataFrame, metric: str) -> str:
    """Draw the training metric against the validation metric."""
    figure, axes = _new(3.8, 3.6)
    flagged = table["overfits"].map(lambda value: value is True)
    for rows, color, label in (
        (table[~flagged], BLUE, "experiment"),
        (table[flagged], ORANGE, "overfits"),
    ):
        if len(rows):
            axes.plot(rows["train"], rows["validation"], "o", color=color, ms=5, label=label)
    cells = table[["train", "validation"]].to_numpy(dtype=float)
    ends = [float(np.nanmin(cells)), float(np.nanmax(cells))]
    axes.plot(ends, ends, color=GRAY, lw=1, zorder=0)
    axes.set(xlabel=f"training {metric}", ylabel=f"validation {metric}")
    axes.grid(alpha=0.3)
    if flagged.any():
        axes.legend(fontsize=8)
    return _svg(figure)


def draw_classes(counts: dict[str, int]) -> str:
    """Draw the rows of each class."""
    figure, axes = _new(3.8, 0.9 + 0.26 * len(counts))
    axes.barh([_short(label) for label in counts][::-1], [*counts.values()][::-1], color=GREEN)
    axes.set_xlabel("rows to train and validate on")
    return _svg(figure)


def _new(width: float, height: float) -> tuple[Figure, Axes]:
    require("matplotlib", "The report of a study")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: Figure) -> str:
    """Return a figure as SVG, the same for the same figure."""
    from matplotlib import rc_context

    written = io.StringIO()
    with rc_context({"svg.hashsalt": "finetune-tabpfn"}):
        figure.savefig(written, format="svg", metadata={"Date": None})
    return written.getvalue()


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)


def _short(text: str, width: int = 18) -> str:
    text = str(text).replace("$", r"\$")  # matplotlib would read mathematics between two
    return text if len(text) <= width else f"{text[: width - 1]}…"
