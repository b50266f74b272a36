"""``finetune-tabpfn evaluate``: a model on labelled rows."""

from __future__ import annotations

import argparse
from pathlib import Path

from finetune_tabpfn.cli._options import Commands, add_json, add_missing_values, add_task, answer
from finetune_tabpfn.studies._evaluate import evaluate


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "evaluate",
        help="evaluate a model on labelled rows",
        description="Evaluate a fitted model, or a base model with --context-data to predict from, "
        "on labelled rows. With --out: metrics, figures and a record of every row.",
    )
    parser.add_argument(
        "model",
        help="what `fit` saved (.joblib), a .tabpfn_fit file; with --context-data a checkpoint or "
        "the name of a base model",
    )
    parser.add_argument("data", help="CSV, Parquet or JSON; or hf://datasets/OWNER/NAME[/FILE]")
    parser.add_argument("--target", required=True, help="name of the label column")
    parser.add_argument("--out", type=Path, help="folder for metrics, figures and rows")
    parser.add_argument("--batch-size", type=int, default=1000, help="rows at once [1000]")
    parser.add_argument("--top", type=int, default=5, help="classes in a row's record [5]")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    add_missing_values(parser)
    add_json(parser)
    context = parser.add_argument_group("a base model")
    context.add_argument(
        "--context-data", metavar="FILE", help="labelled rows that it predicts from"
    )
    add_task(context)
    context.add_argument("--n-estimators", type=int, default=4, help="members [4]")
    context.add_argument("--device", default="auto", help="auto, cpu, cuda, ... [auto]")
    context.add_argument("--random-state", type=int, default=0, help="seed [0]")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Evaluate a model and report."""
    evaluation = evaluate(
        arguments.model,
        arguments.data,
        target=arguments.target,
        context_data=arguments.context_data,
        task=arguments.task,
        out=arguments.out,
        batch_size=arguments.batch_size,
        top=arguments.top,
        missing_values=arguments.missing_values,
        progress=not arguments.quiet,
        n_estimators=arguments.n_estimators,
        device=arguments.device,
        random_state=arguments.random_state,
    )
    answer(arguments, evaluation.as_text(), evaluation.as_dict())
