"""What the ending of a file's name says of it, known without reading the file."""

from __future__ import annotations

from pathlib import Path

TABLES = ("csv", "parquet", "json", "jsonl")
FITTED = (".joblib", ".tabpfn_fit")  # a fitted estimator: of this package, of tabpfn
NETWORKS = (".safetensors", ".ckpt")  # a network without rows


def table_kind(path: str | Path) -> str:
    """Return which of `TABLES` a file is: the last of its endings that is one.

    Raises
    ------
    ValueError
        When it has none of them.
    """
    for suffix in reversed(Path(path).suffixes):
        if suffix[1:].lower() in TABLES:
            return suffix[1:].lower()
    raise ValueError(f"{path} has none of the endings {', '.join(f'.{kind}' for kind in TABLES)}.")
