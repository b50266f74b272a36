"""Without an AutoML library, one sentence says what to install."""

import importlib
import sys

import pytest

import finetune_tabpfn.automl as automl
from finetune_tabpfn.utils._optional import MissingLibraryError


@pytest.mark.parametrize(
    ("name", "library"),
    [
        ("FinetunedTabPFNModel", "autogluon.tabular"),
        ("FinetunedTabPFNEstimator", "flaml"),
        ("tabarena_entry", "tabarena"),
    ],
)
def test_what_needs_a_library_says_what_to_install(name, library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    sentence = rf'{name} needs the library {library}: pip install "{library}>='
    with pytest.raises(MissingLibraryError, match=sentence):
        getattr(importlib.import_module("finetune_tabpfn.automl"), name)


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="has no attribute 'Model'"):
        automl.Model  # noqa: B018
    assert "FinetunedTabPFNModel" in dir(automl)
