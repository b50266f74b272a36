"""``finetune-tabpfn study``: search settings, compare what they came to, report."""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
from sklearn.model_selection import KFold, StratifiedKFold

from finetune_tabpfn.cli import _pipes
from finetune_tabpfn.cli._options import answer
from finetune_tabpfn.data._io import infer_task, read_table, split_target
from finetune_tabpfn.data._time_split import TimeSplit
from finetune_tabpfn.forecasting._names import USUAL_NAMES
from finetune_tabpfn.runs._options import (
    parse,
    parse_value,
    settings,
    settings_of_forecasts,
    settings_of_studies,
)
from finetune_tabpfn.studies import Experiment, Range, Study, StudyAnalyzer, search_space
from finetune_tabpfn.studies._experiment import in_words
from finetune_tabpfn.studies._metrics import sign_of
from finetune_tabpfn.studies._search_space import differ_by_factors
from finetune_tabpfn.studies._study_comparison import PARTS, best_of, metric_name
from finetune_tabpfn.utils._text import unknown_name


def run_search(arguments: argparse.Namespace) -> None:
    """Run a search."""
    own = [name for name in settings_of_forecasts() if hasattr(arguments, name)]
    if own and arguments.task == "auto":
        arguments.task = "forecasting"
    if own and arguments.task != "forecasting":
        name = own[0].replace("_", "-")
        raise ValueError(f"--{name} is for --task forecasting, not for {arguments.task}.")
    study = Study(
        arguments.folder,
        task=arguments.task,
        save_models=not arguments.no_models,
        missing_values=arguments.missing_values,
        verbose=not arguments.quiet,
    )
    if arguments.workers < 1:
        raise ValueError(f"--workers {arguments.workers} must be 1 or more.")
    several = arguments.workers > 1
    with joblib.parallel_config("loky", n_jobs=arguments.workers) if several else nullcontext():
        found = _searched(study, arguments)
    metric = metric_name(arguments.metric, found[0].task)
    table = _ranked(study.compare(), metric, [one.id for one in found])
    best = best_of(found, metric)
    text = f"{_shown(table, metric)}\n\nbest by {metric}: {best.id} ({in_words(best.parameters)})"
    result = {"folder": arguments.folder, "metric": metric, "best": best.id}
    answer(arguments, text, result | {"experiments": table["id"].tolist()})


def _searched(study: Study, arguments: argparse.Namespace) -> list[Experiment]:
    """Run the search that was asked for."""
    space = dict(_varied(text) for text in arguments.vary)
    task = arguments.task if arguments.folds or not space else None
    if task == "auto":
        table = read_table(arguments.data, missing_values=arguments.missing_values)
        task = infer_task(split_target(table, arguments.target)[1])
    tables = {"train": arguments.data, "test": arguments.test, "target": arguments.target}
    shared = {**settings_of_studies(), **settings_of_forecasts()}
    chosen = {name: value for name, value in vars(arguments).items() if name in shared}
    common = {
        **tables,
        "validation": _splitter(arguments.folds, task, chosen.get("prediction_length"))
        or arguments.validation,
        "parameters": chosen,
        "name": arguments.name or arguments.search,
        "notes": arguments.notes,
    }
    metric, number = arguments.metric, arguments.number
    if arguments.search == "grid":
        if not space:
            raise ValueError("--search grid needs --vary NAME=VALUES, one or several.")
        return study.grid_search(space, **common, refine=arguments.refine, metric=metric)
    space = space or search_space(str(task), chosen.get("base_model", "auto"))
    if arguments.search == "random":
        return study.random_search(space, **common, n_iter=number)
    prune = not arguments.no_prune
    return study.optuna_search(space, **common, n_trials=number, metric=metric, prune=prune)


def _splitter(folds: int | None, task: str | None, horizon: int | None) -> Any:
    if folds is None:
        return None
    if folds < 2:
        raise ValueError(f"--folds {folds} must be 2 or more.")
    if task == "forecasting":
        return TimeSplit(n_splits=folds, test_size=horizon)
    kind = StratifiedKFold if task == "classification" else KFold
    return kind(folds, shuffle=True, random_state=0)


def _varied(text: str) -> tuple[str, Any]:
    """Read a hyperparameter with its values."""
    name, equals, values = text.partition("=")
    if not equals or not values:
        raise ValueError(f"--vary {text!r} must be NAME=VALUES, such as learning_rate=1e-4,1e-3.")
    name, fields = name.strip().replace("-", "_"), {**settings(), **settings_of_forecasts()}
    name = USUAL_NAMES.get(name, name)
    if name not in fields:
        raise ValueError(unknown_name("--vary has", name, fields))
    low, dots, high = values.partition("..")
    if not dots:
        return name, [parse(fields[name], value) for value in values.split(",") if value]
    ends = [parse_value(low), parse_value(high)]
    if not all(isinstance(end, (int, float)) for end in ends):
        raise ValueError(f"--vary {text!r} must have numbers on both sides of '..'.")
    return name, Range(ends[0], ends[1], log=differ_by_factors(ends))


def run_compare(arguments: argparse.Namespace) -> None:
    """Print a row per experiment."""
    study = _existing(arguments.folder)
    table = study.compare()
    if str(arguments.out) == _pipes.STANDARD:
        table.to_csv(sys.stdout, index=False)
        return
    if arguments.out:
        study.to_csv(arguments.out)
    tasks = list(table["task"].unique())
    metric = metric_name(arguments.metric, tasks[0])
    ranked = _ranked(table, metric, list(table["id"]))
    saved = f"\n\nsaved {arguments.out}" if arguments.out else ""
    answer(
        arguments,
        _shown(ranked, metric) + saved,
        {"metric": metric, "experiments": ranked.to_dict("records")},
    )


def run_report(arguments: argparse.Namespace) -> None:
    """Write the report and print its verdicts."""
    study = _existing(arguments.folder)
    analyzer = StudyAnalyzer(study, arguments.metric, arguments.table)
    path = analyzer.report(arguments.out or arguments.folder / "report.html")
    verdicts = analyzer.verdicts()
    lines = [f"{question}: {said}" for question, said in verdicts.items()]
    answer(arguments, "\n".join([*lines, f"\nsaved {path}"]), {**verdicts, "path": path})


def _existing(folder: Path) -> Study:
    study = Study(folder)
    if not study.load():
        raise ValueError(f"{folder} holds no experiment of a study.")
    return study


def _ranked(table: pd.DataFrame, metric: str, ids: list[str]) -> pd.DataFrame:
    """Return the rows of some experiments, the best first."""
    table = table[table["id"].isin(ids)]
    if metric not in table:
        raise ValueError(unknown_name("--metric is", metric, [str(name) for name in table]))
    rising = sign_of(metric.partition("_")[2]) < 0
    return table.sort_values(["table", metric], ascending=[True, rising], kind="stable")


def _shown(table: pd.DataFrame, metric: str) -> str:
    """Return the columns that differ, and the metric on every part."""
    name = metric.partition("_")[2]
    columns = ["id", "status", "seconds"]
    columns += ["table"] if table["table"].nunique() > 1 else []
    names = [str(name) for name in table]
    columns += [n for n in names if n.startswith("hp_") and table[n].map(repr).nunique() > 1]
    columns += [n for n in (f"{p}_{name}" for p in PARTS) if n in names]
    return table[columns].to_string(index=False, float_format="{:.5g}".format, na_rep="-")
