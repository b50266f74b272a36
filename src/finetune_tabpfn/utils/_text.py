"""JSON as the standard has it, and names that are written almost right."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def to_json(result: Any, **layout: Any) -> str:
    """Return JSON as the standard has it: what is not finite is null, paths are text.

    Parameters
    ----------
    result : object
        Nothing but numbers, texts, lists and mappings; of numpy as well. Anything else is text.
    **layout
        As `json.dumps` takes it; indented by two spaces where nothing is said.
    """
    return json.dumps(_plain(result), allow_nan=False, default=str, **{"indent": 2, **layout})


def to_json_line(record: Any, **layout: Any) -> str:
    """Return JSON in one line, with its end."""
    return to_json(record, indent=None, **layout) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # of numpy
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def counted(number: int, thing: str) -> str:
    """Return a number with what it counts: "1 step", "2 steps"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def unknown_name(where: str, name: object, names: Iterable[str]) -> str:
    """Return the sentence for a name that is none of those that are known."""
    known = list(names)
    near = nearest(name, known)
    hint = f"did you mean {near!r}?" if near else f"known are {', '.join(known)}."
    return f"{where} {name!r}, which is unknown; {hint}"


def nearest(name: object, names: Iterable[str]) -> str | None:
    """Return the name that is written most like another one, None where none is."""
    return next(iter(difflib.get_close_matches(str(name), list(names), n=1)), None)
