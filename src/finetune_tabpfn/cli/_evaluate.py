"""``finetune-tabpfn evaluate``: a model on labelled rows."""

from __future__ import annotations

import argparse

from finetune_tabpfn.cli._options import answer
from finetune_tabpfn.studies._evaluate import evaluate


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
