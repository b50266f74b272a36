"""Search the settings of a forecaster: train, validation and test tables, one after the other.

python examples/forecast_study.py
"""

import numpy as np
import pandas as pd

from finetune_tabpfn.studies import Study, StudyAnalyzer

month = np.arange(132)
rng = np.random.default_rng(0)
visits = rng.normal(size=132)  # known up to the month in which a forecast is made, no further
sales = 100 * np.exp(0.006 * month + 0.2 * np.sin(2 * np.pi * month / 12))
sales *= np.exp(0.05 * np.r_[0, visits[:-1]] + 0.03 * rng.normal(size=132))
months = pd.date_range("2014-01-01", periods=132, freq="MS")
table = pd.DataFrame({"month": months, "visits": visits, "sales": sales})
train, validation, test = table[:96], table[96:114], table[114:]

study = Study("sales-study", task="forecasting", save_models=False)
study.grid_search(
    {"learning_rate": [1e-4, 1e-3], "past_covariates": [None, ["visits"]]},
    train,
    validation,  # decides when a fit stops and what is deployed; by it settings are compared
    test,  # decides nothing
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
best = study.best("validation_mase")
print(study.compare()[["hp_learning_rate", "hp_past_covariates", "validation_mase", "test_mase"]])
print(f"fine-tuned with {best.parameters['learning_rate']}: {best.test}")
print(best.insights["regimes"]["series"]["sales"])
for question, verdict in StudyAnalyzer(study).verdicts().items():
    print(f"{question}: {verdict}")
