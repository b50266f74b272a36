"""Libraries that come with an extra of this package, imported where they are used."""

from __future__ import annotations

import importlib
from typing import Any

# by the name of a library, that of the extra in pyproject.toml that brings it
EXTRAS = {
    "argcomplete": "cli",
    "huggingface_hub": "hub",
    "matplotlib": "plot",
    "mlflow": "mlflow",
    "optuna": "studies",
    "peft": "lora",
    "platformdirs": "cli",
    "pyarrow": "cli",
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "yaml": "cli",
}


class MissingLibraryError(ImportError):
    """A library that something needs is not installed; the sentence says what to install."""


def require(library: str, by: str, module: str | None = None) -> Any:
    """Import a library that may not be there.

    Parameters
    ----------
    library : str
        One of `EXTRAS`.
    by : str
        What needs it, as the user knows it: how the sentence begins.
    module : str, optional
        What to return instead, which imports the library.

    Raises
    ------
    MissingLibraryError
        Where it cannot be imported.
    """
    try:
        found = importlib.import_module(library)
        return found if module is None else importlib.import_module(module)
    except ImportError as error:
        install = f'pip install "finetune-tabpfn[{EXTRAS[library]}]"'
        raise MissingLibraryError(f"{by} needs the library {library}: {install}.") from error
