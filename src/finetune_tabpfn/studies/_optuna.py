"""Adaptive search with Optuna: what it proposes next, and which fits it gives up.

The experiments' own records are its memory: a worker reads those that are over, so there is no
second state that could disagree with them, and a search goes on wherever its folder is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_tabpfn.studies._experiment import PRUNED, Proposed
from finetune_tabpfn.studies._search_space import Range, SearchSpace, Settings
from finetune_tabpfn.studies._study_comparison import signed
from finetune_tabpfn.studies._study_records import Experiment, read_experiments
from finetune_tabpfn.training._callbacks import Callback
from finetune_tabpfn.training._state import TrainState
from finetune_tabpfn.utils._optional import require

SEED_STEP = 1000  # so that trials of one search never draw what those of the next seed draw


def check_space(space: Mapping[str, Any]) -> SearchSpace:
    """Return a space that Optuna can search."""
    if not isinstance(space, Mapping) or not space:
        raise ValueError(f"space={space!r} must be a mapping of names to values, not an empty one.")
    for name, values in space.items():
        if isinstance(values, Range):
            continue
        plain = (str, int, float, bool, type(None))
        if not isinstance(values, (list, tuple)) or not values:
            raise ValueError(f"space has {name}={values!r}, which must be a list or a Range.")
        odd = [value for value in values if not isinstance(value, plain)]
        if odd:
            raise ValueError(
                f"space has {name} with the value {odd[0]!r}; Optuna takes text, numbers, booleans "
                "and None."
            )
    return SearchSpace(space)


@dataclass(frozen=True)
class Proposal:
    """What an adaptive search tries next, decided when a worker has time for it.

    Attributes
    ----------
    base_dir : pathlib.Path
    search : str
        Key of the search.
    number : int
        Of the trial in it.
    space : SearchSpace
    shared : dict
        Settings that all trials share.
    metric : str
    random_state : int
    prune : bool
    """

    base_dir: Path
    search: str
    number: int
    space: SearchSpace
    shared: Settings
    metric: str
    random_state: int
    prune: bool

    def __call__(self) -> Proposed:
        """Return settings, and the callback that ends a fit which is behind the others."""
        optuna = require("optuna", "An adaptive search")
        with quiet(optuna):
            study = optuna.create_study(
                direction="maximize",
                sampler=optuna.samplers.TPESampler(
                    seed=self.random_state * SEED_STEP + self.number
                ),
                pruner=optuna.pruners.MedianPruner(),
            )
            study.add_trials(
                [self._trial(optuna, one) for one in trials_of(self.base_dir, self.search)]
            )
            trial = study.ask()
            settings = {**self.shared, **self.space.ask(trial)}
        return settings, [Pruning(trial)] if self.prune else []

    def _trial(self, optuna: Any, experiment: Experiment) -> Any:
        """Return an experiment that is over as a trial of Optuna's."""
        state = optuna.trial.TrialState
        value = signed(experiment, self.metric) if experiment.status == "done" else None
        return optuna.trial.create_trial(
            params={name: experiment.parameters[name] for name in self.space},
            distributions={name: distribution(optuna, v) for name, v in self.space.items()},
            value=value,
            state=state.PRUNED if value is None else state.COMPLETE,
            intermediate_values={
                row["step"]: row["score"]
                for row in experiment.history
                if row["fold"] == 0 and row["score"] is not None
            },
        )


class Pruning(Callback):
    """Ends a fit whose best score so far is below the median of the others at the same step.

    Parameters
    ----------
    trial : optuna.trial.Trial
    """

    def __init__(self, trial: Any) -> None:
        self.trial = trial

    def after_evaluation(self, state: TrainState) -> str | None:
        """Report the score."""
        self.trial.report(state.history[-1].score, state.step)
        return PRUNED if self.trial.should_prune() else None


def trials_of(base_dir: Path, search: str) -> list[Experiment]:
    """Return the experiments of a search that are over and did not fail, one for each number."""
    found = {
        one.number: one
        for one in read_experiments(base_dir)
        if one.search == search and one.number is not None and one.status != "failed"
    }
    return [found[number] for number in sorted(found)]


def distribution(optuna: Any, values: Any) -> Any:
    """Return a list of values or a range as Optuna's own."""
    kinds = optuna.distributions
    if not isinstance(values, Range):
        return kinds.CategoricalDistribution(tuple(values))
    kind = kinds.IntDistribution if values.is_whole else kinds.FloatDistribution
    return kind(values.low, values.high, log=values.log)


@contextmanager
def quiet(optuna: Any) -> Iterator[None]:
    """Let Optuna say nothing of a study that stands for another one."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
