"""Warnings that name the user's line, from wherever in this package they come."""

from __future__ import annotations

import sys
import warnings

# whose frames stand between a user's line and a fit: decorators, searches, pipelines
BETWEEN = ("finetune_tabpfn", "sklearn", "joblib", "contextlib")


def warn(message: str) -> None:
    """Warn of something at the line outside this package and scikit-learn that led here."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and _package(frame.f_globals) in BETWEEN:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)


def _package(names: dict[str, object]) -> str:
    return str(names.get("__name__")).partition(".")[0]
