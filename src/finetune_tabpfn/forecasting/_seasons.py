"""Seasons of a series: the periods after which it repeats itself, found in the training part."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]

MIN_CYCLES = 2.5  # that a season must have been through to be found
MIN_CORRELATION = 0.25  # of a series with itself one season before
MIN_CYCLES_OF_A_PEAK, MIN_CORRELATION_OF_A_PEAK = 6, 0.4  # no calendar speaks for it
N_PEAKS = 3  # of the spectrum that are looked at
MOST_SERIES = 50  # that are looked at
SEASONS_OF_DAYS: dict[str, tuple[int, ...]] = {"D": (7, 365), "B": (5, 261)}
SEASONS_OF_MONTHS: dict[str, tuple[int, ...]] = {"W": (52,), "M": (12,), "Q": (4,)}


def natural_seasons(frequency: Any) -> tuple[int, ...]:
    """Return the seasons that the calendar has for a frequency, the shortest first.

    Parameters
    ----------
    frequency : DateOffset

    Returns
    -------
    tuple of int
        In periods: of hours a day and a week, of days a week and a year, of months a year.
    """
    if isinstance(frequency, pd.offsets.Tick):
        step = pd.Timedelta(frequency)
        cycles = (pd.Timedelta(hours=1), pd.Timedelta(days=1), pd.Timedelta(days=7))
        found = [round(cycle / step) for cycle in cycles if cycle % step == pd.Timedelta(0)]
        found = [period for period in found if period >= 4]
        if step == pd.Timedelta(days=1):
            found.append(365)
        return tuple(found)
    if type(frequency) is pd.DateOffset:  # months that begin on another day than the first
        months = frequency.kwds.get("months", 0)
        return (12 // months,) if months and 12 % months == 0 and months < 12 else ()
    code, each = frequency.rule_code.partition("-")[0], int(frequency.n)
    by_days = SEASONS_OF_DAYS.get("D" if code == "DAY" else code)
    seasons = by_days or SEASONS_OF_MONTHS.get(code.removeprefix("B")[:1], ())
    return tuple(season // each for season in seasons if season % each == 0 and season >= 2 * each)


def find_seasons(panel: Floats, frequency: Any, most: int = 2) -> list[int]:
    """Return the periods after which series repeat themselves, the strongest first.

    Periods of the calendar are tried before peaks of the spectrum (Fourier analysis). One is taken
    where the series without its trend, a moving average over the period, correlates with itself
    one period before; what it explains is taken out before the next is looked for.

    Parameters
    ----------
    panel : ndarray of shape (n_places, n_series)
        Missing values are NaN.
    frequency : DateOffset
    most : int
        Seasons to return.
    """
    step = max(1, panel.shape[1] // MOST_SERIES)
    left = _filled(panel[:, ::step])
    found: dict[int, float] = {}
    for period in natural_seasons(frequency):
        left = _taken_out(left, period, found)
    for period in _peaks(left):
        new = not any(_near(period, other) for other in found)
        if new and len(left) >= MIN_CYCLES_OF_A_PEAK * period:
            left = _taken_out(left, period, found, MIN_CORRELATION_OF_A_PEAK)
    return sorted(found, key=lambda period: -found[period])[:most]


def _taken_out(
    series: Floats, period: int, found: dict[int, float], least: float = MIN_CORRELATION
) -> Floats:
    """Note a season if it is one; return the series without it."""
    strength = seasonal_correlation(series, period)
    if strength < least:
        return series
    found[period] = strength
    phase = np.arange(len(series)) % period
    flat = series - _trend(series, period)
    return series - pd.DataFrame(flat).groupby(phase).transform("mean").to_numpy()


def seasonal_correlation(series: Floats, period: int) -> float:
    """Return how a series without its trend correlates with itself one period before."""
    if period < 2 or len(series) < MIN_CYCLES * period:
        return 0.0
    flat = series - _trend(series, period)
    now, before = flat[period:], flat[:-period]
    both = np.isfinite(now) & np.isfinite(before)
    with np.errstate(invalid="ignore", divide="ignore"):  # of constant series and empty ones
        spread = np.nansum(flat**2, axis=0) * both.sum(axis=0) / np.isfinite(flat).sum(axis=0)
        each = np.nansum(np.where(both, now * before, 0), axis=0) / spread
    return float(np.nanmean(each)) if np.isfinite(each).any() else 0.0


def _trend(series: Floats, period: int) -> Floats:
    """Return the centred moving average over a period; at the ends the nearest there is."""
    means = pd.DataFrame(series).rolling(period, center=True, min_periods=period).mean()
    if period % 2 == 0:  # its middle lies between two places
        means = (means + means.shift(-1)) / 2
    return means.ffill().bfill().to_numpy()


def _filled(panel: Floats) -> Floats:
    """Return series with gaps filled in a straight line, centred, each in its own unit."""
    lines = pd.DataFrame(panel).interpolate(limit_area="inside")
    spread = lines.std().replace(0, np.nan)
    return ((lines - lines.mean()) / spread).to_numpy(dtype=np.float64)


def _peaks(series: Floats) -> list[int]:
    """Return periods at the peaks of the mean spectrum, the highest first."""
    n_places = len(series)
    if n_places < 3 * MIN_CYCLES:
        return []
    time = np.linspace(-1, 1, n_places)[:, None]
    level = np.nan_to_num(series)
    slope = (time * level).sum(axis=0) / (time**2).sum()
    window = np.hanning(n_places)[:, None]
    power = np.abs(np.fft.rfft((level - level.mean(axis=0) - time * slope) * window, axis=0)) ** 2
    power = power.mean(axis=1)
    inner = np.arange(1, len(power) - 1)
    tops = inner[(power[inner] >= power[inner - 1]) & (power[inner] > power[inner + 1])]
    tops = tops[tops >= MIN_CYCLES]
    tops = tops[np.argsort(-power[tops])][:N_PEAKS]
    return [_sharpened(series, n_places / top) for top in tops if n_places / top >= 2]


def _sharpened(series: Floats, about: float) -> int:
    """Return the period near a peak of the spectrum at which the series correlates most."""
    width = max(1, round(0.1 * about))
    tried = range(max(2, round(about) - width), round(about) + width + 1)
    return max(tried, key=lambda period: seasonal_correlation(series, period))


def _near(one: int, other: int) -> bool:
    """Tell whether two periods say the same: nearly equal, or multiples."""
    ratio = max(one, other) / min(one, other)
    return abs(ratio - round(ratio)) < 0.1 * ratio
