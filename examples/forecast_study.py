"""
The settings of a forecaster
============================

Which learning rate suits a forecaster, and does a covariate help that is known only up to the
month in which the forecast is made? A study answers with three tables that follow each other in
time: the first trains, the second decides when a fit stops and which settings are better, the
third decides nothing and says what to expect.
"""

# %%
# Sales of eleven years
# ---------------------
# They grow, have a season, and follow the visits of the month before. Visits are known afterwards,
# so that a forecast has only those of the past.

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from finetune_tabpfn.studies import Study, StudyAnalyzer

month = np.arange(132)
rng = np.random.default_rng(0)
visits = rng.normal(size=132)
sales = 100 * np.exp(0.006 * month + 0.2 * np.sin(2 * np.pi * month / 12))
sales *= np.exp(0.05 * np.r_[0, visits[:-1]] + 0.03 * rng.normal(size=132))
months = pd.date_range("2014-01-01", periods=132, freq="MS")
table = pd.DataFrame({"month": months, "visits": visits, "sales": sales})
train, validation, test = table[:96], table[96:114], table[114:]

# %%
# Four experiments
# ----------------
# Settings have the names that forecasters use. Every experiment has a folder of its own with its
# results; a study that is interrupted goes on where it was.

folder = tempfile.TemporaryDirectory()  # one that stays, in your own study
study = Study(Path(folder.name) / "sales", task="forecasting", save_models=False)
study.grid_search(
    {"learning_rate": [1e-4, 1e-3], "past_covariates": [None, ["visits"]]},
    train,
    validation,
    test,
    target="sales",
    parameters={
        "prediction_length": 6,
        "context_length": 90,
        "warmup_steps": 2,
        "weight_decay": 0.01,
        "base_model": "mini",
        "max_steps": 15,
        "n_estimators": 2,
    },
)
columns = ["hp_learning_rate", "hp_past_covariates", "validation_mase", "test_mase"]
print(study.compare()[columns])

# %%
# What came of them
# -----------------
# The mean absolute scaled error (MASE) is below 1 where a forecast is better than repeating the
# season. The best experiment is chosen by the validation table; its error on the test table is
# what to expect.

best = study.best("validation_mase")
print(f"best: {best.parameters}, MASE on the test table {best.test['mase']:.2f}")
print(best.insights["regimes"]["series"]["sales"])

# %%
# Is a difference larger than the noise, is a fit overfitted, which setting matters? The analyzer
# says so, and says where the study is too small to tell.

for question, verdict in StudyAnalyzer(study).verdicts().items():
    print(f"{question}: {verdict}")

folder.cleanup()
