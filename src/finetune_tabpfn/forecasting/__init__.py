"""Forecasts of time series: features, a forecaster, backtests, metrics and insights."""

from finetune_tabpfn.data._time_split import TimeSplit
from finetune_tabpfn.forecasting._features import TimeSeriesFeatures

__all__ = ["TimeSeriesFeatures", "TimeSplit"]
