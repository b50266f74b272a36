"""Figures of an evaluation, drawn off pyplot: no window, nothing to close."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import ConfusionMatrixDisplay, PredictionErrorDisplay

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
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    display = ConfusionMatrixDisplay(share, display_labels=[_short(label) for label in labels])
    display.plot(
        include_values=n_classes <= NUMBERS_UP_TO,
        cmap="Blues",
        xticks_rotation="vertical" if n_classes > 3 else "horizontal",
        ax=figure.add_subplot(title=title),
        colorbar=False,
        im_kw={"vmin": 0, "vmax": 1},
    )
    if display.text_ is not None:
        for text, (cell, count) in zip(display.text_.flat, np.ndenumerate(counts), strict=True):
            text.set_text(f"{count:,}" if count or n_classes <= 4 else "")
            # scikit-learn chooses by the largest cell, and here a pale one may be the largest
            text.set_color("white" if share[cell] > 0.55 else "black")
    display.ax_.tick_params(labelsize=10 if n_classes <= 12 else 8)
    figure.colorbar(
        display.im_, ax=display.ax_, label="share of the true class", fraction=0.046, pad=0.04
    )
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
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    there = found.count > 0
    title = f"Reliability, calibration error {found.error:.3f}"
    _draw_calibration(found.seen[there], found.said[there], upper)
    upper.set(title=title, xlabel="", ylabel="share that came true")
    borders = np.linspace(0, 1, len(found.count) + 1)
    lower.bar(borders[:-1], found.count, np.diff(borders), align="edge", edgecolor="white")
    lower.set(xlabel=said, ylabel="rows")
    _save(figure, path)


def draw_coverage(y: Floats, deciles: Floats, path: Path) -> None:
    """Write as PNG how often the target lies below each predicted decile."""
    figure = _figure(6.0, 5.8)
    axes = figure.add_subplot()
    _draw_calibration((y[:, None] <= deciles).mean(axis=0), np.arange(1, 10) / 10, axes)
    axes.set(
        title="Reliability of the predicted quantiles",
        xlabel="predicted quantile",
        ylabel="share of rows at or below it",
    )
    _save(figure, path)


def draw_scatter(y: Floats, predicted: Floats, target: str, path: Path) -> None:
    """Write the truth against predictions as PNG; of a quantity, what a confusion matrix is."""
    figure = _figure(6.0, 5.8)
    from matplotlib.ticker import AutoLocator

    axes = figure.add_subplot(title="True against predicted")
    PredictionErrorDisplay(y_true=y, y_pred=predicted).plot(
        axes,
        kind="actual_vs_predicted",
        scatter_kwargs={"s": 10, "alpha": 0.4, "linewidths": 0},
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(AutoLocator())  # round numbers, which scikit-learn's are not
    axes.set(xlabel=f"predicted {_short(target)}", ylabel=f"true {_short(target)}")
    _save(figure, path)


def _most_frequent(counts: Codes, labels: Sequence[str]) -> tuple[Codes, Sequence[str], str]:
    if len(labels) <= CLASSES_UP_TO:
        return counts, labels, "Confusion matrix"
    kept = np.sort(np.argsort(-counts.sum(axis=1), kind="stable")[:CLASSES_UP_TO])
    title = f"Confusion matrix, the {CLASSES_UP_TO} most frequent of {len(labels)} classes"
    return counts[np.ix_(kept, kept)], [labels[k] for k in kept], title


def _draw_calibration(seen: Floats, said: Floats, axes: Axes) -> None:
    display = CalibrationDisplay(seen, said, said, estimator_name="model")
    display.plot(ax=axes, markersize=5)
    axes.set(xlim=(0, 1), ylim=(-0.02, 1.02))
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
