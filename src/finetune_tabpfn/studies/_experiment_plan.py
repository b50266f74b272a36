"""What the experiments of one call share: tables, settings, and the key of what is done already."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finetune_tabpfn.models._export import as_plain
from finetune_tabpfn.studies._experiment import Job
from finetune_tabpfn.studies._optuna import Proposal
from finetune_tabpfn.studies._search_space import Settings
from finetune_tabpfn.studies._study_series import NOT_VARIED, SeriesTables
from finetune_tabpfn.studies._study_tables import StudyTables
from finetune_tabpfn.utils._text import to_json, unknown_name

# of the settings, what a study itself decides
OF_THE_STUDY = {
    "validation": "give the rows to validate on, or a splitter, as validation of the study's call",
    "n_folds": "give a splitter as validation of the study's call",
    "n_validation_windows": "give the rows to validate on, or a splitter, as validation of the "
    "study's call",
    "log_dir": "an experiment's loggers write into its own folder",
    "checkpoint": "an experiment that was interrupted is run again",
    "checkpoint_every": "an experiment that was interrupted is run again",
    "resume": "an experiment that was interrupted is run again",
    "verbose": "Study(..., verbose=True) says a line when an experiment begins and ends",
}


@dataclass(frozen=True)
class ExperimentPlan:
    """What the experiments of one call share, checked before any fit.

    Attributes
    ----------
    tables : StudyTables or SeriesTables
    parameters : dict
        Settings that all experiments share.
    base_dir : pathlib.Path
    name, notes : str
    save_models, verbose : bool
    insights : dict
    """

    tables: StudyTables | SeriesTables
    parameters: Settings
    base_dir: Path
    name: str
    notes: str
    save_models: bool
    verbose: bool
    insights: dict[str, Any] = field(default_factory=dict)

    def settings(self, varied: Mapping[str, Any] | None = None) -> Settings:
        """Return the settings of an experiment, checked."""
        of_one = self.tables.own_names(varied or {})
        for name in NOT_VARIED:
            if name in of_one:
                raise ValueError(
                    f"{name}={of_one[name]!r} is varied; give it among parameters, because "
                    "experiments are compared that forecast the same."
                )
        found = {"random_state": 0, **self.tables.own_names(self.parameters), **of_one}
        for name in found:
            if name in OF_THE_STUDY:
                raise ValueError(
                    f"parameters hold {name}={found[name]!r}, which a study decides: "
                    f"{OF_THE_STUDY[name]}."
                )
            if name not in self.tables.names:
                raise ValueError(unknown_name("parameters hold", name, self.tables.names))
        if found["random_state"] is None:
            raise ValueError(
                "random_state=None would give other results every time; a number does."
            )
        self.tables.new_estimator(found)._validate_params()
        return found

    def key(self, settings: Any) -> str:
        """Return a hash of the rows, how they are divided, and settings."""
        plain = to_json(as_plain(settings), indent=None, sort_keys=True)
        return hashlib.sha256(f"{self.tables.key} {plain}".encode()).hexdigest()[:32]

    def job(self, settings: Settings | Proposal) -> Job:
        """Return an experiment to run."""
        return Job(
            base_dir=self.base_dir,
            name=self.name,
            notes=self.notes,
            tables=self.tables,
            settings=settings,
            key=self.key(settings),
            insights=self.insights,
            save_models=self.save_models,
            verbose=self.verbose,
        )
