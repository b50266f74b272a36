"""Forecast a monthly series that grows, backtest the forecast, and look at it.

python examples/forecast.py
"""

import numpy as np
import pandas as pd

from finetune_tabpfn import FinetunedTabPFNForecaster
from finetune_tabpfn.forecasting import SeasonalNaive, backtest, plot_forecast

month = np.arange(120)
noise = np.random.default_rng(0).normal(size=120)
sales = 100 * np.exp(0.01 * month + 0.2 * np.sin(2 * np.pi * month / 12) + 0.03 * noise)
table = pd.DataFrame({"month": pd.date_range("2015-01-01", periods=120, freq="MS"), "sales": sales})
table.to_csv("sales.csv", index=False)  # for examples/forecast.yaml

model = FinetunedTabPFNForecaster(base_model="mini", max_steps=20, random_state=0)
for name, forecaster in (("fine-tuned", model), ("seasonal naive", SeasonalNaive())):
    test = backtest(forecaster, table, "sales", 12, n_windows=2, refit=name != "fine-tuned")
    print(f"{name}: MASE {test.metrics['mase']:.2f}, quantile loss {test.metrics['wql']:.4f}")

forecast = model.fit(table, "sales", horizon=12).predict()
print(forecast.to_string(index=False, float_format="{:.1f}".format))
figure = plot_forecast(table.set_index("month")["sales"], forecast.set_index("month"))
figure.savefig("sales.png")
