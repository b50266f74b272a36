"""The training curve of a fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune_tabpfn.records import Logger

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


class Curve(Logger):
    """Writes the training curve as PNG when the fit is over.

    Parameters
    ----------
    path : pathlib.Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_fit_end(self, estimator: Any) -> None:
        """Draw it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        save_curve(estimator, self.path)


def plot_history(estimator: Any, ax: Axes | None = None) -> Axes:
    """Plot the training curve of a fitted estimator.

    Parameters
    ----------
    estimator : FinetunedTabPFNClassifier or FinetunedTabPFNRegressor
        Fitted.
    ax : matplotlib.axes.Axes, optional
        Drawn on a new figure if not given.

    Returns
    -------
    matplotlib.axes.Axes
        The score on the left axis, with the base's score as a line and the best round marked;
        the train loss on a second axis. A line for each fold.
    """
    history: pd.DataFrame = estimator.history_
    ax = ax if ax is not None else _new_axes()
    loss_ax = ax.twinx()
    ax.axhline(estimator.base_score_, color="gray", ls="--", lw=1, label="base model")
    for fold, rounds in history.groupby("fold"):
        hidden = "_" if fold else ""  # matplotlib leaves labels that begin so out of the legend
        trained, best = rounds.dropna(subset="train_loss"), rounds.loc[[rounds["score"].idxmax()]]
        loss_ax.plot(
            trained["step"],
            trained["train_loss"],
            color="tab:orange",
            alpha=0.7,
            label=f"{hidden}train loss",
        )
        ax.plot(
            rounds["step"],
            rounds["score"],
            color="tab:blue",
            marker="o",
            ms=3,
            label=f"{hidden}score",
        )
        ax.plot(
            best["step"], best["score"], "*", color="tab:green", ms=14, label=f"{hidden}best round"
        )
    ax.set_xlabel("step (optimizer updates)")
    ax.set_ylabel(f"score on the hold-out ({estimator.scoring_}), greater is better")
    loss_ax.set_ylabel("train loss (nats per query row)")
    ax.set_title(f"Fine-tuning of {estimator.base_model_.name}: {estimator.stop_reason_}")
    shown = [line for side in (ax, loss_ax) for line in side.get_legend_handles_labels()[0]]
    ax.legend(handles=shown, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=4)
    return ax


def save_curve(estimator: Any, path: Path) -> None:
    """Write the training curve of a fitted estimator as PNG."""
    figure: Any = plot_history(estimator).figure
    figure.savefig(path, dpi=120, bbox_inches="tight", format="png")


def _new_axes() -> Axes:
    """Return axes on a figure of their own, off pyplot: no window, nothing to close."""
    from matplotlib.figure import Figure

    return Figure(figsize=(8, 5), layout="constrained").add_subplot()
