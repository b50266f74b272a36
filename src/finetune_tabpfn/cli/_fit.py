"""``finetune-tabpfn fit``: fine-tune on a file and save the fitted estimator."""

from __future__ import annotations

import argparse
from typing import Any

import joblib
import pandas as pd

from finetune_tabpfn._estimators import new_estimator
from finetune_tabpfn.cli._options import answer, hold_out_scores
from finetune_tabpfn.data._io import infer_task, read_table, split_target, warn_of_row_numbers
from finetune_tabpfn.forecasting._forecaster import (
    NOT_OF_FORECASTS,
    OWN_PARAMETERS,
)
from finetune_tabpfn.forecasting._names import new_forecaster
from finetune_tabpfn.models._export import describe
from finetune_tabpfn.runs._options import chosen_parameters, settings
from finetune_tabpfn.runs._run import ended_by_ctrl_c
from finetune_tabpfn.utils._files import save_whole
from finetune_tabpfn.utils._text import counted
from finetune_tabpfn.utils._workers import launched


def run(arguments: argparse.Namespace) -> None:
    """Fine-tune on a file and save the fitted estimator."""
    table = read_table(arguments.data, missing_values=arguments.missing_values)
    own = {name: getattr(arguments, name) for name in OWN_PARAMETERS if hasattr(arguments, name)}
    if own and arguments.task == "auto":
        arguments.task = "forecasting"
    if arguments.task == "forecasting":
        _forecast(arguments, table, own)
        return
    if own:
        name = next(iter(own)).replace("_", "-")
        raise ValueError(f"--{name} is for --task forecasting, not for {arguments.task}.")
    X, y = split_target(table, arguments.target)
    warn_of_row_numbers(X, arguments.data)
    task = infer_task(y) if arguments.task == "auto" else arguments.task
    chosen = {**chosen_parameters(arguments, settings()), "verbose": not arguments.quiet}
    estimator = new_estimator(task, chosen)
    with ended_by_ctrl_c(estimator):
        estimator.fit(X, y)
    if launched()[0]:  # the first process of torchrun keeps the result
        return
    save_whole(arguments.out, lambda part: joblib.dump(estimator, part))
    answer(
        arguments,
        f"{task} of {arguments.target!r}: {len(X)} rows, {X.shape[1]} columns, "
        f"base model {estimator.base_model_.name}\n"
        f"{hold_out_scores(estimator)}\n"
        f"{counted(estimator.n_steps_, 'step')}, stopped by {estimator.stop_reason_}\n"
        f"saved {arguments.out}",
        {
            "task": task,
            "target": arguments.target,
            "rows": len(X),
            "columns": X.shape[1],
            **describe(estimator),
            "deployed_weights": estimator.deployed_weights_,
            "n_steps": estimator.n_steps_,
            "path": arguments.out,
        },
    )


def _forecast(arguments: argparse.Namespace, table: pd.DataFrame, own: dict[str, Any]) -> None:
    """Fine-tune to time series and save the fitted forecaster."""
    if launched()[1] > 1:
        raise ValueError("--task forecasting works in one process; without torchrun it would do.")
    chosen = chosen_parameters(arguments, settings())
    for name in (*NOT_OF_FORECASTS, "class_weight", "balanced_contexts"):
        default = settings()[name].default
        if chosen.pop(name) != default:
            raise ValueError(f"--{name.replace('_', '-')} is not for forecasts; leave it out.")
    forecaster = new_forecaster({**chosen, **own, "verbose": not arguments.quiet})
    forecaster.fit(table, arguments.target)
    save_whole(arguments.out, lambda part: joblib.dump(forecaster, part))
    regressor = forecaster.regressor_
    n_series = len(forecaster.features_.history_.series)
    answer(
        arguments,
        f"forecasts of {arguments.target!r}: {n_series} series, {len(table)} rows, "
        f"{forecaster.horizon_} periods ahead, base model {regressor.base_model_.name}\n"
        f"{hold_out_scores(regressor)}\n"
        f"{counted(regressor.n_steps_, 'step')}, stopped by {regressor.stop_reason_}\n"
        f"saved {arguments.out}",
        {
            "task": "forecasting",
            "target": arguments.target,
            "rows": len(table),
            "series": n_series,
            "horizon": forecaster.horizon_,
            **describe(regressor),
            "deployed_weights": regressor.deployed_weights_,
            "n_steps": regressor.n_steps_,
            "path": arguments.out,
        },
    )
