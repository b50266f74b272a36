"""Forecasts of time series: features, a forecaster, backtests, metrics and insights."""

from finetune_tabpfn.data._time_split import TimeSplit
from finetune_tabpfn.forecasting._backtest import Backtest, backtest
from finetune_tabpfn.forecasting._features import TimeSeriesFeatures
from finetune_tabpfn.forecasting._figures import plot_forecast
from finetune_tabpfn.forecasting._forecaster import FinetunedTabPFNForecaster
from finetune_tabpfn.forecasting._insights import regime_insights
from finetune_tabpfn.forecasting._metrics import forecast_metrics, seasonal_scale
from finetune_tabpfn.forecasting._naive import SeasonalNaive
from finetune_tabpfn.forecasting._names import new_forecaster

__all__ = [
    "Backtest",
    "FinetunedTabPFNForecaster",
    "SeasonalNaive",
    "TimeSeriesFeatures",
    "TimeSplit",
    "backtest",
    "forecast_metrics",
    "new_forecaster",
    "plot_forecast",
    "regime_insights",
    "seasonal_scale",
]
