"""Figures of forecasts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from finetune_tabpfn.utils._optional import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN_BEFORE = 6  # horizons of history
FIGURE_SIZE = (9, 4)  # inches


def plot_forecast(
    past: pd.Series,
    forecast: pd.DataFrame,
    actual: pd.Series | None = None,
    *,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Draw the end of a series, the forecast and its interval.

    Parameters
    ----------
    past : Series
        Targets by their stamps.
    forecast : DataFrame
        Of one series, with the stamps as index: "forecast" and columns of quantiles, named by
        their levels, as `FinetunedTabPFNForecaster.predict` returns them.
    actual : Series, optional
        What came.
    title : str
    ax : matplotlib.axes.Axes, optional
        None: of a new figure of pyplot's, which a notebook shows.

    Returns
    -------
    matplotlib.figure.Figure
        ``figure.savefig("forecast.png")`` writes it.
    """
    axes: Any = _new_axes() if ax is None else ax
    shown = past.sort_index().iloc[-max(SHOWN_BEFORE * len(forecast), 24) :]
    axes.plot(shown.index, shown.to_numpy(), color="0.35", lw=1.2, label="before")
    draw_interval(axes, forecast)
    if actual is not None:
        axes.plot(actual.index, actual.to_numpy(), color="0.1", lw=1.2, ls=":", label="came")
    axes.set_title(title)
    axes.legend(frameon=False)
    figure: Figure = axes.figure
    return figure


def _new_axes() -> Axes:
    """Return axes on a figure of pyplot's."""
    pyplot = require("matplotlib", "A plot of a forecast", "matplotlib.pyplot")
    _, ax = pyplot.subplots(figsize=FIGURE_SIZE, layout="constrained")
    return ax


def draw_interval(axes: Any, forecast: pd.DataFrame, color: str = "tab:blue") -> None:
    """Draw a forecast and the band between its outer quantiles."""
    levels = sorted((float(name), name) for name in forecast.columns if _is_level(name))
    stamps = forecast.index
    if len(levels) > 1:
        (low, lowest), (high, highest) = levels[0], levels[-1]
        axes.fill_between(
            stamps,
            forecast[lowest].to_numpy(dtype=np.float64),
            forecast[highest].to_numpy(dtype=np.float64),
            color=color,
            alpha=0.2,
            lw=0,
            label=f"quantiles {low:g} to {high:g}",
        )
    axes.plot(stamps, forecast["forecast"].to_numpy(), color=color, lw=1.6, label="forecast")


def _is_level(name: Any) -> bool:
    try:
        return 0 < float(name) < 1
    except (TypeError, ValueError):
        return False
