"""How the mini models that ship with this package were continued, as settings to begin with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from finetune_tabpfn._tasks import Kind
from finetune_tabpfn.models._base_models import mini

RECIPES: dict[str, Kind] = {"mini-classifier": "classification", "mini-regressor": "regression"}
RATES = {"muon_lr": 3e-3, "adamw_lr": 1.5e-3}
# one H100, nine minutes: docs/mini.md
ON_A_GPU = {
    "precision": "bf16",
    "cells_per_pass": 800_000,
    "tables_per_world": 12,
    "stages": {0.25: [384, 2], 0.6: [1024, 2], 1: [2048, 2]},
    "ema_decay": 0.998,
}
ON_A_CPU = {"begin": 0.4, "ema_decay": 0.985, "validation_passes": 16}
MOST_WORKERS = 7  # an H100 was never kept waiting by so many


def recipe(name: str, device: torch.device) -> dict[str, Any]:
    """Return arguments of the command, by name, that continue a shipped mini model.

    Parameters
    ----------
    name : {"mini-classifier", "mini-regressor"}
    device : torch.device
        That it is continued on: a GPU is given larger passes, and processes that draw for it.

    Raises
    ------
    ValueError
        For any other name.
    """
    if name not in RECIPES:
        raise ValueError(f"recipe={name!r} must be {' or '.join(map(repr, RECIPES))}.")
    kind = RECIPES[name]
    on_device = ON_A_GPU if device.type == "cuda" else ON_A_CPU
    workers = min(MOST_WORKERS, (os.cpu_count() or 1) - 1) if device.type == "cuda" else 0
    start: Path = mini(kind).path
    return {"kind": kind, "start": start, "seconds": 500.0, "workers": workers} | RATES | on_device
