"""Base models that the benchmarks share: the shipped ones, and random ones of official sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from finetune_tabpfn import _tabpfn
from finetune_tabpfn._tasks import Kind
from finetune_tabpfn.models._base_models import mini

# what the official checkpoints hold; random weights cost the same time and memory
SIZES: dict[str, tuple[str, dict[str, Any]]] = {
    "v2-size": (
        "tabpfn_v2",
        {"emsize": 192, "nlayers": 12, "nhead": 6, "features_per_group": 2},
    ),
    "v3-size": ("tabpfn_v3", {}),
}


def base(name: str, kind: Kind, folder: Path) -> Path:
    """Return the file of "mini", of a random network of a size, or the path as it is given."""
    if name == "mini":
        return mini(kind).path
    if name not in SIZES:
        return Path(name).resolve()
    architecture, sizes = SIZES[name]
    version = architecture.removeprefix("tabpfn_")
    path = (folder / f"random-{version}-{kind}.safetensors").resolve()
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        specs = _tabpfn.new_network(
            kind,
            architecture,
            sizes,
            n_outputs=10 if kind == "classification" else 1000,
            border=20.0,
            inference={},
            seed=0,
        )
        _tabpfn.write_checkpoint(specs, path, {"licence": "none: random weights"})
    return path
