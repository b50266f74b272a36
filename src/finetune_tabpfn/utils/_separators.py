"""How the text of a CSV is written: its encoding, and what stands between its cells."""

from __future__ import annotations

import csv
import gzip
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from finetune_tabpfn.utils._endings import is_tabbed

SEPARATORS = (",", ";", "\t", "|")
LINES = 20  # that are looked at
BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")  # of UTF-16, as spreadsheets write "Unicode text"


class Writing(NamedTuple):
    """How a CSV is written."""

    encoding: str
    separator: str
    columns: tuple[str, ...]


def writing_of(path: Path) -> Writing:
    """Return how a CSV is written.

    It is separated by commas, unless another separator divides its first lines alike, and into
    more cells than a comma does; a ".tsv" is separated by tabs.

    Raises
    ------
    OSError, ValueError
        Where the file cannot be read as text.
    """
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    with opened(path, "rb") as file:
        encoding = "utf-16" if file.read(2) in BYTE_ORDER_MARKS else "utf-8-sig"
    with opened(path, "rt", encoding=encoding, newline="") as file:
        lines = [line for line in islice(file, LINES) if line.strip()]
    separators = ("\t",) if is_tabbed(path) else SEPARATORS
    divided = {each: _divided(lines, each) for each in separators}
    cells = {each: {len(line) for line in divided[each]} for each in separators}
    alike = [each for each in separators if len(cells[each]) == 1 and max(cells[each]) > 1]
    separator = max(alike, key=lambda each: max(cells[each]), default=separators[0])
    first = next(iter(divided[separator]), [])
    return Writing(encoding, separator, tuple(first))


def _divided(lines: list[str], separator: str) -> list[list[str]]:
    """Return the cells of lines, of which a quoted cell may hold several."""
    whole = list(csv.reader(lines, delimiter=separator, skipinitialspace=True))
    is_cut = len(lines) == LINES  # perhaps within a quoted cell
    return whole[:-1] if is_cut and len(whole) > 1 else whole
