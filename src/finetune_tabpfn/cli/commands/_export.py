"""What ``finetune-tabpfn export`` is asked."""

from __future__ import annotations

from pathlib import Path

from finetune_tabpfn.cli._options import Commands, add_json, done_by, ending_in
from finetune_tabpfn.utils._endings import NETWORKS


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "export",
        help="write a fitted estimator's network as a checkpoint for plain TabPFN",
        description="Write the fine-tuned network of a fitted estimator as a checkpoint. "
        "TabPFNClassifier(model_path=FILE).fit(X, y) uses it, and so does `--base-model FILE` "
        "here. The file holds no rows of the table.",
        usage="finetune-tabpfn export MODEL --out FILE [--json]",
    )
    parser.add_argument(
        "model", type=Path, metavar="MODEL", help="what `fit` or `run` saved (.joblib)"
    )
    parser.add_argument(
        "--out",
        type=ending_in(*NETWORKS),
        required=True,
        metavar="FILE",
        help=".safetensors or .ckpt; tabpfn reads the version off the name: keep v3 (or v2.5, ...) "
        "in it where the base model's name has it",
    )
    add_json(parser)
    done_by(parser, "_export", files=("model",))
