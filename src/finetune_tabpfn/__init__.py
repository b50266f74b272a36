"""Fine-tune TabPFN to one table inside ``fit``."""

from importlib.metadata import PackageNotFoundError, version

from finetune_tabpfn.api import fine_tune_tabpfn
from finetune_tabpfn.curve import plot_history
from finetune_tabpfn.estimators import FinetunedTabPFNClassifier, FinetunedTabPFNRegressor
from finetune_tabpfn.records import Logger
from finetune_tabpfn.training import Callback

try:
    __version__ = version("finetune-tabpfn")
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "0"

__all__ = [
    "Callback",
    "FinetunedTabPFNClassifier",
    "FinetunedTabPFNRegressor",
    "Logger",
    "__version__",
    "fine_tune_tabpfn",
    "plot_history",
]
