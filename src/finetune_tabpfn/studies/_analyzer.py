"""What a study says, and what it has too few runs to say."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from finetune_tabpfn.studies._importance import Importance, Runs, importance_of, interactions_of
from finetune_tabpfn.studies._report import write_report
from finetune_tabpfn.studies._study import Study
from finetune_tabpfn.studies._study_comparison import best_of, comparison, metric_name, of_table
from finetune_tabpfn.studies._study_noise import (
    curves_of,
    curves_verdict,
    overfitting_of,
    overfitting_verdict,
    seeds_of,
    seeds_verdict,
)
from finetune_tabpfn.studies._study_records import Experiment, labels_of


class StudyAnalyzer:
    """Reads a study: what matters, what overfits, what is noise.

    Parameters
    ----------
    study : Study, str or pathlib.Path
        Or the folder of one. It is read once, when something is asked first.
    metric : str, optional
        What is looked at, such as "validation_roc_auc"; the validation log-loss or RMSE if not
        given.
    table : str, optional
        Only the experiments on this table. Those of several tables are compared by their ranks
        within each.

    Examples
    --------
    >>> from finetune_tabpfn.studies import StudyAnalyzer
    >>> StudyAnalyzer("an-empty-folder").importance().verdict
    'Too thin to say: 0 runs, 6 are needed.'
    """

    def __init__(
        self, study: Study | str | Path, metric: str | None = None, table: str | None = None
    ) -> None:
        self.study = study if isinstance(study, Study) else Study(study)
        self._metric, self._table = metric, table

    @cached_property
    def experiments(self) -> list[Experiment]:
        """Those that are looked at, by time."""
        found = self.study.load()
        if self._table is not None:
            return of_table(found, self._table)
        tasks = {one.task for one in found}
        if len(tasks) > 1:
            names = list(labels_of(found).values())
            raise ValueError(
                f"The study has tasks of both kinds; say which table: table={names[0]!r}, say."
            )
        return found

    @property
    def metric(self) -> str:
        """What is looked at."""
        task = self.experiments[0].task if self.experiments else "classification"
        return metric_name(self._metric, task)

    @property
    def done(self) -> list[Experiment]:
        """The experiments that have metrics."""
        return [one for one in self.experiments if one.status == "done"]

    def compare(self) -> pd.DataFrame:
        """Return a row per experiment, as `Study.compare` does.

        Returns
        -------
        DataFrame
        """
        return comparison(self.experiments)

    def best(self) -> dict[str, Experiment]:
        """Return the best experiment of each table, by its label.

        Returns
        -------
        dict of str to Experiment
        """
        labels = labels_of(self.done)
        return {
            label: best_of([o for o in self.done if o.table["fingerprint"] == key], self.metric)
            for key, label in labels.items()
        }

    def importance(self) -> Importance:
        """Say which hyperparameters matter.

        Signed rank correlations, tested by permutations. With 30 runs or more, and ten for each
        hyperparameter, shares of the variance by Optuna's fANOVA. With fewer than six runs,
        nothing.

        Returns
        -------
        Importance
        """
        return self._importance

    def interactions(self) -> pd.DataFrame:
        """Return for each pair of hyperparameters whether the one changes what the other does.

        Columns pair, share, p_value and matters; no rows where there are too few runs.

        Returns
        -------
        DataFrame
        """
        return self._interactions

    def overfitting(self) -> pd.DataFrame:
        """Return the gap between training and validation of each experiment.

        Columns id, table, folds, train, validation, gap, spread, units and overfits: the gap in
        units of the spread over the folds, and whether that is more than two.

        Returns
        -------
        DataFrame
        """
        return overfitting_of(self.done, self.metric.partition("_")[2])

    def seeds(self) -> pd.DataFrame:
        """Say of settings with several seeds whether a difference is larger than the noise.

        Columns table, settings, seeds, mean, std, behind, p_value and larger_than_noise.

        Returns
        -------
        DataFrame
        """
        return seeds_of(self.done, self.metric)

    def learning_curves(self) -> pd.DataFrame:
        """Return the evaluations of all experiments, pruned ones among them.

        Returns
        -------
        DataFrame
        """
        return curves_of(self.experiments)

    def insights(self) -> dict[str, dict[str, Any]]:
        """Return what is known of each table, by its label.

        Returns
        -------
        dict of str to dict
        """
        labels = labels_of(self.experiments)
        return {labels[one.table["fingerprint"]]: one.insights for one in self.experiments}

    def verdicts(self) -> dict[str, str]:
        """Return what the study says to each question, in a sentence.

        Returns
        -------
        dict of str to str
        """
        return {
            "Which hyperparameters matter": self.importance().verdict,
            "Interactions": self._interactions_verdict(),
            "Overfitting": overfitting_verdict(self.overfitting()),
            "Seeds against settings": seeds_verdict(self.seeds()),
            "Learning curves": curves_verdict(self.done),
        }

    def report(self, path: str | Path) -> Path:
        """Write all of it as one HTML file with its figures, which needs nothing else.

        Needs the library matplotlib, which the extra "studies" brings.

        Parameters
        ----------
        path : str or pathlib.Path
            Ends in .html.

        Returns
        -------
        pathlib.Path
            The file.
        """
        return write_report(self, Path(path))

    @cached_property
    def _runs(self) -> Runs:
        return Runs.of(self.done, self.metric)

    @cached_property
    def _importance(self) -> Importance:
        return importance_of(self._runs)

    @cached_property
    def _interactions(self) -> pd.DataFrame:
        return interactions_of(self._runs)

    def _interactions_verdict(self) -> str:
        table = self.interactions()
        if table.empty:
            return "Too thin to say: fewer than two hyperparameters were varied, or too few runs."
        clear = list(table["pair"][table["matters"]])
        if not clear:
            return f"No pair ({len(table)} tested) is clearly more than the sum of its parts."
        return f"Clearly more than the sum of their parts: {', '.join(clear)}."
