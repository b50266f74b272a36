"""The training curve of a fit, as a display and as a file."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from sklearn.utils.validation import check_is_fitted

from finetune_tabpfn.loggers._base import Logger
from finetune_tabpfn.utils._optional import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

HEIGHTS = {"score": 4, "train_loss": 2, "learning_rate": 1}  # of what the file shows
TITLE_WIDTH = 100  # characters
LABELS = {
    "train_loss": "train loss\n(nats per query row)",
    "learning_rate": "learning\nrate",
}
# an estimator of scikit-learn's, or ours for time series, holds the fitted one in one of these
INNER = ("regressor_", "estimator_", "best_estimator_")
# recorded of an evaluation, and nothing that weights have
NOT_OF_WEIGHTS = ("fold", "evaluation", "step", "seconds", "learning_rate", "is_deployed")
DEPLOYED_LABELS = {
    "base": "deployed: the base model",
    "best": "deployed: this evaluation",
    "interpolated": "deployed: half-way from the base to this evaluation",
    "last": "deployed: this evaluation",
}


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


class TrainingCurveDisplay:
    """Training curve of a fit: what each evaluation scored, and what of it is deployed.

    Made by :meth:`from_estimator`. Every fold has a line of its own, and a dashed one in its colour
    for the base model. A star marks each evaluation whose weights are deployed, and a horizontal
    line what they score together, on the rows of all folds; the title says why they are.

    Parameters
    ----------
    history : DataFrame
        As `history_` of a fitted estimator: a row for each evaluation.
    metric : str
        Column of `history` to draw.
    metric_name : str, default=None
        What to write beside the axis; None: the name of the column.
    deployed : {"base", "best", "interpolated", "last"}, default="base"
        What is deployed.
    deployed_score : float, default=nan
        What that scores; NaN draws no line.
    title : str, default=""

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure
    lines_ : list of matplotlib.lines.Line2D
        One for each fold.
    base_lines_ : list of matplotlib.lines.Line2D
        The base model's, one for each fold; empty for what it has no value of.
    deployed_marks_ : list of matplotlib.lines.Line2D
        The stars, one for each fold whose weights are deployed.
    deployed_line_ : matplotlib.lines.Line2D or None
        What is deployed, over the rows of all folds.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from finetune_tabpfn import FinetunedTabPFNClassifier, TrainingCurveDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> model = FinetunedTabPFNClassifier(base_model="mini", max_steps=20, random_state=0)
    >>> display = TrainingCurveDisplay.from_estimator(model.fit(X, y))
    >>> len(display.lines_)
    1
    """

    def __init__(
        self,
        *,
        history: pd.DataFrame,
        metric: str = "score",
        metric_name: str | None = None,
        deployed: str = "base",
        deployed_score: float = math.nan,
        title: str = "",
    ) -> None:
        self.history = history
        self.metric, self.metric_name = metric, metric_name
        self.deployed, self.deployed_score = deployed, deployed_score
        self.title = title

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        metric: str | None = None,
        ax: Axes | None = None,
        line_kw: Mapping[str, Any] | None = None,
    ) -> TrainingCurveDisplay:
        """Draw the training curve of a fitted estimator.

        Parameters
        ----------
        estimator : FinetunedTabPFNClassifier, FinetunedTabPFNRegressor or FinetunedTabPFNForecaster
            Fitted; or a pipeline that ends in one, or a search of scikit-learn's that found one.
        metric : str, default=None
            Column of `history_` to draw: "score", "train_loss", "learning_rate", "log_loss", ...
            None: the score, or the train loss where nothing was held out.
        ax : matplotlib.axes.Axes, default=None
            None: of a new figure of pyplot's, which a notebook shows.
        line_kw : dict, default=None
            Keywords of `matplotlib.axes.Axes.plot` for the lines of the folds.

        Returns
        -------
        TrainingCurveDisplay

        Raises
        ------
        TypeError
            For an estimator that is none of this package's.
        ValueError
            For a metric that `history_` does not have.
        sklearn.exceptions.NotFittedError
        """
        model = _fitted(estimator)
        history: pd.DataFrame = model.history_
        if metric is None:
            metric = "train_loss" if history["score"].isna().all() and len(history) else "score"
        drawable = [*history.columns.drop([n for n in NOT_OF_WEIGHTS if n != "learning_rate"])]
        if metric not in drawable:
            raise ValueError(
                f"metric={metric!r} is not recorded; history_ has {', '.join(drawable)}."
            )
        is_score = metric == "score"
        score_name = f"score on the hold-out\n({model.scoring_}),\ngreater is better"
        display = cls(
            history=history,
            metric=metric,
            metric_name=score_name if is_score else LABELS.get(metric, f"{metric} on the hold-out"),
            deployed=model.deployed_weights_,
            deployed_score=model.best_score_ if is_score else math.nan,
            title=f"Fine-tuning of {model.base_model_.name}: {model.stop_reason_}\n"
            + textwrap.fill(model.deployment_reason_, TITLE_WIDTH),
        )
        return display.plot(ax, line_kw=line_kw)

    def plot(
        self, ax: Axes | None = None, *, line_kw: Mapping[str, Any] | None = None
    ) -> TrainingCurveDisplay:
        """Draw it, again.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            None: of a new figure of pyplot's.
        line_kw : dict, default=None
            Keywords of `matplotlib.axes.Axes.plot` for the lines of the folds.

        Returns
        -------
        TrainingCurveDisplay
            Itself.
        """
        self.ax_ = _new_axes() if ax is None else ax
        self.figure_ = self.ax_.figure
        self.lines_: list[Line2D] = []
        self.base_lines_: list[Line2D] = []
        self.deployed_marks_: list[Line2D] = []
        recorded = self.history.dropna(subset=self.metric)
        if self.metric == "learning_rate":
            recorded = recorded[recorded["evaluation"] > 0]
        for number, (fold, evaluations) in enumerate(recorded.groupby("fold")):
            label = f"fold {fold}" if self._n_folds > 1 else "evaluations"
            style: dict[str, Any] = {
                "color": f"C{number}",
                "marker": "o",
                "ms": 3,
                "lw": 1.2,
                "label": label,
            }
            drawn = self.ax_.plot(
                evaluations["step"], evaluations[self.metric], **{**style, **(line_kw or {})}
            )
            self.lines_ += drawn
            if self.metric not in NOT_OF_WEIGHTS:
                self._draw_base(evaluations, drawn[0].get_color())
                self._mark_deployed(evaluations, drawn[0].get_color())
        self.deployed_line_ = self._draw_deployed()
        self.ax_.set_title(self.title, fontsize="small", loc="left")
        self.ax_.set_xlabel("step (optimizer updates)")
        self.ax_.set_ylabel(self.metric_name or self.metric)
        one_of_each = [*self.lines_, *self.base_lines_[:1], *self.deployed_marks_[:1]]
        if self.deployed_line_ is not None:
            one_of_each.append(self.deployed_line_)
        if len(one_of_each) > 1:
            self.ax_.legend(handles=one_of_each, loc="best", fontsize="small")
        return self

    @property
    def _n_folds(self) -> int:
        return int(self.history["fold"].nunique())

    def _draw_base(self, evaluations: pd.DataFrame, color: Any) -> None:
        """Draw the base model's value over all steps, if it has one."""
        first = evaluations.iloc[0]
        if first["evaluation"] == 0:
            label = "base model" if self._n_folds == 1 else "base model, in each fold"
            style: dict[str, Any] = {
                "color": color,
                "ls": "--",
                "lw": 0.9,
                "alpha": 0.7,
                "zorder": 1,
            }
            self.base_lines_.append(self.ax_.axhline(first[self.metric], label=label, **style))

    def _mark_deployed(self, evaluations: pd.DataFrame, color: Any) -> None:
        """Put a star where the weights are deployed."""
        chosen = evaluations[evaluations["is_deployed"].astype(bool)]
        if len(chosen):
            label = DEPLOYED_LABELS[self.deployed]
            n_averaged = int(self.history["is_deployed"].sum())
            if self.deployed != "base" and n_averaged > 1:
                label = f"{label},\nmean of {n_averaged} folds"
            style: dict[str, Any] = {
                "color": color,
                "mec": "black",
                "ms": 13,
                "ls": "none",
                "zorder": 3,
            }
            self.deployed_marks_ += self.ax_.plot(
                chosen["step"], chosen[self.metric], marker="*", label=label, **style
            )

    def _draw_deployed(self) -> Line2D | None:
        """Draw what is deployed as a line over all steps; there is none without a score."""
        if not math.isfinite(self.deployed_score):
            return None
        over = ",\nover the rows of all folds" if self._n_folds > 1 else ""
        label = f"score of what is deployed{over}: {self.deployed_score:.4g}"
        style: dict[str, Any] = {"color": "black", "lw": 1.6, "ls": ":", "zorder": 2}
        return self.ax_.axhline(self.deployed_score, label=label, **style)


def save_curve(estimator: Any, path: Path) -> None:
    """Write the training curve of a fitted estimator as PNG: score, train loss and learning rate.

    Off pyplot: no window, nothing to close.
    """
    require("matplotlib", "A training curve")
    from matplotlib.figure import Figure

    history = _fitted(estimator).history_
    shown = {name: height for name, height in HEIGHTS.items() if history[name].notna().any()}
    heights = shown or {"score": 1}
    figure = Figure(figsize=(8, 3.5 + 0.5 * sum(heights.values())), layout="constrained")
    axes = figure.subplots(
        len(heights), sharex=True, squeeze=False, height_ratios=list(heights.values())
    )[:, 0]
    for metric, ax in zip(heights, axes, strict=True):
        TrainingCurveDisplay.from_estimator(estimator, metric=metric, ax=ax)
    for ax in axes[1:]:  # what the first one says
        ax.set_title("", loc="left")
        if ax.get_legend() is not None:
            ax.get_legend().remove()
    for ax in axes[:-1]:
        ax.set_xlabel("")
    highest = history["learning_rate"].max()
    if "learning_rate" in heights and highest:
        axes[-1].set_ylim(0, 1.15 * highest)
    figure.align_ylabels()
    figure.savefig(path, dpi=120, bbox_inches="tight", format="png")


def _fitted(estimator: Any) -> Any:
    """Return the fitted estimator of this package that is one, or is inside of one."""
    require("matplotlib", "A training curve")
    inner = estimator
    while not hasattr(inner, "deployment_reason_"):
        found = [getattr(inner, name) for name in INNER if hasattr(inner, name)]
        if not found and hasattr(inner, "steps"):
            found = [inner.steps[-1][1]]
        if not found:
            break
        inner = found[0]
    if type(inner).__module__.partition(".")[0] == __name__.partition(".")[0]:
        check_is_fitted(inner)
    if not hasattr(inner, "history_") or not hasattr(inner, "deployment_reason_"):
        raise TypeError(
            f"A training curve is drawn of a fitted estimator of finetune_tabpfn, or of a pipeline "
            f"or a search that holds one; not of {type(estimator).__name__}."
        )
    return inner


def _new_axes() -> Axes:
    """Return axes on a figure of pyplot's."""
    pyplot = require("matplotlib", "A training curve", "matplotlib.pyplot")
    _, ax = pyplot.subplots(figsize=(8, 5), layout="constrained")
    return ax
