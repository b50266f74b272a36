"""Fine-tuned TabPFN in AutoML libraries; each is imported when its class is asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from finetune_tabpfn.utils._optional import MissingLibraryError

if TYPE_CHECKING:
    from finetune_tabpfn.automl._autogluon import FinetunedTabPFNModel
    from finetune_tabpfn.automl._flaml import FinetunedTabPFNEstimator
    from finetune_tabpfn.automl._tabarena import tabarena_entry

__all__ = ["FinetunedTabPFNEstimator", "FinetunedTabPFNModel", "tabarena_entry"]

# by the name: its module, the library that this needs and what to install
_HOMES = {
    "FinetunedTabPFNEstimator": ("_flaml", "flaml", "flaml>=2.7"),
    "FinetunedTabPFNModel": ("_autogluon", "autogluon.tabular", "autogluon.tabular>=1.6,<1.7"),
    "tabarena_entry": ("_tabarena", "tabarena", "tabarena>=0.1,<0.2"),
}


def __getattr__(name: str) -> Any:
    """Import what belongs to a library when it is asked for: the libraries exclude each other."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, library, install = _HOMES[name]
    try:
        importlib.import_module(library)
    except ImportError as error:
        raise MissingLibraryError(
            f'{name} needs the library {library}: pip install "{install}".'
        ) from error
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
