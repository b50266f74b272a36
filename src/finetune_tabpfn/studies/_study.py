"""Studies: experiments with other settings, each in a folder of its own, compared in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import pandas as pd

from finetune_tabpfn.studies._experiment import run_jobs
from finetune_tabpfn.studies._experiment_plan import ExperimentPlan
from finetune_tabpfn.studies._optuna import Proposal, check_space, trials_of
from finetune_tabpfn.studies._search_space import Settings, draws_of, ends_of, grid_of, refined
from finetune_tabpfn.studies._series_insights import insights_of
from finetune_tabpfn.studies._study_comparison import best_of, comparison, metric_name, of_table
from finetune_tabpfn.studies._study_records import RESULTS, Experiment, check_name, read_experiments
from finetune_tabpfn.studies._study_tables import Tabular, study_tables
from finetune_tabpfn.utils._constraints import is_whole
from finetune_tabpfn.utils._files import save_whole
from finetune_tabpfn.utils._optional import require
from finetune_tabpfn.utils._text import counted


class Study:
    """Experiments with other settings or tables, each in a folder of its own.

    Experiments of a search run through joblib, one after the other unless
    ``joblib.parallel_config(n_jobs=2)`` or the like says otherwise.

    Parameters
    ----------
    base_dir : str or pathlib.Path
        Folder of the study, made if need be. An experiment writes into
        ``base_dir/<name>_<timestamp>/`` and nowhere else.
    task : {"auto", "classification", "regression", "forecasting"}, default="auto"
        "auto" takes what the target suggests, and never forecasts. "forecasting" needs tables with
        a DatetimeIndex or a column of dates, and among the parameters a `prediction_length`.
    save_models : bool, default=True
        Whether the fitted estimators are kept.
    missing_values : sequence of str or number
        Cells of files that stand for missing ones, beside blank ones.
    verbose : bool, default=False
        Whether a line on standard error says when an experiment begins and ends.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from finetune_tabpfn.studies import Study
    >>> iris = load_iris(as_frame=True).frame
    >>> study = Study("study", save_models=False)
    >>> found = study.grid_search(
    ...     {"learning_rate": [1e-4, 1e-3]},
    ...     iris,
    ...     target="target",
    ...     parameters={"base_model": "mini", "max_steps": 2, "n_estimators": 1},
    ... )
    >>> study.compare()[["hp_learning_rate", "status"]].values.tolist()
    [[0.0001, 'done'], [0.001, 'done']]
    """

    def __init__(
        self,
        base_dir: str | Path,
        *,
        task: str = "auto",
        save_models: bool = True,
        missing_values: Sequence[Any] = (),
        verbose: bool = False,
    ) -> None:
        self.base_dir = Path(base_dir).absolute()  # workers may stand in another folder
        if self.base_dir.exists() and not self.base_dir.is_dir():
            raise ValueError(f"base_dir={str(base_dir)!r} is a file; a study needs a folder.")
        self.task, self.save_models = task, save_models
        self.missing_values, self.verbose = tuple(missing_values), verbose

    def __repr__(self) -> str:
        done = counted(len(list(self.base_dir.glob(f"*/{RESULTS}"))), "experiment")
        return f"<Study in {str(self.base_dir)!r}: {done}; compare() lists them>"

    def run_experiment(
        self,
        train: Tabular,
        validation: Any = None,
        test: Tabular | None = None,
        *,
        target: str,
        parameters: Mapping[str, Any] | None = None,
        name: str = "experiment",
        notes: str = "",
    ) -> Experiment:
        """Fit with some settings, score, and record all of it.

        Parameters
        ----------
        train : DataFrame, str or pathlib.Path
            Rows to train on with their target, or the path of a table.
        validation : DataFrame, str, pathlib.Path, splitter or None, default=None
            Rows to validate on, which decide when to stop and by which experiments are compared;
            or a splitter of scikit-learn: a fit for each split, and the means of their metrics.
            None holds out a fifth of `train`, the same rows for all experiments. Of forecasts rows
            that follow those of `train`, a `TimeSplit`, or None: the last fifth.
        test : DataFrame, str or pathlib.Path, optional
            Rows that nothing is decided by; of forecasts the latest.
        target : str
            Name of the column to predict.
        parameters : mapping, optional
            Settings of the estimator, each by a name of its own, as in a file: "learning_rate",
            "ema_decay", "lora_rank"; of forecasts also "prediction_length", "context_length" and
            the like. `random_state` is 0 if not given.
        name : str, default="experiment"
            Begins the folder's name.
        notes : str

        Returns
        -------
        Experiment
            One that failed has the status "failed" and its `error`, which is warned of too.

        Raises
        ------
        ValueError
            For tables and settings that cannot be used, before anything is fitted.
        """
        plan = self._plan(train, validation, test, target, parameters, name, notes)
        return run_jobs([plan.job(plan.settings())])[0]

    def grid_search(
        self,
        param_grid: Mapping[str, Sequence[Any]],
        train: Tabular,
        validation: Any = None,
        test: Tabular | None = None,
        *,
        target: str,
        parameters: Mapping[str, Any] | None = None,
        name: str = "grid",
        notes: str = "",
        refine: int = 0,
        metric: str | None = None,
    ) -> list[Experiment]:
        """Run an experiment for every combination of a grid.

        What is done already in this study, with the same rows and settings, is not run again: a
        search that was interrupted goes on when it is called again.

        Parameters
        ----------
        param_grid : mapping of str to sequence
            Settings by name, each with its values.
        train, validation, test : DataFrame, str, pathlib.Path or splitter
            As of `run_experiment`.
        target : str
            Name of the column to predict.
        parameters : mapping, optional
            Settings that all experiments share.
        name, notes : str, optional
            As of `run_experiment`.
        refine : int, default=0
            So many finer grids follow, each around the best settings of the one before.
        metric : str, optional
            By which they are the best, such as "validation_roc_auc"; the validation log-loss, RMSE
            or (of forecasts) MASE if not given.

        Returns
        -------
        list of Experiment
            In the order of the grids; those that were done already among them.
        """
        if not is_whole(refine, 0):
            raise ValueError(f"refine={refine!r} must be a whole number from 0.")
        plan = self._plan(train, validation, test, target, parameters, name, notes)
        metric = metric_name(metric, plan.tables.task)
        param_grid = plan.tables.own_names(param_grid)
        found = self._search(plan, grid_of(param_grid))
        for _ in range(refine):
            best = best_of(found, metric)
            param_grid = refined(param_grid, {n: best.parameters[n] for n in param_grid})
            found += self._search(plan, grid_of(param_grid))
        return list({one.id: one for one in found}.values())

    def random_search(
        self,
        space: Mapping[str, Any],
        train: Tabular,
        validation: Any = None,
        test: Tabular | None = None,
        *,
        target: str,
        n_iter: int = 10,
        random_state: int = 0,
        parameters: Mapping[str, Any] | None = None,
        name: str = "random",
        notes: str = "",
    ) -> list[Experiment]:
        """Run experiments with settings that are drawn at random.

        Parameters
        ----------
        space : mapping
            Settings by name, each with a list of values, a `Range` or a distribution of
            scipy.stats; `search_space()` gives one.
        train, validation, test : DataFrame, str, pathlib.Path or splitter
            As of `run_experiment`.
        target : str
            Name of the column to predict.
        n_iter : int, default=10
            Draws; of lists alone no more than there are combinations.
        random_state : int, default=0
            Of the draws. The fits have that of `parameters`.
        parameters : mapping, optional
            Settings that all experiments share.
        name, notes : str, optional
            As of `run_experiment`.

        Returns
        -------
        list of Experiment
            Those that were done already among them.
        """
        plan = self._plan(train, validation, test, target, parameters, name, notes)
        return self._search(plan, draws_of(space, n_iter, random_state))

    def optuna_search(
        self,
        space: Mapping[str, Any],
        train: Tabular,
        validation: Any = None,
        test: Tabular | None = None,
        *,
        target: str,
        n_trials: int = 30,
        metric: str | None = None,
        prune: bool = True,
        random_state: int = 0,
        parameters: Mapping[str, Any] | None = None,
        name: str = "optuna",
        notes: str = "",
    ) -> list[Experiment]:
        """Run experiments with settings that follow from those before, by Optuna's TPE sampler.

        Needs the library optuna, which the extra "studies" brings. Called again, a search goes on
        up to `n_trials`.

        Parameters
        ----------
        space : mapping
            Settings by name, each with a list of values or a `Range`; `search_space()` gives one.
        train, validation, test : DataFrame, str, pathlib.Path or splitter
            As of `run_experiment`.
        target : str
            Name of the column to predict.
        n_trials : int, default=30
            Of which the first ten are random.
        metric : str, optional
            What is searched for, such as "validation_roc_auc"; the validation log-loss or RMSE if
            not given.
        prune : bool, default=True
            Whether a fit is ended whose best score so far is below the median of the earlier
            experiments' at the same step, once five are done. With a splitter, its first fold
            decides. It is recorded as "pruned", without metrics.
        random_state : int, default=0
            Of the sampler. Experiments that run at the same time do not know of each other, so
            that the search is the same each time with one worker alone.
        parameters : mapping, optional
            Settings that all experiments share.
        name, notes : str, optional
            As of `run_experiment`.

        Returns
        -------
        list of Experiment
            In the order of the trials; those that were done already among them.
        """
        require("optuna", "An adaptive search")
        check_space(space)
        if not is_whole(n_trials, 1):
            raise ValueError(f"n_trials={n_trials!r} must be a whole number from 1.")
        plan = self._plan(train, validation, test, target, parameters, name, notes)
        searched = check_space(plan.tables.own_names(space))
        for one in ends_of(searched):
            plan.settings(one)  # what none of the fits would take is said before the first
        shared = plan.settings()
        proposal = Proposal(
            base_dir=self.base_dir,
            search=plan.key(["optuna", searched, shared, metric, prune, random_state]),
            number=0,
            space=searched,
            shared=shared,
            metric=metric_name(metric, plan.tables.task),
            random_state=random_state,
            prune=prune,
        )
        return self._run_trials(plan, proposal, n_trials)

    def load(self) -> list[Experiment]:
        """Return the experiments that are over, by time.

        A record that is damaged, or of another version, is warned of by its name and left out.

        Returns
        -------
        list of Experiment
        """
        return read_experiments(self.base_dir)

    def compare(self) -> pd.DataFrame:
        """Return a row per experiment.

        Returns
        -------
        DataFrame
            id, name, status, time, seconds, table, task; ``hp_<name>`` for every setting that some
            experiment was given; ``train_<metric>``, ``validation_<metric>``,
            ``test_<metric>``, of several folds with ``validation_<metric>_spread``; notes, error.
            log_loss, brier, calibration_error, rmse, mae, median_absolute_error, crps, mase,
            smape and wql are losses, smaller is better; all others are greater when they are better
            (coverage_80 is best at .8).
        """
        return comparison(self.load())

    def to_csv(self, path: str | Path) -> Path:
        """Write what `compare` returns as CSV, whole or not at all.

        Parameters
        ----------
        path : str or pathlib.Path

        Returns
        -------
        pathlib.Path
            The file.
        """
        table = self.compare()
        save_whole(path, lambda part: table.to_csv(part, index=False))
        return Path(path)

    def best(self, metric: str | None = None, table: str | None = None) -> Experiment:
        """Return the best experiment.

        Parameters
        ----------
        metric : str, optional
            A column of `compare`, such as "validation_roc_auc": the greatest, of a loss the
            smallest. The validation log-loss or RMSE if not given. What is chosen by a test metric
            has no honest test metric any more.
        table : str, optional
            Whose experiments compete; needed where the study has several.

        Returns
        -------
        Experiment

        Raises
        ------
        ValueError
            When no experiment has the metric, or the study has several tables.
        """
        experiments = of_table(self.load(), table)
        if not experiments:
            raise ValueError(f"{self.base_dir} holds no experiment yet; run one first.")
        return best_of(experiments, metric_name(metric, experiments[0].task))

    def _plan(
        self,
        train: Tabular,
        validation: Any,
        test: Tabular | None,
        target: str,
        parameters: Mapping[str, Any] | None,
        name: str,
        notes: str,
    ) -> ExperimentPlan:
        """Check what all experiments of a call share."""
        check_name(name)
        tables = study_tables(
            train,
            validation,
            test,
            target=target,
            task=self.task,
            name=name,
            parameters=parameters or {},
            missing_values=self.missing_values,
        )
        plan = ExperimentPlan(
            tables=tables,
            parameters=dict(parameters or {}),
            base_dir=self.base_dir,
            name=name,
            notes=notes,
            save_models=self.save_models,
            verbose=self.verbose,
        )
        plan.settings()  # what is wrong with them is said before the data are looked at
        with joblib.parallel_config("sequential"):  # workers are for the fits
            return replace(plan, insights=insights_of(tables))

    def _search(self, plan: ExperimentPlan, several: Sequence[Settings]) -> list[Experiment]:
        """Run what is not done yet and return all of it, in its order."""
        jobs = [plan.job(plan.settings(settings)) for settings in several]
        done = {one.key: one for one in self.load() if one.status == "done"}
        missing = {job.key: job for job in jobs if job.key not in done}
        left = [
            replace(job, place=f"[{plan.name} {place}/{len(jobs)}]")
            for place, job in enumerate(jobs, 1)
            if missing.get(job.key) is job
        ]
        done |= {one.key: one for one in run_jobs(left)}
        return [done[job.key] for job in jobs]

    def _run_trials(
        self, plan: ExperimentPlan, proposal: Proposal, n_trials: int
    ) -> list[Experiment]:
        """Run the trials of an adaptive search that are not over, and return all."""
        search = proposal.search
        over = {one.number for one in trials_of(self.base_dir, search)}
        jobs = [
            replace(
                plan.job(replace(proposal, number=number)),
                key=f"{search}-{number}",
                search=search,
                number=number,
                place=f"[{plan.name} {number + 1}/{n_trials}]",
            )
            for number in range(n_trials)
            if number not in over
        ]
        failed = [one for one in run_jobs(jobs) if one.status == "failed"]
        found = [*trials_of(self.base_dir, search), *failed]
        placed = {one.number: one for one in reversed(found)}
        return [placed[number] for number in range(n_trials)]
