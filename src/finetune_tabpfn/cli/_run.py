"""``finetune-tabpfn run``: everything from one configuration file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd

from finetune_tabpfn.cli._options import answer
from finetune_tabpfn.runs._config import RunConfig, load_config
from finetune_tabpfn.runs._dry_run import DryRun, dry_run_of
from finetune_tabpfn.runs._options import settings_of_runs
from finetune_tabpfn.runs._run import execute, take_part
from finetune_tabpfn.utils._optional import require
from finetune_tabpfn.utils._text import counted
from finetune_tabpfn.utils._workers import launched


def run(arguments: argparse.Namespace) -> None:
    """Do what the file says, or only check it or estimate what it takes."""
    config = load_config(arguments.config, _overrides(arguments))
    if launched()[0]:  # the first process of torchrun answers
        if not (arguments.validate_config or arguments.dry_run):
            take_part(config)
    elif arguments.validate_config:
        answer(arguments, config.to_yaml().rstrip(), config.to_settings())
    elif arguments.dry_run:
        planned = dry_run_of(config)
        answer(arguments, _forecast(config, planned), planned.to_dict())
    else:
        require("matplotlib", "The training curve of a run")  # before the fit, not after it
        result = execute(config, progress=not arguments.quiet)
        answer(arguments, _summary(result), result)


def _overrides(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the command line says over the file: ``--set`` first, then the plain flags."""
    chosen = dict(arguments.overrides)
    places = [f"{section}.{name}" for section, keys in settings_of_runs().items() for name in keys]
    for place in places:
        name = place.partition(".")[2]
        if hasattr(arguments, name):
            chosen[place] = getattr(arguments, name)
    return chosen


def _forecast(config: RunConfig, planned: DryRun) -> str:
    rows = ", ".join(f"{number} {name}" for name, number in planned.rows.items())
    classes = f" with {planned.n_classes} classes" if planned.n_classes else ""
    folds = f", in {planned.n_folds} folds" if planned.n_folds > 1 else ""
    return (
        f"{planned.task} of {config.data.target!r}{classes}: {planned.columns} columns; "
        f"rows: {rows}\n"
        f"base model {planned.base_model}, licence {planned.licence}\n"
        f"on {planned.device} in {planned.precision}: steps of {planned.batch_size} x "
        f"{planned.context_rows} context and {planned.query_rows} query rows, "
        f"{planned.steps_per_evaluation} to an evaluation, {planned.max_steps} at most{folds}\n"
        f"a step takes about {planned.step_seconds:.2g} s, a validation "
        f"{planned.validation_seconds:.2g} s; the fit {planned.most_seconds:.0f} s at most, "
        f"less where it stops early{_of_backtest(planned)}\n"
        f"memory: about {planned.memory_mb / 1e3:.1f} GB\n"
        f"would write to {Path(config.output.folder) / str(config.output.experiment)}"
    )


def _of_backtest(planned: DryRun) -> str:
    """Say what a backtest adds."""
    if planned.n_fits == 1:
        return ""
    backtest = planned.n_fits - 1
    return f"; with {backtest} for the backtest {planned.n_fits * planned.most_seconds:.0f} s"


def _summary(result: dict[str, Any]) -> str:
    rows = ", ".join(f"{number} {name}" for name, number in result["rows"].items())
    best = "the best run" if result["best"] == result["folder"] else f"best: {result['best'].name}"
    return (
        f"{result['task']} of {result['target']!r}: {result['columns']} columns; rows: {rows}; "
        f"base model {result['base_model']['name']}\n\n"
        f"{_scores(result)}\n\n"
        f"deployed: {result['deployed_weights']}; {counted(result['n_steps'], 'step')}, stopped by "
        f"{result['stop_reason']}; {result['seconds']:.0f} s\n"
        f"saved {result['folder']} ({best} of {result['experiment']!r})"
    )


def _scores(result: dict[str, Any]) -> str:
    """Return base and deployed side by side."""
    columns = {}
    hold_out, test = result["hold_out"], result["test"]
    for name in dict.fromkeys(("base", "deployed", *(test or ()))):
        scores = {}
        if hold_out and name in hold_out:
            scores[f"hold-out {result['scoring']}"] = hold_out[name]["score"]
        if test:
            scores |= {f"test {key}": value for key, value in test[name].items() if key != "score"}
        columns[name] = scores
    table = pd.DataFrame(columns)
    return "nothing was scored" if table.empty else table.to_string(float_format="{:.4f}".format)
