"""Metrics of forecasts, and insights into series: what they say of numbers worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from finetune_tabpfn.forecasting import forecast_metrics, regime_insights, seasonal_scale

ACTUAL = np.array([10.0, 20.0, 30.0, 40.0])
FORECAST = np.array([12.0, 18.0, 30.0, 44.0])


def test_errors():
    found = forecast_metrics(ACTUAL, FORECAST, scale=4.0, last=np.full(4, 25.0))
    assert found["mae"] == 2
    assert found["rmse"] == pytest.approx(np.sqrt(6))
    assert found["mase"] == 0.5
    assert found["smape"] == pytest.approx(np.mean([2 / 11, 2 / 19, 0, 4 / 42]))
    assert found["directional_accuracy"] == 1
    assert forecast_metrics(ACTUAL, FORECAST, last=np.full(4, 11.0))["directional_accuracy"] == 0.75


def test_the_median_loses_what_the_forecast_errs_and_an_interval_covers_what_lies_in_it():
    quantiles = {0.1: ACTUAL - 5, 0.5: FORECAST, 0.9: ACTUAL + np.array([5, 5, 5, -1])}
    found = forecast_metrics(ACTUAL, FORECAST, quantiles)
    assert found["coverage_80"] == 0.75
    lost = [0.1 * 5, 0.5 * 2, (3 * 0.1 * 5 + 0.9 * 1) / 4]
    assert found["wql"] == pytest.approx(2 * np.mean(lost) / 25)
    only_median = forecast_metrics(ACTUAL, FORECAST, {0.5: FORECAST})
    assert only_median["wql"] == pytest.approx(2 / 25)
    assert not any(name.startswith("coverage") for name in only_median)


def test_the_scale_is_the_error_of_the_seasonal_naive_forecast():
    series = np.array([1.0, 5.0, 2.0, 6.0, 3.0, 7.0])
    assert seasonal_scale(series, 2) == [1]
    assert seasonal_scale(series) == pytest.approx([(4 + 3 + 4 + 3 + 4) / 5])
    two = np.column_stack([series, [np.nan, 1, 1, 1, np.nan, 3]])
    assert seasonal_scale(two, 2).tolist() == [1, 1]
    assert np.isnan(seasonal_scale(np.ones(6)))  # a constant series has no scale
    assert np.isnan(seasonal_scale(series, 6))


def test_a_constant_series_has_no_part_in_the_scaled_error():
    scale = seasonal_scale(np.c_[[1.0, 3.0, 5.0], [4.0, 4.0, 4.0]])
    actual, forecast = np.array([7.0, 4.0]), np.array([6.0, 5.0])
    assert forecast_metrics(actual, forecast, scale=scale)["mase"] == 0.5
    assert np.isnan(forecast_metrics(actual, forecast, scale=np.full(2, np.nan))["mase"])


def test_zeros_are_no_error_of_a_forecast_of_zero():
    assert forecast_metrics(np.zeros(3), np.zeros(3))["smape"] == 0


def test_a_wild_period_is_found():
    rng = np.random.default_rng(0)
    steps = rng.normal(size=300)
    steps[100:150] *= 5
    table = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=300), "y": steps.cumsum()})
    found = regime_insights(table, "y", window=20).iloc[0]
    first, last = found["high_periods"][0][0], found["high_periods"][-1][1]
    assert table["day"][95] < first < table["day"][125]
    assert table["day"][145] < last < table["day"][175]
    assert 0.1 < found["high_volatility"] < 0.3


def test_drift_is_the_shift_of_the_end_in_spreads_of_the_rest():
    rng = np.random.default_rng(0)
    values = np.r_[rng.normal(size=200), 3 + rng.normal(size=50)]
    days = pd.date_range("2024-01-01", periods=250)
    table = pd.concat(
        [
            pd.DataFrame({"day": days, "y": values, "id": "drifts"}),
            pd.DataFrame({"day": days, "y": rng.normal(size=250), "id": "stays"}),
        ]
    )
    found = regime_insights(table, "y", id_column="id", n_test=50)
    assert found.loc["drifts", "drift"] == pytest.approx(3, abs=0.5)
    assert found.loc["drifts", "drift_p"] < 1e-6
    assert abs(found.loc["stays", "drift"]) < 0.5
