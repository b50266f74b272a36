"""The training curve of a fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from finetune_tabpfn.loggers._base import Logger
from finetune_tabpfn.utils._optional import require

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

HEIGHTS = (4, 2, 1)  # of score, train loss and learning rate


class Curve(Logger):
    """Writes the training curve as PNG when the fit is over.

    Parameters
    ----------
    path : pathlib.Path
    """

    def __init__(self, path: Path) -> None:
        require("matplotlib", "loggers='plot'")  # before the fit, not after it
        self.path = path

    def on_fit_end(self, estimator: Any) -> None:
        """Draw it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        save_curve(estimator, self.path)


def plot_history(estimator: Any, axes: Sequence[Axes] | None = None) -> npt.NDArray[np.object_]:
    """Plot the training curve of a fitted estimator.

    Parameters
    ----------
    estimator : FinetunedTabPFNClassifier or FinetunedTabPFNRegressor
        Fitted.
    axes : sequence of three matplotlib.axes.Axes, optional
        Of a new figure if not given.

    Returns
    -------
    ndarray of three matplotlib.axes.Axes
        From the top: the score, with the base's as a line and the best evaluation marked; the train
        loss; the learning rate. A line for each fold.
    """
    history: pd.DataFrame = estimator.history_
    drawn = np.array(_new_axes() if axes is None else axes, dtype=object)
    scores, losses, rates = drawn
    scored = bool(history["score"].notna().any())
    if scored:
        scores.axhline(estimator.base_score_, color="gray", ls="--", lw=1, label="base model")
    for fold, evaluations in history.groupby("fold"):
        hidden = "_" if fold else ""  # matplotlib leaves labels that begin so out of the legend
        line = {"color": "tab:blue", "marker": "o", "ms": 3, "lw": 1.2}
        if scored:
            scores.plot(
                evaluations["step"], evaluations["score"], label=f"{hidden}evaluation", **line
            )
            best = evaluations.iloc[int(evaluations["score"].argmax())]
            star = {"color": "tab:green", "ms": 14, "ls": "none"}
            scores.plot(best["step"], best["score"], "*", label=f"{hidden}best evaluation", **star)
        trained = evaluations.dropna(subset="train_loss")
        losses.plot(trained["step"], trained["train_loss"], **{**line, "color": "tab:orange"})
        rates.plot(trained["step"], trained["learning_rate"], **{**line, "color": "tab:purple"})
    title = f"Fine-tuning of {estimator.base_model_.name}: {estimator.stop_reason_}"
    scores.set_title(f"{title}\n{estimator.deployment_reason_}", fontsize="medium")
    scores.set_ylabel(f"score on the hold-out\n({estimator.scoring_}),\ngreater is better")
    losses.set_ylabel("train loss\n(nats per query row)")
    rates.set_ylabel("learning\nrate")
    highest = max(history["learning_rate"], default=0.0)
    rates.set_ylim(0, 1.2 * highest if highest else 1)
    rates.set_xlabel("step (optimizer updates)")
    if scored:
        scores.legend(loc="best")
    return drawn


def save_curve(estimator: Any, path: Path) -> None:
    """Write the training curve of a fitted estimator as PNG."""
    figure: Any = plot_history(estimator)[0].figure
    figure.savefig(path, dpi=120, bbox_inches="tight", format="png")


def _new_axes() -> Any:
    """Return axes on a figure of their own, off pyplot: no window, nothing to close."""
    require("matplotlib", "A training curve")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 7), layout="constrained")
    axes = figure.subplots(len(HEIGHTS), sharex=True, height_ratios=HEIGHTS)
    figure.align_ylabels()
    return axes
