"""Warnings that name the user's line, from wherever in this package they come."""

from __future__ import annotations

import sys
import warnings
from contextlib import AbstractContextManager, nullcontext

# whose frames stand between a user's line and a fit: decorators, searches, pipelines
BETWEEN = ("finetune_tabpfn", "sklearn", "joblib", "contextlib")


def warn(message: str) -> None:
    """Warn of something at the line outside this package and scikit-learn that led here."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and _package(frame.f_globals) in BETWEEN:
        level, frame = level + 1, frame.f_back
    with _above_bars():
        warnings.warn(message, stacklevel=level)


def _above_bars() -> AbstractContextManager[None]:
    """Take progress bars away for a moment, if there can be any."""
    bars = sys.modules.get("tqdm.std")
    return nullcontext() if bars is None else bars.tqdm.external_write_mode(file=sys.stderr)


def _package(names: dict[str, object]) -> str:
    return str(names.get("__name__")).partition(".")[0]
