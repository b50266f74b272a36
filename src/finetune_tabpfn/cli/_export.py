"""``finetune-tabpfn export``: a fitted estimator as a checkpoint for plain TabPFN."""

from __future__ import annotations

import argparse
from pathlib import Path

from finetune_tabpfn._estimators import ESTIMATORS
from finetune_tabpfn.cli._options import Commands, add_json, answer, hold_out_scores
from finetune_tabpfn.models._export import describe, load_fitted, save_model


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "export",
        help="write a fitted estimator's network as a checkpoint for plain TabPFN",
        description="Write the fine-tuned network of a fitted estimator as a checkpoint. "
        "TabPFNClassifier(model_path=FILE).fit(X, y) uses it, and so does `--base-model FILE` "
        "here. The file holds no rows of the table.",
    )
    parser.add_argument("model", type=Path, help="what `fit` or `run` saved (.joblib)")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help=".safetensors or .ckpt; tabpfn reads the version off the name: keep v3 (or v2.5, ...) "
        "in it where the base model's name has it",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Write the checkpoint and say what it is."""
    estimator = load_fitted(arguments.model)
    if not issubclass(type(estimator), tuple(ESTIMATORS.values())):
        raise ValueError(f"{arguments.model} is not an estimator of this package.")
    path = save_model(estimator, arguments.out)
    made = {**describe(estimator), "path": path}
    plain = "TabPFNClassifier" if hasattr(estimator, "classes_") else "TabPFNRegressor"
    answer(
        arguments,
        f"base model {estimator.base_model_.name}, licence {estimator.base_model_.licence}\n"
        f"{hold_out_scores(estimator)}\n"
        f"saved {path}; {plain}(model_path={str(path)!r}) uses it",
        made,
    )
