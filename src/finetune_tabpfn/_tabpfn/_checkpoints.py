"""Checkpoint files: TabPFN's versions, its cache and licence gate, and saving."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from tabpfn.architectures import ARCHITECTURES
from tabpfn.base import ModelSpecs as Specs
from tabpfn.browser_auth import get_cached_token
from tabpfn.checkpoint import Checkpoint, save_as_safetensors
from tabpfn.model_loading import resolve_model_path, resolve_model_version
from tabpfn.settings import settings

from finetune_tabpfn._tasks import Kind

WHICH: dict[Kind, Literal["classifier", "regressor"]] = {
    "classification": "classifier",
    "regression": "regressor",
}
METADATA_KEY = "finetune_tabpfn"
DOWNLOAD_SECONDS = 300.0

# Run in a process of its own: it can be given up on, it has no terminal to ask for a login at,
# and TABPFN_NO_BROWSER is set for it alone.
_DOWNLOAD = """
import sys
from pathlib import Path
from tabpfn.constants import ModelVersion
from tabpfn.model_loading import download_model
target, version, which, name = sys.argv[1:]
result = download_model(
    Path(target), version=ModelVersion(version), which=which, model_name=name
)
if result != "ok":
    sys.exit(" ".join(str(result[-1]).split()))
"""


def default_version() -> str:
    """Return the version that a plain ``TabPFNClassifier()`` uses, for example "v3.5"."""
    return str(settings.tabpfn.model_version.value)


def version_of(path: Path) -> str:
    """Return the version that tabpfn reads off a file's name: "v2" where the name has none."""
    return str(resolve_model_version(path).value)


def cached_path(version: str, kind: Kind) -> Path:
    """Return where TabPFN's cache keeps the default file of a version, there or not."""
    return Path(resolve_model_path(None, WHICH[kind], version)[0][0])


def has_token() -> bool:
    """Tell whether a token of Prior Labs is at hand, in TABPFN_TOKEN or saved by tabpfn."""
    return get_cached_token() is not None


def download(version: str, kind: Kind, timeout: float | None = None) -> str | None:
    """Download the default file of a version into TabPFN's cache, through its licence gate.

    Parameters
    ----------
    version : str
    kind : {"classification", "regression"}
    timeout : float, optional
        Seconds after which to give up; five minutes if not given.

    Returns
    -------
    str or None
        What went wrong, or None. The file appears in the cache whole or not at all.
    """
    target = cached_path(version, kind)
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return "HF_HUB_OFFLINE is set"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            file = Path(folder) / target.name
            subprocess.run(
                [sys.executable, "-c", _DOWNLOAD, str(file), version, WHICH[kind], target.name],
                env={**os.environ, "TABPFN_NO_BROWSER": "1"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=True,
                timeout=timeout if timeout is not None else DOWNLOAD_SECONDS,
            )
            file.replace(target)
    except subprocess.TimeoutExpired as error:
        return f"no answer within {error.timeout:.3g} s"
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines()
        return lines[-1] if lines else f"exit status {error.returncode}"
    except OSError as error:
        return str(error)
    return None


def read_licence(path: Path) -> str | None:
    """Return the licence that a model saved by this package names, else None."""
    if path.suffix != ".safetensors":
        return None
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get(METADATA_KEY, "{}"))
    except (SafetensorError, OSError, ValueError):
        return None  # loading it will say what is wrong with the file
    return metadata.get("licence")


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """Return the weights of a checkpoint, by name."""
    return Checkpoint(path).load()["state_dict"]


def write_checkpoint(
    specs: Specs, path: Path, metadata: dict[str, Any], dtype: torch.dtype | None = None
) -> None:
    """Write a checkpoint that a plain TabPFN estimator takes as ``model_path``.

    Parameters
    ----------
    specs : Specs
        Network, configuration and, for regression, the distribution of its output.
    path : pathlib.Path
        A ".safetensors" file, or torch's format for any other ending.
    metadata : dict
        JSON-like; kept under the key "finetune_tabpfn".
    dtype : torch.dtype, optional
        Of the stored weights; what is not trained keeps its own.
    """
    state = _state_with_distribution(specs)
    if dtype is not None:
        trained = {name for name, weight in specs.model.named_parameters() if weight.requires_grad}
        state |= {name: state[name].to(dtype) for name in trained}
    checkpoint = {
        "state_dict": state,
        "config": asdict(specs.architecture_config),
        "architecture_name": _architecture_name(specs),
        "inference_config": asdict(specs.inference_config),
        METADATA_KEY: metadata,
    }
    if path.suffix == ".safetensors":
        save_as_safetensors(checkpoint, path)
        path.chmod(0o644)  # safetensors writes files that only their owner can read
    else:
        torch.save(checkpoint, path)


def _state_with_distribution(specs: Specs) -> dict[str, torch.Tensor]:
    """Return the state of the network; up to v2.6 with its distribution's borders beside it."""
    state = dict(specs.model.state_dict())
    if specs.norm_criterion is not None and not hasattr(specs.model, "regression_borders"):
        borders = specs.norm_criterion.state_dict()
        state |= {f"criterion.{name}": tensor for name, tensor in borders.items()}
    return state


def _architecture_name(specs: Specs) -> str:
    """Return the name under which tabpfn knows the network's architecture."""
    module = type(specs.model).__module__
    for name, architecture in ARCHITECTURES.items():
        if getattr(architecture, "__name__", None) == module:
            return str(name)
    raise ValueError(f"tabpfn knows no architecture of the module {module}.")
