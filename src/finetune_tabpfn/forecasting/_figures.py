"""Figures of forecasts, drawn off pyplot: no window, nothing to close."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from finetune_tabpfn.utils._optional import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN_BEFORE = 6  # horizons of history


def plot_forecast(
    past: pd.Series,
    forecast: pd.DataFrame,
    actual: pd.Series | None = None,
    *,
    title: str = "",
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

    Returns
    -------
    matplotlib.figure.Figure
        ``figure.savefig("forecast.png")`` writes it.
    """
    require("matplotlib", "A plot of a forecast")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    shown = past.sort_index().iloc[-max(SHOWN_BEFORE * len(forecast), 24) :]
    axes.plot(shown.index, shown.to_numpy(), color="0.35", lw=1.2, label="before")
    draw_interval(axes, forecast)
    if actual is not None:
        axes.plot(actual.index, actual.to_numpy(), color="0.1", lw=1.2, ls=":", label="came")
    axes.set_title(title)
    axes.legend(frameon=False)
    return figure


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
