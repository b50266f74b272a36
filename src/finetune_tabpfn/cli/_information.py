"""What there is to work with here: base models, device, versions. Downloads nothing."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from finetune_tabpfn import __version__, _tabpfn
from finetune_tabpfn._tasks import Kind
from finetune_tabpfn.finetuning import _defaults
from finetune_tabpfn.finetuning._batches import available_memory
from finetune_tabpfn.models import _base_models

PACKAGES = ("tabpfn", "torch", "scikit-learn", "numpy", "pandas")
OPTIONAL = ("peft", "wandb", "tensorboard", "mlflow")
INSTEAD = {"mlflow": "mlflow-skinny"}  # what serves as well
TASKS: tuple[Kind, ...] = ("classification", "regression")


def information() -> dict[str, Any]:
    """Return what a report of a problem, or a script, wants to know, as JSON-like data."""
    return {
        "auto": {kind: resolved_auto(kind) for kind in TASKS},
        "base_models": base_models_here(),
        "cache": str(_tabpfn.cached_path("v2", "classification").parent),
        "token": _tabpfn.has_token(),
        "device": device_here(),
        "versions": versions_here(),
    }


def resolved_auto(kind: Kind) -> dict[str, Any]:
    """Return what `base_model="auto"` is here for a task, and why."""
    default = _tabpfn.default_version()
    model = _base_models.in_cache(kind)
    if model is None:
        offline = " (HF_HUB_OFFLINE is set: it will not be)" if _offline() else ""
        why = (
            f"neither {default}, which a plain TabPFN estimator uses, nor v2 is in TabPFN's cache; "
            f"v2 is downloaded at the first fit{offline}, and if that fails, this is used"
        )
        model = _base_models.mini(kind)
    elif model.name == default:
        why = "the version that a plain TabPFN estimator uses is in TabPFN's cache"
    else:
        why = f"{default}, which a plain TabPFN estimator uses, is not in TabPFN's cache and v2 is"
    return {"name": model.name, "licence": model.licence, "path": str(model.path), "why": why}


def base_models_here() -> list[dict[str, Any]]:
    """Return every base model that has a name: its licence, and for which tasks it is here."""
    rows = [{"name": "mini", "licence": _base_models.APACHE, "here": list(TASKS), "login": False}]
    for name, licence in _base_models.LICENCES.items():
        here = [kind for kind in TASKS if _tabpfn.cached_path(name, kind).is_file()]
        login = licence == _base_models.NON_COMMERCIAL
        rows.append({"name": name, "licence": licence, "here": here, "login": login})
    return rows


def device_here() -> dict[str, Any]:
    """Return the device that "auto" is, its name and the memory that is free, in MB."""
    device = _defaults.device("auto")
    cuda = device.type == "cuda"
    free = available_memory(device)
    return {
        "device": str(device),
        "name": torch.cuda.get_device_name(device) if cuda else platform.machine(),
        "threads": torch.get_num_threads(),
        "free_memory_mb": None if free is None else free / 1e6,
    }


def versions_here() -> dict[str, str | None]:
    """Return the versions of Python, this package and those around it; None if not installed."""
    found: dict[str, str | None] = {
        "finetune-tabpfn": __version__,
        "python": platform.python_version(),
    }
    for name in (*PACKAGES, *OPTIONAL):
        own, instead = _version(name), INSTEAD.get(name, name)
        if own is None and _version(instead) is not None:
            name, own = instead, _version(instead)
        found[name] = own
    return found


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _offline() -> bool:
    return bool(os.environ.get("HF_HUB_OFFLINE"))
