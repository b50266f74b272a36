"""
Forecast a time series
======================

Fine-tune on a monthly series that grows, backtest the forecast against the one that every forecast
has to beat, and look at its interval.

``python forecast.py sales.csv`` also writes the series, for the run that ``forecast.yaml``
describes.
"""

# %%
# A series
# --------
# Ten years of sales: growth, a season, and noise in proportion to both.

import sys

import numpy as np
import pandas as pd

month = np.arange(120)
noise = np.random.default_rng(0).normal(size=120)
sales = 100 * np.exp(0.01 * month + 0.2 * np.sin(2 * np.pi * month / 12) + 0.03 * noise)
table = pd.DataFrame({"month": pd.date_range("2015-01-01", periods=120, freq="MS"), "sales": sales})
if sys.argv[1:]:
    table.to_csv(sys.argv[1], index=False)

# %%
# Backtest
# --------
# A backtest forecasts from moments of the past, each from what was known then. The seasonal naive
# forecast says that a month will be as the same month of last year: MASE is the error in units of
# its error on the training part, so that below 1 is better than that.

from finetune_tabpfn import FinetunedTabPFNForecaster
from finetune_tabpfn.forecasting import SeasonalNaive, backtest, plot_forecast

candidates = {
    "fine-tuned": FinetunedTabPFNForecaster(base_model="mini", max_steps=20, random_state=0),
    "base model": FinetunedTabPFNForecaster(base_model="mini", max_steps=0, random_state=0),
    "seasonal naive": SeasonalNaive(),
}
metrics = {}
for name, forecaster in candidates.items():
    refit = name == "seasonal naive"  # the others are trained before the first window alone
    test = backtest(forecaster, table, "sales", 12, n_windows=2, refit=refit)
    metrics[name] = test.metrics
scores = pd.DataFrame(metrics).T[["mase", "wql"]]
print(scores.rename(columns={"mase": "MASE", "wql": "quantile loss"}).round(4).to_string())

# %%
# Is fine-tuning worth its time on this series? One series and two windows are little to go by, so a
# difference of a few hundredths says nothing.

gap = scores.loc["base model", "mase"] - scores.loc["fine-tuned", "mase"]
print(f"Fine-tuning changed the MASE by {-gap:+.2f}; the best is {scores['mase'].idxmin()!r}.")

# %%
# Forecast
# --------
# Fit to all months and forecast the next twelve. The series grows in proportion to itself, which
# the forecaster noticed: it learns the logarithm, less a rolling level.

model = candidates["fine-tuned"].fit(table, "sales", horizon=12)
print(model.transform_)
forecast = model.predict()
print(forecast.to_string(index=False, float_format="{:.1f}".format))

# %%
# In four of five months the sales should lie within the interval between the quantiles .1 and .9.

import matplotlib.pyplot as plt

plot_forecast(table.set_index("month")["sales"], forecast.set_index("month"))
plt.show()

# %%
# When new months come in
# -----------------------
# ``update`` gives the model a longer history and leaves its weights alone. Half a year later, with
# sales that were a tenth higher than forecast, the next month's forecast has noticed:

later = forecast.head(6)[["month", "forecast"]].rename(columns={"forecast": "sales"})
later["sales"] *= 1.1
before = forecast["forecast"].iloc[6]
model.update(pd.concat([table, later], ignore_index=True))
after = model.predict(1)["forecast"].iloc[0]
print(f"the seventh month: {before:.0f} forecast before, {after:.0f} now")
