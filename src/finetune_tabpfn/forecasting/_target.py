"""What a network predicts of a series: its logarithm, its distance from a level, in its own spread.

TabPFN does not predict beyond the targets of its context, so that a series that grows must be told
as distances from a level that grows with it. What is chosen is chosen on the training part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from finetune_tabpfn.forecasting._features import TimeSeriesFeatures
from finetune_tabpfn.forecasting._rows import Floats, History, Places

FOLLOWS = (
    0.8  # a level is followed where distances from it spread less than this share of the whole
)
GROWS = 0.5  # slope of log spread over log level from which the logarithm is taken
MIN_BLOCKS, MIN_RISE = 5, 1.3  # of the level, to tell from
BLOCK = 8  # periods, of series without a season


@dataclass(frozen=True)
class Rows:
    """Rows of series, as the regressor takes them.

    Attributes
    ----------
    X : DataFrame
    anchors : ndarray of shape (n_rows,)
        What the target is told in distances from.
    places : Places
    """

    X: pd.DataFrame
    anchors: Floats
    places: Places

    def take(self, which: Any) -> Rows:
        """Return some of the rows, by their numbers."""
        places = Places(self.places.position[which], self.places.series[which])
        return Rows(self.X.iloc[which].reset_index(drop=True), self.anchors[which], places)


@dataclass(frozen=True)
class TargetTransform:
    """From a target to what is learned, and back.

    Attributes
    ----------
    log : bool
        Whether the logarithm of the target is taken first.
    level : str, optional
        The feature, a rolling mean, from which the distance is learned; None: the series' mean.
    center, spread : ndarray of shape (n_series,)
        Mean and standard deviation of each series, of its logarithm if that is taken.
    """

    log: bool
    level: str | None
    center: Floats
    spread: Floats

    def put(self, values: Floats) -> Floats:
        """Return targets as features know them."""
        return np.log(values) if self.log else values

    def undo(self, values: Floats) -> Floats:
        """Return targets of what `put` made of them."""
        return np.exp(values) if self.log else values

    def anchors(self, features: pd.DataFrame, places: Places) -> Floats:
        """Return the level of each row, NaN where the rows before it are missing."""
        if self.level is None:
            return self.center[places.series]
        return features[self.level].to_numpy(dtype=np.float64)

    def relative(
        self,
        features: pd.DataFrame,
        of_level: list[str],
        of_spread: list[str],
        anchors: Floats,
        places: Places,
    ) -> pd.DataFrame:
        """Return features in the unit of what is learned: distances from the level, in spreads."""
        spread = self.spread[places.series]
        found = features.copy()
        for name in features:
            if name in of_level:
                found[name] = (features[name] - anchors) / spread
            elif name in of_spread:
                found[name] = features[name] / spread
        return found

    def to_learn(self, target: Floats, anchors: Floats, places: Places) -> Floats:
        """Return what is learned of targets."""
        return (self.put(target) - anchors) / self.spread[places.series]

    def back(self, learned: Floats, anchors: Floats, places: Places) -> Floats:
        """Return targets of what was learned."""
        return self.undo(learned * self.spread[places.series] + anchors)


def choose_transform(
    features: TimeSeriesFeatures,
    history: History,
    transform: Literal["auto", "log", "none"],
    detrend: bool | Literal["auto"],
    like: TimeSeriesFeatures | None = None,
) -> TargetTransform:
    """Choose how a target is told, on the training part.

    Parameters
    ----------
    features : TimeSeriesFeatures
        Not fitted, or to something else; with the horizon.
    history : History
        The training part.
    transform : {"auto", "log", "none"}
        "auto": the logarithm of positive series whose spread grows with their level.
    detrend : bool or "auto"
        Whether distances from a rolling mean are learned. "auto": where they spread less than the
        series.
    like : TimeSeriesFeatures, optional
        Whose features are to be had.
    """
    least = float(np.nanmin(history.values))
    positive = least > 0
    if transform == "log" and not positive:
        raise ValueError(
            f"transform='log' needs a target above zero, and the least is {least:g}; take 'none', "
            "or shift the target."
        )
    features = features.fit_history(history, like)
    season = features.seasons_[0] if features.seasons_ else BLOCK
    log = transform == "log" or (
        transform == "auto" and positive and spread_grows_with_level(history.values, season)
    )
    values = np.log(history.values) if log else history.values
    level = None
    if detrend is True or detrend == "auto":
        means = _levels(features.fit_history(replace(history, values=values), features))
        ratios = {name: _share_of_spread(values, mean) for name, mean in means.items()}
        best = min(ratios, key=lambda name: ratios[name], default=None)
        if detrend is True and (best is None or ratios[best] == np.inf):
            raise ValueError(
                f"detrend=True: {len(values)} stamps are too few to follow a level one horizon "
                f"({features.horizon}) before; leave it out."
            )
        if best is not None and (detrend is True or ratios[best] < FOLLOWS):
            level = best
    lines = pd.DataFrame(values, dtype=np.float64)
    spread = lines.std().to_numpy(dtype=np.float64)
    return TargetTransform(
        log=log,
        level=level,
        center=lines.mean().fillna(0.0).to_numpy(dtype=np.float64),
        spread=np.where(np.isfinite(spread) & (spread > 0), spread, 1.0),
    )


def spread_grows_with_level(values: Floats, season: int) -> bool:
    """Tell whether series swing more where they are higher, in proportion or nearly so.

    As Guerrero (1993) does, by blocks of a season: the slope of log spread over log level.
    """
    slopes = []
    for series in values.T:
        known = series[np.isfinite(series)]
        blocks = known[: len(known) // season * season].reshape(-1, season)
        if len(blocks) < MIN_BLOCKS:
            continue
        time = np.arange(season) - (season - 1) / 2
        slope = blocks @ time / (time @ time)
        swings = (blocks - blocks.mean(axis=1, keepdims=True) - slope[:, None] * time).std(axis=1)
        levels = blocks.mean(axis=1)
        if (swings <= 0).any() or levels.max() < MIN_RISE * levels.min():
            continue
        slopes.append(np.polyfit(np.log(levels), np.log(swings), 1)[0])
    return bool(slopes) and float(np.median(slopes)) > GROWS


def _levels(features: TimeSeriesFeatures) -> dict[str, Floats]:
    """Return the rolling means over whole seasons of all places, as rows there would see them."""
    lines, step = pd.DataFrame(features.history_.values), (int(features.horizon) + 1) // 2
    return {
        f"mean_{window}": features.rolling(lines, window).mean().shift(step).to_numpy()
        for window in features.windows_
        if window >= max(features.seasons_, default=0)
    }


def _share_of_spread(values: Floats, level: Floats) -> float:
    """Return how far values spread around a level, over how far they spread, the median series."""
    both = np.isfinite(values) & np.isfinite(level)
    shares = [_share(values[there, n], level[there, n]) for n, there in enumerate(both.T)]
    known = [share for share in shares if share is not None]
    return float(np.median(known)) if known else np.inf


def _share(values: npt.NDArray[Any], level: npt.NDArray[Any]) -> float | None:
    if len(values) < BLOCK or not np.std(values) > 0:
        return None
    return float(np.std(values - level) / np.std(values))
