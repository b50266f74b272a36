"""Which hyperparameters matter, alone and in pairs, and whether there are enough runs to say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from sklearn.ensemble import RandomForestRegressor

from finetune_tabpfn._estimators import ESTIMATORS
from finetune_tabpfn._nested import flat
from finetune_tabpfn.forecasting._forecaster import FinetunedTabPFNForecaster
from finetune_tabpfn.studies._optuna import quiet
from finetune_tabpfn.studies._study_comparison import signed
from finetune_tabpfn.studies._study_records import Experiment
from finetune_tabpfn.utils._optional import MissingLibraryError, require
from finetune_tabpfn.utils._text import to_json

LEAST_RUNS = 6  # for a correlation; of five runs the best order of all has one chance in 120
FANOVA_RUNS = 30
FANOVA_RUNS_PER_PARAMETER = 10
SURE = 0.05  # below this, adjusted for the number of tests, something matters
RESAMPLES = 1999
FAR = 5.0
CLEAR_DIRECTION = 0.4  # of a rank correlation: nearer to 0 the best lies in the middle
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Runs:
    """What was varied, and how well it did.

    Attributes
    ----------
    settings : DataFrame
        A row per experiment, a column per hyperparameter that takes several values; the seed is
        not among them.
    scores : ndarray of shape (n_experiments,)
        The rank of each experiment among those of its table, from 0 (worst) to 1 (best): so
        tables with other units count alike, and so does a run that diverged.
    distances : ndarray of shape (n_experiments,)
        How far each is from the median of its table, in units of the table's spread, 5 at most.
        For interactions: of ranks, effects that add up look as if they did not.
    """

    settings: pd.DataFrame
    scores: Floats
    distances: Floats

    @classmethod
    def of(cls, experiments: Sequence[Experiment], metric: str) -> Runs:
        """Take the experiments that have a metric."""
        scored = [one for one in experiments if signed(one, metric) is not None]
        rows = [{**_defaults(one.task), **one.parameters} for one in scored]
        settings = pd.DataFrame(
            [{n: _cell(v) for n, v in row.items()} for row in rows], dtype=object
        )
        settings = settings.drop(columns="random_state", errors="ignore")
        varied = [n for n in settings if settings[n].map(repr).nunique() > 1]
        values = pd.Series([signed(one, metric) for one in scored], dtype=float)
        of_table = values.groupby([one.table["fingerprint"] for one in scored])
        ranks = (of_table.rank() - 0.5) / of_table.transform("size")
        centred = values - of_table.transform("median")
        spread = (
            of_table.transform(_quartiles, 0.75) - of_table.transform(_quartiles, 0.25)
        ) / 1.35
        spread = spread.where(spread > 0, of_table.transform("std")).fillna(0.0)
        distances = (centred / spread.where(spread > 0, 1.0)).clip(-FAR, FAR)
        return cls(settings[varied], ranks.to_numpy(dtype=float), distances.to_numpy(dtype=float))

    @property
    def names(self) -> list[str]:
        """The hyperparameters."""
        return [str(name) for name in self.settings]

    def is_number(self, name: str) -> bool:
        """Tell whether all values of a hyperparameter are numbers; False and True are 0 and 1."""
        return all(isinstance(value, (int, float)) for value in self.settings[name])

    def coded(self, name: str, *, curved: bool = True) -> Floats:
        """Return a hyperparameter as centred columns.

        Of numbers their ranks, and if `curved` the squares of these, because the best learning
        rate, say, lies between too low and too high. Else one for each level but one.
        """
        values = self.settings[name]
        if not self.is_number(name):
            codes = pd.get_dummies(values.map(repr), drop_first=True).to_numpy(dtype=float)
            return codes - codes.mean(axis=0)
        ranks = values.astype(float).rank().to_numpy()
        ranks = (ranks - ranks.mean()) / max(1.0, float(np.ptp(ranks)))
        if not curved or len(np.unique(ranks)) < 3:
            return ranks[:, None]
        return np.stack([ranks, ranks**2 - (ranks**2).mean()], axis=1)


@dataclass(frozen=True)
class Importance:
    """Which hyperparameters matter.

    Attributes
    ----------
    method : {"none", "rank correlation", "fANOVA"}
    runs : int
    explained : float
        Share of the scores' variance that a random forest predicts from the hyperparameters, on
        runs that it has not seen; NaN where there are too few.
    table : DataFrame
        A row per hyperparameter, the most important first: importance (the share of the variance
        by fANOVA, else the correlation with rise and fall), effect (rank correlation, above 0
        where larger is better, near 0 where the best lies in the middle; of text the correlation
        ratio, which has no sign), best (the value with the best
        median), p_value (by permutations, adjusted for the number of hyperparameters), matters.
    verdict : str
        In a sentence.
    """

    method: str
    runs: int
    explained: float
    table: pd.DataFrame
    verdict: str


COLUMNS = ["hyperparameter", "importance", "effect", "best", "p_value", "matters"]


def importance_of(runs: Runs) -> Importance:
    """Say which hyperparameters matter, by the method that the number of runs allows."""
    n_runs, names = len(runs.scores), runs.names
    if not names or n_runs < LEAST_RUNS:
        why = (
            f"Too thin to say: {n_runs} runs, {LEAST_RUNS} are needed."
            if n_runs < LEAST_RUNS
            else "Nothing was varied but the seed."
        )
        return Importance("none", n_runs, np.nan, pd.DataFrame(columns=COLUMNS), why)
    tested = [effect_of(runs, name) for name in names]
    p_values = stats.false_discovery_control([found.p_value for found in tested])
    explained = _explained(runs)
    shares, method, note = _shares(runs, [found.strength for found in tested])
    table = pd.DataFrame(
        {
            "hyperparameter": names,
            "importance": shares,
            "effect": [found.direction for found in tested],
            "best": [_best_value(runs, name) for name in names],
            "p_value": p_values,
            "matters": p_values < SURE,
        }
    ).sort_values("importance", ascending=False, kind="stable", ignore_index=True)
    verdict = _verdict(table, f"By {method} of {n_runs} runs", note, explained)
    return Importance(method, n_runs, explained, table, verdict)


@dataclass(frozen=True)
class Effect:
    """What a hyperparameter does to the score.

    Attributes
    ----------
    strength : float
        Multiple correlation of the score's ranks with the hyperparameter, rise and fall alike.
    direction : float
        The part of it that only rises or only falls: the rank correlation, with its sign; of text
        the strength.
    p_value : float
        Of the strength, by permutations.
    """

    strength: float
    direction: float
    p_value: float


def effect_of(runs: Runs, name: str) -> Effect:
    """Return what a hyperparameter does to the score."""
    scores = stats.rankdata(runs.scores)
    scores = scores - scores.mean()
    size = float(np.sqrt(scores @ scores))
    if size == 0:
        return Effect(0.0, 0.0, 1.0)
    basis, _ = np.linalg.qr(runs.coded(name))

    def strength(permuted: Floats) -> float:
        return float(np.sqrt(((basis.T @ permuted) ** 2).sum()) / size)

    test = stats.permutation_test(
        (scores,),
        strength,
        permutation_type="pairings",
        alternative="greater",
        n_resamples=RESAMPLES,
        vectorized=False,
        random_state=np.random.default_rng(0),
    )
    found = float(test.statistic)
    line = runs.coded(name, curved=False)[:, 0]
    direction = float(line @ scores / np.sqrt(line @ line) / size)
    return Effect(found, direction if runs.is_number(name) else found, float(test.pvalue))


def interactions_of(runs: Runs) -> pd.DataFrame:
    """Test for each pair of hyperparameters whether the one changes what the other does.

    Returns
    -------
    DataFrame
        pair, share (of the scores' variance, beyond what each does alone), p_value (F-test,
        adjusted), matters; no rows where there are too few runs.
    """
    codes = {name: runs.coded(name) for name in runs.names}
    rows = []
    for one, other in combinations(codes, 2):
        product = _products(*(runs.coded(name, curved=False) for name in (one, other)))
        test = _f_test(runs.distances, np.hstack([*codes.values()]), product)
        if test is not None:
            rows.append({"pair": f"{one} x {other}", "share": test[0], "p_value": test[1]})
    table = pd.DataFrame(rows, columns=["pair", "share", "p_value"])
    if len(table):
        table["p_value"] = stats.false_discovery_control(table["p_value"])
    table["matters"] = table["p_value"].astype(float) < SURE
    return table.sort_values("p_value", kind="stable", ignore_index=True)


def _products(one: Floats, other: Floats) -> Floats:
    return (one[:, :, None] * other[:, None, :]).reshape(len(one), -1)


def _f_test(y: Floats, X: Floats, more: Floats) -> tuple[float, float] | None:
    """Return what more columns explain, as a share of the variance, and the F-test's p-value."""
    ones = np.ones((len(y), 1))
    without, rank = _residual(y, np.hstack([ones, X]))
    within, full_rank = _residual(y, np.hstack([ones, X, more]))
    added, left = full_rank - rank, len(y) - full_rank
    total = float(((y - y.mean()) ** 2).sum())
    if added < 1 or left < 3 or total == 0:
        return None
    if within < 1e-12 * total:  # nothing is left to compare with
        return (without - within) / total, float(without < 1e-9 * total)
    ratio = (without - within) / added / (within / left)
    return (without - within) / total, float(stats.f.sf(ratio, added, left))


def _residual(y: Floats, X: Floats) -> tuple[float, int]:
    found, _, rank, _ = np.linalg.lstsq(X, y, rcond=None)
    return float(((y - X @ found) ** 2).sum()), int(rank)


def _explained(runs: Runs) -> float:
    """Return the out-of-bag R² of a random forest; NaN with few runs."""
    if len(runs.scores) < FANOVA_RUNS:
        return np.nan
    X = np.hstack([runs.coded(name) for name in runs.names])
    forest = RandomForestRegressor(200, oob_score=True, min_samples_leaf=2, random_state=0)
    return float(forest.fit(X, runs.scores).oob_score_)


def _shares(runs: Runs, effects: list[float]) -> tuple[list[float], str, str]:
    """Return importances, the method, and what hinders a better one."""
    needed = max(FANOVA_RUNS, FANOVA_RUNS_PER_PARAMETER * len(effects))
    if len(runs.scores) < needed:
        return effects, "rank correlation", f"fANOVA needs {needed} runs"
    try:
        return _fanova(runs), "fANOVA", ""
    except MissingLibraryError as error:
        return effects, "rank correlation", str(error).rstrip(".")


def _fanova(runs: Runs) -> list[float]:
    """Return each hyperparameter's share of the variance, by Optuna's fANOVA."""
    optuna = require("optuna", "fANOVA")
    kinds = optuna.distributions
    distributions, columns = {}, {}
    for name in runs.names:
        if runs.is_number(name):
            # by ranks, a logarithmic scale is as good as any other
            columns[name] = runs.settings[name].astype(float).rank()
            distributions[name] = kinds.FloatDistribution(1.0, float(len(runs.scores)))
        else:
            columns[name] = runs.settings[name].map(repr)
            distributions[name] = kinds.CategoricalDistribution(sorted({*columns[name]}))
    table = pd.DataFrame(columns)
    with quiet(optuna):
        study = optuna.create_study(direction="maximize")
        for row, score in zip(table.to_dict("records"), runs.scores, strict=True):
            trial = optuna.trial.create_trial(
                params=row, distributions=distributions, value=float(score)
            )
            study.add_trial(trial)
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return [found[name] for name in table]


def _best_value(runs: Runs, name: str) -> Any:
    texts = runs.settings[name].map(repr).to_numpy()
    medians = pd.Series(runs.scores).groupby(texts).median()
    return runs.settings[name][texts == medians.index[int(medians.argmax())]].iloc[0]


def _verdict(table: pd.DataFrame, begin: str, note: str, explained: float) -> str:
    said = begin + (f" ({note})" if note else "")
    if np.isfinite(explained):
        said += f", which explain {max(0.0, explained):.0%} of the score's variance"
    rows = table[table["matters"]].to_dict("records")
    if not rows:
        return f"{said}: no hyperparameter has an effect that is clearly more than chance."
    some = ", ".join(f"{row['hyperparameter']} ({_in_words(row)})" for row in rows)
    return f"{said}: {some}. Nothing else is clearly more than chance."


def _in_words(row: dict[Any, Any]) -> str:
    """Return the direction of an effect where it has one, else the best value."""
    is_number = isinstance(row["best"], (int, float))
    if is_number and abs(row["effect"]) > CLEAR_DIRECTION:
        return f"{row['effect']:+.2f}"
    return f"best: {row['best']:.3g}" if is_number else f"best: {row['best']}"


def _quartiles(values: pd.Series, share: float) -> float:
    return float(values.quantile(share))


def _defaults(task: str) -> dict[str, Any]:
    kinds = {**ESTIMATORS, "forecasting": FinetunedTabPFNForecaster}
    return flat(kinds[task]().get_params(deep=False))


def _cell(value: Any) -> Any:
    return to_json(value, indent=None) if isinstance(value, (dict, list, tuple)) else value
