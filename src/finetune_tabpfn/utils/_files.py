"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path


def save_whole(path: str | Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, make sure it is on disk, and put it in place.

    Parameters
    ----------
    path : str or pathlib.Path
        Replaced if it is there; its folder is made if it is not.
    write : callable
        Is given the path to write to.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{os.getpid()}.part.{path.name}")  # keeps the ending, which matters
    try:
        write(part)
        _sync(part)
        part.replace(path)
        if os.name == "posix":
            _sync(path.parent)  # that the name is on disk as well
    finally:
        part.unlink(missing_ok=True)


def remove_parts(folder: Path) -> None:
    """Remove what writers that were killed have left in a folder and in those below."""
    for part in folder.rglob(".*.part.*"):
        part.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Wait until a file or folder is on disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def damage_of(archive: Path) -> str | None:
    """Say what is wrong with a zip archive, which torch's files are; torch itself does not check.

    None where every checksum is right.
    """
    if archive.stat().st_size == 0:
        return "it is empty"
    try:
        with zipfile.ZipFile(archive) as opened:
            broken = opened.testzip()
    except (zipfile.BadZipFile, EOFError, NotImplementedError):
        return "it is not a file of torch's, or was cut short"
    return None if broken is None else f"the checksum of {broken} is wrong"


def make_first_free(folders: Iterable[Path]) -> Path:
    """Make the first of some folders that nobody has made yet, and return it."""
    for folder in folders:
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise ValueError("there is no folder left to make.")
