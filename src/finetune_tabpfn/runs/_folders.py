"""Folders of runs: a new one for each, and a link to the best of an experiment."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import Any

from finetune_tabpfn.utils._files import make_first_free

METRICS = "metrics.json"
BEST = "best"


def new_folder(experiment: Path) -> Path:
    """Make the folder of a run that begins now, and return it.

    Named by the time, with a number behind it for the second run of a second.
    """
    now = datetime.now().strftime("%Y%m%d-%H%M%S")
    later = (experiment / f"{now}-{number}" for number in itertools.count(2))
    return make_first_free(itertools.chain([experiment / now], later))


def link_best(run: Path, best_by: str) -> Path:
    """Let the link `best` beside a run point to the best run that is comparable with it.

    Comparable are the runs of the experiment with the same target and scoring; that they held
    out the same rows is up to the user (`random_state`). Where the file system has no links,
    `best` is a file with the name of the folder.

    Parameters
    ----------
    run : pathlib.Path
        The folder of a run that is over.
    best_by : {"hold-out", "test"}

    Returns
    -------
    pathlib.Path
        The folder of the best run; `run` itself where nothing was scored.
    """
    own = json.loads((run / METRICS).read_text())
    scored = [
        (score, other)
        for other, metrics in _finished_runs(run.parent)
        if all(metrics[name] == own[name] for name in ("scoring", "target"))
        and (score := _score(metrics, best_by)) is not None
    ]
    best = max(scored, key=itemgetter(0))[1] if scored else run
    _point(run.parent / BEST, best.name)
    return best


def _finished_runs(experiment: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the runs of an experiment that came to an end; earlier first."""
    for file in sorted(experiment.glob(f"*/{METRICS}")):
        if not file.parent.is_symlink():
            yield file.parent, json.loads(file.read_text())


def _score(metrics: dict[str, Any], best_by: str) -> float | None:
    """Return the score of a run, greater is better; None where there is none."""
    scores = metrics["hold_out" if best_by == "hold-out" else "test"]
    return scores["deployed"]["score"] if scores else None


def _point(link: Path, target: str) -> None:
    """Replace a link, in one move."""
    part = link.with_name(f".{os.getpid()}.{link.name}")
    try:
        part.symlink_to(target, target_is_directory=True)
    except OSError:
        part.write_text(target + "\n")
    part.replace(link)
