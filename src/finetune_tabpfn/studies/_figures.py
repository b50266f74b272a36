"""Figures of an evaluation, drawn off pyplot: no window, nothing to close."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from finetune_tabpfn.studies._metrics import Codes, Floats, Reliability
from finetune_tabpfn.utils._files import save_whole
from finetune_tabpfn.utils._optional import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUMBERS_UP_TO = 25  # classes of a confusion matrix whose cells are written out
CLASSES_UP_TO = 40  # beyond, the most frequent ones are shown
LABEL_WIDTH = 24


def draw_confusion(counts: Codes, labels: Sequence[str], path: Path) -> None:
    """Write a confusion matrix as PNG: the colour is the share of the true class.

    Parameters
    ----------
    counts : ndarray of int of shape (n_classes, n_classes)
        By true class (rows) and predicted class (columns).
    labels : sequence of str
    path : pathlib.Path
    """
    counts, labels, title = _most_frequent(counts, labels)
    n_classes = len(labels)
    side = min(max(4.0, 1.6 + 0.55 * n_classes), 14.0)
    figure = _figure(side + 1.2, side)
    axes = figure.add_subplot()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    names = [_short(label) for label in labels]
    size = 10 if n_classes <= 12 else 8
    axes.set_xticks(range(n_classes), names, rotation=90 if n_classes > 3 else 0, fontsize=size)
    axes.set_yticks(range(n_classes), names, fontsize=size)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title)
    if n_classes <= NUMBERS_UP_TO:
        for (row, column), count in np.ndenumerate(counts):
            if count or n_classes <= 4:
                color = "white" if share[row, column] > 0.55 else "black"
                axes.text(column, row, f"{count:,}", ha="center", va="center", color=color)
    figure.colorbar(image, ax=axes, label="share of the true class", fraction=0.046, pad=0.04)
    _save(figure, path)


def draw_reliability(found: Reliability, said: str, path: Path) -> None:
    """Write a reliability diagram as PNG, with the number of rows in each bin below.

    Parameters
    ----------
    found : Reliability
    said : str
        What the probabilities are of.
    path : pathlib.Path
    """
    figure = _figure(6.0, 6.6)
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1]})
    there = found.count > 0
    upper.plot(found.said[there], found.seen[there], "o-", color="tab:blue", label="model")
    _diagonal(upper)
    upper.set_ylabel("share that came true")
    upper.set_title(f"Reliability, calibration error {found.error:.3f}")
    borders = np.linspace(0, 1, len(found.count) + 1)
    lower.bar(borders[:-1], found.count, np.diff(borders), align="edge", edgecolor="white")
    lower.set_ylabel("rows")
    lower.set_xlabel(said)
    _save(figure, path)


def draw_coverage(y: Floats, deciles: Floats, path: Path) -> None:
    """Write as PNG how often the target lies below each predicted decile."""
    figure = _figure(6.0, 5.5)
    axes = figure.add_subplot()
    levels = np.arange(1, 10) / 10
    axes.plot(levels, (y[:, None] <= deciles).mean(axis=0), "o-", color="tab:blue", label="model")
    _diagonal(axes)
    axes.set_xlabel("predicted quantile")
    axes.set_ylabel("share of rows at or below it")
    axes.set_title("Reliability of the predicted quantiles")
    _save(figure, path)


def draw_scatter(y: Floats, predicted: Floats, target: str, path: Path) -> None:
    """Write predictions against the truth as PNG; of a quantity, what a confusion matrix is."""
    figure = _figure(6.0, 5.8)
    axes = figure.add_subplot()
    axes.scatter(y, predicted, s=10, alpha=0.4, linewidths=0, color="tab:blue")
    low, high = min(y.min(), predicted.min()), max(y.max(), predicted.max())
    axes.plot([low, high], [low, high], color="gray", ls="--", lw=1, label="perfect")
    axes.set_xlabel(f"true {_short(target)}")
    axes.set_ylabel(f"predicted {_short(target)}")
    axes.set_title("Predicted against true")
    axes.legend(loc="upper left")
    _save(figure, path)


def _most_frequent(counts: Codes, labels: Sequence[str]) -> tuple[Codes, Sequence[str], str]:
    if len(labels) <= CLASSES_UP_TO:
        return counts, labels, "Confusion matrix"
    kept = np.sort(np.argsort(-counts.sum(axis=1), kind="stable")[:CLASSES_UP_TO])
    title = f"Confusion matrix, the {CLASSES_UP_TO} most frequent of {len(labels)} classes"
    return counts[np.ix_(kept, kept)], [labels[k] for k in kept], title


def _diagonal(axes: Axes) -> None:
    axes.plot([0, 1], [0, 1], color="gray", ls="--", lw=1, label="perfect")
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.02, 1.02)
    axes.legend(loc="upper left")


def _figure(width: float, height: float) -> Figure:
    require("matplotlib", "A figure")
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Figure, path: Path) -> None:
    save_whole(path, lambda part: figure.savefig(part, dpi=120, format="png"))


def _short(label: str) -> str:
    text = str(label).replace("$", r"\$")  # matplotlib would read mathematics between two
    return text if len(text) <= LABEL_WIDTH else text[: LABEL_WIDTH - 1] + "…"
