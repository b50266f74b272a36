"""Experiments on disk: a folder for each, and one file with all that it came to."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from finetune_tabpfn.models._export import load_fitted
from finetune_tabpfn.utils._files import make_first_free, save_whole
from finetune_tabpfn.utils._text import to_json
from finetune_tabpfn.utils._warn import warn

RESULTS = "results.json"
FORMAT = 1  # of the file; another one is not read
Metrics = dict[str, float | None]
NAME = re.compile(r"[\w.+-]+")


class Experiment(BaseModel):
    """What one experiment of a study came to, as its results.json holds it.

    Attributes
    ----------
    id : str
        The name of its folder, ``<name>_<timestamp>``.
    name, notes : str
    status : {"done", "pruned", "failed"}
    time : str
        When it began.
    seconds : float
    table : dict
        What it was fitted to: label, fingerprint (of all rows and their division), rows.
    task, target : str
    parameters : dict
        As they were given; all others have their default.
    train, validation, test : dict of str to float
        Metrics, of several folds the mean; None where one cannot be had.
    validation_spread : dict of str to float
        Standard deviation over the folds; empty with one.
    folds : list of dict
        Metrics of each fold by "train", "validation" and "test", and what the fit came to.
    history : list of dict
        The evaluations of the fit, as of `history_`.
    insights : dict
        What is known of the data.
    models : list of str
        Files with the fitted estimators, one for each fold.
    error : str or None
        What a failed one failed of.
    versions : dict
    key : str
        The same for experiments that do the same.
    search : str or None
        Key of the adaptive search that it belongs to, in which it has a `number`.
    folder : pathlib.Path
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int
    id: str
    name: str
    status: Literal["done", "pruned", "failed"]
    time: str
    seconds: float
    notes: str
    table: dict[str, Any]
    task: Literal["classification", "regression", "forecasting"]
    target: str
    parameters: dict[str, Any]
    train: Metrics
    validation: Metrics
    validation_spread: Metrics
    test: Metrics
    folds: list[dict[str, Any]]
    history: list[dict[str, Any]]
    insights: dict[str, Any]
    models: list[str]
    error: str | None
    versions: dict[str, str]
    key: str
    search: str | None
    number: int | None
    folder: Path = Field(exclude=True)

    def load_model(self, fold: int = 0) -> Any:
        """Load the fitted estimator, of several folds that of one.

        Loading runs code from the file: load only experiments that you trust.

        Parameters
        ----------
        fold : int, default=0

        Returns
        -------
        FinetunedTabPFNClassifier or FinetunedTabPFNRegressor

        Raises
        ------
        ValueError
            When the experiment has none.
        """
        if not 0 <= fold < len(self.models):
            raise ValueError(
                f"fold={fold!r} has no model in {self.folder}; the experiment is {self.status} "
                f"and has {len(self.models)} of them."
            )
        return load_fitted(self.folder / self.models[fold])

    def metric(self, name: str) -> float | None:
        """Return a metric by its name with its part, such as "validation_log_loss".

        Parameters
        ----------
        name : str

        Returns
        -------
        float or None
            None where the experiment does not have it.
        """
        part, _, metric = name.partition("_")
        return getattr(self, part).get(metric)

    def save(self) -> None:
        """Write the file, whole or not at all."""
        text = to_json(self.model_dump(mode="python")) + "\n"
        save_whole(self.folder / RESULTS, lambda part: part.write_text(text, encoding="utf-8"))


def check_name(name: str) -> None:
    """Raise for a name that is none of a folder."""
    if not isinstance(name, str) or not NAME.fullmatch(name) or name.startswith("."):
        raise ValueError(
            f"name={name!r} must be letters, digits, '_', '-', '+' and '.', and not begin with a "
            "dot: it is part of a folder's name."
        )


def new_folder(base_dir: Path, name: str) -> Path:
    """Make the folder of an experiment that begins now; two workers never get the same."""
    first = base_dir / f"{name}_{datetime.now():%Y%m%d-%H%M%S}"
    later = (first.with_name(f"{first.name}-{number}") for number in itertools.count(2))
    return make_first_free(itertools.chain([first], later))


def read_experiment(file: Path) -> Experiment:
    """Read a results.json.

    Raises
    ------
    ValueError
        For a file that is damaged or of another version, by its name.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        written_as = found["format"]
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is damaged and cannot be read as JSON of a study.") from error
    if written_as != FORMAT:
        raise ValueError(
            f"{file} has format {written_as!r}, and this version reads format {FORMAT} alone."
        )
    try:
        return Experiment.model_validate({**found, "folder": file.parent})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{file} is damaged: {place}: {first['msg']}.") from error


def read_experiments(base_dir: Path) -> list[Experiment]:
    """Read all experiments that are over, by time; what cannot be read is named and left out."""
    return sorted(_readable(base_dir), key=lambda one: (one.time, one.id))


def _readable(base_dir: Path) -> Iterator[Experiment]:
    for file in sorted(base_dir.glob(f"*/{RESULTS}")):
        try:
            yield read_experiment(file)
        except ValueError as error:
            warn(f"{str(error).rstrip('.')}; it is left out.")


def labels_of(experiments: list[Experiment]) -> dict[str, str]:
    """Return a label for each table, by its fingerprint; with a part of that where labels meet."""
    named = {one.table["fingerprint"]: one.table["label"] for one in experiments}
    labels = list(named.values())
    return {
        fingerprint: label if labels.count(label) == 1 else f"{label}-{fingerprint[:6]}"
        for fingerprint, label in named.items()
    }
