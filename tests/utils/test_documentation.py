"""Links to the documentation."""

import importlib
import re
from pathlib import Path

import pytest
from sklearn.pipeline import make_pipeline

from finetune_tabpfn import (
    FinetunedTabPFNClassifier,
    FinetunedTabPFNForecaster,
    FinetunedTabPFNRegressor,
)
from finetune_tabpfn.forecasting import SeasonalNaive, TimeSeriesFeatures
from finetune_tabpfn.utils._documentation import DOCUMENTATION

PYPROJECT = (Path(__file__).parents[2] / "pyproject.toml").read_text()
ESTIMATORS = [
    FinetunedTabPFNClassifier,
    FinetunedTabPFNForecaster,
    FinetunedTabPFNRegressor,
    SeasonalNaive,
    TimeSeriesFeatures,
]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_what_a_notebook_shows_links_to_the_page_of_the_estimator(estimator):
    shown = make_pipeline(estimator())._repr_html_()
    (page,) = set(re.findall(rf'href="{DOCUMENTATION}api/generated/([\w.]+)\.html"', shown))
    package, _, name = page.rpartition(".")
    assert getattr(importlib.import_module(package), name) is estimator
    assert name in importlib.import_module(package).__all__


def test_a_subclass_of_the_users_links_nowhere():
    own = type("Own", (FinetunedTabPFNClassifier,), {"__module__": "own"})
    assert DOCUMENTATION not in own()._repr_html_()


def test_the_package_names_the_same_documentation():
    assert f'Documentation = "{DOCUMENTATION}"' in PYPROJECT
