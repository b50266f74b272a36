"""JSON as the standard has it, and names that are written almost right."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# what others of the field call a parameter; None: nothing here is like it
ELSEWHERE = {
    "cv": "n_folds",
    "epochs": "max_steps",
    "eval_metric": "scoring",
    "eval_set": "X_val",
    "label": "target",
    "lr": "learning_rate",
    "metric": "scoring",
    "model": "base_model",
    "n_epochs": "max_steps",
    "n_jobs": None,
    "output": "out",
    "rows": "n_rows",
    "seed": "random_state",
    "steps": "max_steps",
    "timeout": "time_limit",
    "validation_data": "X_val",
}


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
    """Return the name that is meant: in other words, or written almost so; None where none is."""
    known = {_word(other): other for other in names}
    word = _word(name)
    if word in ELSEWHERE and (ELSEWHERE[word] is None or ELSEWHERE[word] in known):
        return known.get(str(ELSEWHERE[word]))
    return known.get(next(iter(difflib.get_close_matches(word, known, n=1)), ""))


def _word(name: object) -> str:
    """Return the name of a parameter or of an option as one and the same."""
    return str(name).lstrip("-").replace("-", "_")
