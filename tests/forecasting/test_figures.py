"""Figures of forecasts."""

import matplotlib.pyplot as plt
import pandas as pd

from finetune_tabpfn.forecasting import plot_forecast

PAST = pd.Series(range(30), pd.date_range("2024-01-01", periods=30), dtype=float)
FORECAST = pd.DataFrame(
    {"forecast": [30.0, 31.0], "0.1": [28.0, 28.0], "0.9": [32.0, 34.0]},
    index=pd.date_range("2024-01-31", periods=2),
)


def test_a_forecast_is_drawn_where_a_notebook_shows_it():
    figure = plot_forecast(PAST, FORECAST, title="sales")
    assert plt.gcf() is figure
    assert figure.axes[0].get_title() == "sales"
    plt.close(figure)


def test_a_forecast_is_drawn_into_axes_of_ones_own():
    figure, (left, right) = plt.subplots(1, 2)
    assert plot_forecast(PAST, FORECAST, ax=right) is figure
    assert not left.has_data()
    assert right.has_data()
    plt.close(figure)
