"""Metrics of forecasts. Smaller is better but for directions and coverage."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, root_mean_squared_error

Floats = npt.NDArray[np.float64]


def forecast_metrics(
    actual: Floats,
    forecast: Floats,
    quantiles: Mapping[float, Floats] | None = None,
    *,
    scale: Floats | float | None = None,
    last: Floats | None = None,
) -> dict[str, float]:
    """Return the metrics of forecasts.

    Parameters
    ----------
    actual, forecast : ndarray of shape (n_rows,)
    quantiles : mapping of float to ndarray of shape (n_rows,), optional
        Forecast quantiles by their level.
    scale : ndarray of shape (n_rows,) or float, optional
        `seasonal_scale` of each row's series.
    last : ndarray of shape (n_rows,), optional
        The last target that was known.

    Returns
    -------
    dict of str to float
        mae, rmse and smape (from 0 to 2); with `scale` mase, of the rows that have a scale (a
        constant series has none); with `last` directional_accuracy, the
        share of rows that lie on the side of the last target where they were forecast to lie; with
        `quantiles` wql, the weighted quantile loss (the mean over the levels of twice the pinball
        loss over the mean absolute target), and coverage_80, say, the share of rows between the
        outer two if these are symmetric.

    Examples
    --------
    >>> import numpy as np
    >>> from finetune_tabpfn.forecasting import forecast_metrics
    >>> actual, forecast = np.array([10.0, 12.0]), np.array([11.0, 12.0])
    >>> forecast_metrics(actual, forecast, scale=2.0)["mase"]
    0.25
    """
    found = {
        "mae": float(mean_absolute_error(actual, forecast)),
        "rmse": float(root_mean_squared_error(actual, forecast)),
        "smape": smape(actual, forecast),
    }
    if scale is not None:
        in_scales = np.abs(actual - forecast) / scale
        known = np.isfinite(in_scales)
        found["mase"] = float(in_scales[known].mean()) if known.any() else math.nan
    if last is not None:
        found["directional_accuracy"] = float(
            np.mean(np.sign(actual - last) == np.sign(forecast - last))
        )
    if quantiles:
        found["wql"] = weighted_quantile_loss(actual, quantiles)
        low, high = min(quantiles), max(quantiles)
        if low < high and math.isclose(low, 1 - high):
            inside = (actual >= quantiles[low]) & (actual <= quantiles[high])
            found[f"coverage_{100 * (high - low):.0f}"] = float(inside.mean())
    return found


def smape(actual: Floats, forecast: Floats) -> float:
    """Return the symmetric mean absolute percentage error, from 0 to 2; 0/0 counts as 0."""
    size = (np.abs(actual) + np.abs(forecast)) / 2
    error = np.abs(actual - forecast)
    return float(np.mean(np.divide(error, size, out=np.zeros_like(error), where=size > 0)))


def weighted_quantile_loss(actual: Floats, quantiles: Mapping[float, Floats]) -> float:
    """Return twice the pinball loss over the mean absolute target, the mean over the levels."""
    losses = [mean_pinball_loss(actual, values, alpha=level) for level, values in quantiles.items()]
    weight = float(np.mean(np.abs(actual)))
    return float(2 * np.mean(losses) / weight) if weight else math.nan


def seasonal_scale(values: Floats, season: int = 1) -> Floats:
    """Return the error of the seasonal naive forecast on a training part, which MASE divides by.

    Parameters
    ----------
    values : ndarray of shape (n_places,) or (n_places, n_series)
        On a regular grid, NaN where missing.
    season : int
        Periods; 1 is the naive forecast, which repeats the last target.

    Returns
    -------
    ndarray of shape (n_series,)
        The mean absolute change over a season; NaN where there is none, or where it is zero.
    """
    panel = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    if len(panel) <= season:
        return np.full(panel.shape[1], np.nan)
    changes = np.abs(panel[season:] - panel[:-season])
    count = np.isfinite(changes).sum(axis=0)
    total = np.nansum(changes, axis=0)
    return np.where((count > 0) & (total > 0), total / np.maximum(count, 1), np.nan)
