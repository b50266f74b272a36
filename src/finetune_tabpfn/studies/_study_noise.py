"""What of a study is noise: gaps between training and validation, and seeds against settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from finetune_tabpfn.studies._experiment import in_words
from finetune_tabpfn.studies._metrics import sign_of
from finetune_tabpfn.studies._study_comparison import signed
from finetune_tabpfn.studies._study_records import Experiment, labels_of
from finetune_tabpfn.training._stop_reasons import StopReason

LEAST_FOLDS = 3  # for a spread that means something
OVERFITTED = 2.0  # spreads by which the training metric is better than the validation metric
SURE = 0.05
_NOT_GIVEN = object()


def overfitting_of(experiments: Sequence[Experiment], metric: str) -> pd.DataFrame:
    """Compare training and validation metrics, in units of the spread over the folds.

    Parameters
    ----------
    experiments : sequence of Experiment
    metric : str
        Without the rows that it is of.

    Returns
    -------
    DataFrame
        id, table, folds, train, validation, gap (above 0 where training is better, whatever the
        metric's direction), spread, units (gap / spread), overfits: None with fewer than three
        folds, whose spread says little.
    """
    labels = labels_of([*experiments])
    rows = []
    for one in experiments:
        train, validation = (signed(one, f"{part}_{metric}") for part in ("train", "validation"))
        if train is None or validation is None:
            continue
        spread = one.validation_spread.get(metric)
        units = (train - validation) / spread if spread else np.nan
        rows.append(
            {
                "id": one.id,
                "table": labels[one.table["fingerprint"]],
                "folds": len(one.folds),
                "train": one.train[metric],
                "validation": one.validation[metric],
                "gap": train - validation,
                "spread": np.nan if spread is None else spread,
                "units": units,
                "overfits": bool(units > OVERFITTED) if len(one.folds) >= LEAST_FOLDS else None,
            }
        )
    names = ["id", "table", "folds", "train", "validation", "gap", "spread", "units", "overfits"]
    return pd.DataFrame(rows, columns=names)


def overfitting_verdict(table: pd.DataFrame) -> str:
    """Return what the comparison of training and validation comes to, in a sentence."""
    told = table[table["overfits"].notna()]
    if told.empty:
        return (
            f"Too thin to say: the spread needs {LEAST_FOLDS} folds or more, a splitter such as "
            "KFold(5) as validation, of forecasts TimeSplit(n_splits=5)."
        )
    flagged = told[told["overfits"].astype(bool)]
    if flagged.empty:
        return f"None of {len(told)} experiments overfits by more than {OVERFITTED:g} spreads."
    worst = flagged.iloc[int(flagged["units"].argmax())]
    return (
        f"{len(flagged)} of {len(told)} experiments do better on their training rows by more than "
        f"{OVERFITTED:g} spreads over the folds, {worst['id']} by {worst['units']:.1f}."
    )


def seeds_of(experiments: Sequence[Experiment], metric: str) -> pd.DataFrame:
    """Say of settings with several seeds whether a difference is larger than the noise.

    Returns
    -------
    DataFrame
        A row per settings with two or more seeds, in a table with two or more of these: table,
        settings, seeds, mean, std, behind (the best mean of the table, above 0 where worse),
        p_value (Tukey's test of all pairs) and larger_than_noise.
    """
    labels = labels_of([*experiments])
    groups: dict[str, dict[str, list[float]]] = {}
    shared = _shared([one.parameters for one in experiments])
    for one in experiments:
        value = signed(one, metric)
        if value is None:
            continue
        settings = {n: v for n, v in sorted(one.parameters.items()) if n not in shared}
        of_table = groups.setdefault(labels[one.table["fingerprint"]], {})
        of_table.setdefault(in_words(settings), []).append(value)
    rows = [row for label, by in groups.items() for row in _rows_of_table(label, by, metric)]
    names = ["table", "settings", "seeds", "mean", "std", "behind", "p_value", "larger_than_noise"]
    return pd.DataFrame(rows, columns=names)


def _shared(several: Sequence[dict[str, Any]]) -> set[str]:
    """Return the names of settings that are the same everywhere, and that of the seed."""
    names = {name for settings in several for name in settings}
    values = {name: {repr(s.get(name, _NOT_GIVEN)) for s in several} for name in names}
    return {"random_state", *(name for name, found in values.items() if len(found) == 1)}


def _rows_of_table(label: str, groups: dict[str, list[float]], metric: str) -> list[dict[str, Any]]:
    """Return rows of settings with several seeds, the best first."""
    repeated = {name: values for name, values in groups.items() if len(values) > 1}
    if len(repeated) < 2:
        return []
    ordered = sorted(repeated.items(), key=lambda pair: -float(np.mean(pair[1])))
    p_values = _p_values([values for _, values in ordered])
    best = float(np.mean(ordered[0][1]))
    return [
        {
            "table": label,
            "settings": settings,
            "seeds": len(values),
            "mean": sign_of(metric.partition("_")[2]) * float(np.mean(values)),
            "std": float(np.std(values, ddof=1)),
            "behind": best - float(np.mean(values)),
            "p_value": p_value,
            "larger_than_noise": p_value < SURE,
        }
        for (settings, values), p_value in zip(ordered, p_values, strict=True)
    ]


def _p_values(groups: list[list[float]]) -> list[float]:
    """Return the p-value of each group's difference from the first one."""
    if all(np.ptp(values) == 0 for values in groups):  # no noise at all
        return [float(values[0] == groups[0][0]) for values in groups]
    return [float(p) for p in stats.tukey_hsd(*groups).pvalue[0]]


def seeds_verdict(table: pd.DataFrame) -> str:
    """Return what the comparison of settings and seeds comes to, in a sentence."""
    if table.empty:
        return (
            "Too thin to say: two settings or more need two seeds or more each, such as "
            "random_state=[0, 1, 2] in a grid."
        )
    noise = float(np.sqrt((table["std"] ** 2).mean()))
    n_worse, n_others = int(table["larger_than_noise"].sum()), len(table) - table["table"].nunique()
    return (
        f"The seed alone moves the metric by {noise:.3g} (standard deviation); {n_worse} of "
        f"{n_others} settings are behind the best of their table by more than that explains."
    )


def curves_of(experiments: Sequence[Experiment]) -> pd.DataFrame:
    """Return the evaluations of all experiments: id, table, fold, step, train_loss, score, ..."""
    labels = labels_of([*experiments])
    parts = [
        pd.DataFrame(one.history).assign(id=one.id, table=labels[one.table["fingerprint"]])
        for one in experiments
        if one.history
    ]
    if not parts:
        return pd.DataFrame(columns=["id", "table", "fold", "step", "train_loss", "score"])
    found = pd.concat(parts, ignore_index=True)
    first = ["id", "table", "fold"]
    return found[[*first, *(name for name in found if name not in first)]]


def curves_verdict(experiments: Sequence[Experiment]) -> str:
    """Say how many fits were ended while they still got better, and how many gained nothing."""
    fits = [fold["fit"] for one in experiments for fold in one.folds]
    cut = (StopReason.MAX_STEPS, StopReason.TIME_LIMIT)
    going_on = [
        fit
        for fit in fits
        if fit["n_steps"]
        and fit["best_step"] == fit["n_steps"]
        and any(reason.ended(fit["stop_reason"]) for reason in cut)
    ]
    said = (
        f"{len(going_on)} of {len(fits)} fits were at their best when max_steps or the time limit "
    )
    said += "ended them" + (": more may gain more." if going_on else ".")
    n_base = sum(fit.get("deployed_weights") == "base" for fit in fits)
    if n_base:
        said += f" {n_base} deployed the base model as it is: no gain was more than luck."
    return said
