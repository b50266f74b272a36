"""Fine-tune TabPFN to one table inside ``fit``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finetune_tabpfn._api import fine_tune_tabpfn
    from finetune_tabpfn._estimates import estimate_memory, estimate_seconds
    from finetune_tabpfn._estimators import FinetunedTabPFNClassifier, FinetunedTabPFNRegressor
    from finetune_tabpfn._multi_table import fine_tune_base_model
    from finetune_tabpfn.finetuning._settings import Checkpoint, LoRA
    from finetune_tabpfn.forecasting._forecaster import FinetunedTabPFNForecaster
    from finetune_tabpfn.loggers._base import Logger
    from finetune_tabpfn.loggers._plot import TrainingCurveDisplay
    from finetune_tabpfn.training._callbacks import Callback

    __version__: str

__all__ = [
    "Callback",
    "Checkpoint",
    "FinetunedTabPFNClassifier",
    "FinetunedTabPFNForecaster",
    "FinetunedTabPFNRegressor",
    "LoRA",
    "Logger",
    "TrainingCurveDisplay",
    "__version__",
    "estimate_memory",
    "estimate_seconds",
    "fine_tune_base_model",
    "fine_tune_tabpfn",
]

_HOMES = {
    "Callback": "training._callbacks",
    "Checkpoint": "finetuning._settings",
    "FinetunedTabPFNClassifier": "_estimators",
    "FinetunedTabPFNForecaster": "forecasting._forecaster",
    "FinetunedTabPFNRegressor": "_estimators",
    "LoRA": "finetuning._settings",
    "Logger": "loggers._base",
    "estimate_memory": "_estimates",
    "estimate_seconds": "_estimates",
    "fine_tune_base_model": "_multi_table",
    "fine_tune_tabpfn": "_api",
    "TrainingCurveDisplay": "loggers._plot",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for.

    torch takes seconds, in which the program must have begun: it answers Ctrl-C in one line.
    """
    if name == "__version__":
        found: Any = _version()
    elif name in _HOMES:
        found = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("finetune-tabpfn")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0"


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
