"""What ``finetune-tabpfn evaluate`` is asked."""

from __future__ import annotations

from finetune_tabpfn.cli._options import (
    TABLE_OR_HUB,
    Commands,
    add_data,
    add_json,
    add_missing_values,
    add_target,
    add_task,
    done_by,
    folder,
    further,
)
from finetune_tabpfn.runs._options import parse_value


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "evaluate",
        help="evaluate a model on labelled rows",
        description="Evaluate a fitted model, or a base model with --context-data to predict from, "
        "on labelled rows. With --out: metrics, figures and a record of every row.",
        usage="finetune-tabpfn evaluate MODEL DATA --target COLUMN [options]",
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="what `fit` saved (.joblib), a .tabpfn_fit file; with --context-data a checkpoint or "
        "the name of a base model",
    )
    add_data(parser, TABLE_OR_HUB)
    add_target(parser)
    parser.add_argument(
        "--out", type=folder, metavar="FOLDER", help="for metrics, figures and rows [none]"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    add_missing_values(parser)
    add_json(parser)
    parser.add_argument(
        "--batch-size",
        type=int,
        default=10_000,
        metavar="INT",
        help=further("rows at once [10000]"),
    )
    parser.add_argument(
        "--top", type=int, default=5, metavar="INT", help=further("classes in a row's record [5]")
    )
    context = parser.add_argument_group("a base model")
    context.add_argument(
        "--context-data", metavar="DATA", help="labelled rows that it predicts from"
    )
    add_task(context)
    context.add_argument("--n-estimators", type=int, default=4, metavar="INT", help="members [4]")
    context.add_argument(
        "--device",
        type=parse_value,
        default="auto",
        metavar="TEXT",
        help="auto, cpu, cuda, or several: cuda:0,cuda:1 [auto]",
    )
    context.add_argument("--random-state", type=int, default=0, metavar="INT", help="seed [0]")
    done_by(parser, "_evaluate", inputs=("data", "context_data"))
