"""What the ending of a file's name says of it, known without reading the file."""

from __future__ import annotations

from pathlib import Path

TABLES = ("csv", "parquet", "json", "jsonl")
ALSO_READ = {"tsv": "csv"}
SPREADSHEETS = ("xlsx", "xls", "ods")
FITTED = (".joblib", ".tabpfn_fit")  # a fitted estimator: of this package, of tabpfn
NETWORKS = (".safetensors", ".ckpt")  # a network without rows


def is_tabbed(path: str | Path) -> bool:
    """Tell whether a file's name says that tabs stand between its cells."""
    return ".tsv" in (suffix.lower() for suffix in Path(path).suffixes)


def table_kind(path: str | Path) -> str:
    """Return which of `TABLES` a file is: the last of its endings that is one; ".tsv" is "csv".

    Raises
    ------
    ValueError
        When it has none of them.
    """
    for suffix in reversed(Path(path).suffixes):
        kind = suffix[1:].lower()
        if kind in SPREADSHEETS:
            raise ValueError(f"{path} is a spreadsheet; save the sheet as CSV (UTF-8).")
        if (kind := ALSO_READ.get(kind, kind)) in TABLES:
            return kind
    raise ValueError(f"{path} has none of the endings {', '.join(f'.{kind}' for kind in TABLES)}.")
