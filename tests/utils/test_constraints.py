"""True is no number: a YAML's `yes`, or a switch in the wrong place, must not be taken for 1."""

from dataclasses import fields

import numpy as np
import pytest
from sklearn.datasets import load_iris

from finetune_tabpfn import (
    Checkpoint,
    FinetunedTabPFNClassifier,
    FinetunedTabPFNForecaster,
    FinetunedTabPFNRegressor,
    LoRA,
    estimate_memory,
)
from finetune_tabpfn.finetuning._settings import Training
from finetune_tabpfn.forecasting import TimeSplit
from finetune_tabpfn.pretraining import PretrainConfig
from finetune_tabpfn.studies import Range
from finetune_tabpfn.synthetic import make_table, schema_of

IRIS = load_iris(return_X_y=True)
SWITCHES = {"verbose", "balanced_contexts", "detrend"}
OBJECTS = {"scoring", "loggers", "validation"}  # checked apart


def refused(call, named):
    with pytest.raises((ValueError, TypeError), match=named):
        call()


@pytest.mark.parametrize(
    "estimator",
    [FinetunedTabPFNClassifier, FinetunedTabPFNRegressor, FinetunedTabPFNForecaster],
)
def test_no_parameter_takes_true_for_a_number(estimator):
    for name in set(estimator().get_params(deep=False)) - SWITCHES - OBJECTS:
        refused(estimator(**{name: True})._validate_params, name)
        refused(estimator(**{name: np.True_})._validate_params, name)
    for field in fields(Training):
        refused(estimator(training={field.name: True})._validate_params, field.name)


def test_switches_are_switches():
    FinetunedTabPFNClassifier(balanced_contexts=True, verbose=True)._validate_params()
    FinetunedTabPFNForecaster(detrend=False)._validate_params()


def test_validation_says_what_would_do():
    refused(lambda: FinetunedTabPFNClassifier(validation=True).fit(*IRIS), "validation.*True")


@pytest.mark.parametrize(
    ("named", "call"),
    {
        "rank": lambda: FinetunedTabPFNClassifier(tuning=LoRA(rank=True))._validate_params(),
        "every": lambda: FinetunedTabPFNClassifier(
            checkpoint=Checkpoint("folder", every=True)
        )._validate_params(),
        "n_rows": lambda: estimate_memory(True, 5),
        "n_columns": lambda: make_table(n_rows=20, n_columns=True),
        "min_count": lambda: schema_of(None, min_count=True),
        "n_splits": lambda: TimeSplit(n_splits=True),
        "gap": lambda: TimeSplit(gap=True),
        "ends": lambda: Range(True, 5),
        "class_weight": lambda: FinetunedTabPFNClassifier(
            base_model="mini", class_weight={0: True}
        ).fit(*IRIS),
        "test_size": lambda: TimeSplit(test_size=True),
        "eval_interval": lambda: PretrainConfig(kind="regression", eval_interval=True),
        "seconds": lambda: PretrainConfig(kind="regression", seconds=True),
    }.items(),
)
def test_what_takes_numbers_elsewhere(named, call):
    refused(call, named)


def test_a_quantile_is_a_number():
    model = FinetunedTabPFNRegressor(base_model="mini", max_steps=0, n_folds=1).fit(*IRIS)
    refused(lambda: model.predict(IRIS[0][:2], output_type="quantiles", quantiles=[True]), "quant")
