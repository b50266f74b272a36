"""What ``finetune-tabpfn fit`` is asked."""

from __future__ import annotations

import argparse

from finetune_tabpfn.cli._options import (
    Commands,
    add_data,
    add_json,
    add_missing_values,
    add_target,
    add_task,
    done_by,
    ending_in,
)
from finetune_tabpfn.runs._options import (
    add_option,
    add_parameters,
    as_typed,
    settings,
    settings_of_forecasts,
)


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "fit",
        help="fine-tune on a file and save the fitted estimator",
        description="Fine-tune a base model to the table in a file and save the fitted estimator "
        "for `predict` and `export`. `run` does more: tests, curve, history, all from one YAML.",
        usage="finetune-tabpfn fit DATA --target COLUMN --out FILE [options]",
    )
    add_data(parser)
    add_target(parser)
    parser.add_argument(
        "--out",
        type=ending_in(".joblib"),
        required=True,
        metavar="FILE",
        help="for the fitted estimator: .joblib",
    )
    add_task(parser, "forecasting")
    add_missing_values(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    add_json(parser)
    add_parameters(parser, settings())
    group = parser.add_argument_group(
        "forecasts of a time series: --time-column, or --task forecasting"
    )
    for option in settings_of_forecasts().values():
        add_option(group, option, f" [{as_typed(option.default)}]", argparse.SUPPRESS)
    done_by(parser, "_fit", inputs=("data",))
