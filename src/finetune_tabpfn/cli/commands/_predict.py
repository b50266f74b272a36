"""What ``finetune-tabpfn predict`` is asked."""

from __future__ import annotations

from pathlib import Path

from finetune_tabpfn.cli._options import (
    TABLE_ENDINGS,
    Commands,
    add_data,
    add_json,
    add_missing_values,
    done_by,
    ending_in,
    further,
)


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "predict",
        help="predict the rows of a file",
        description="Predict the rows of a file: a column `prediction`, and for classes a "
        "probability for each. Columns that the model was not fitted on are left out. Of a "
        "forecaster: what comes after the file's last targets; rows without hold the covariates.",
        usage="finetune-tabpfn predict MODEL DATA [--out FILE] [options]",
    )
    parser.add_argument(
        "model",
        type=Path,
        metavar="MODEL",
        help="what `fit` saved (.joblib), or a .tabpfn_fit file of tabpfn",
    )
    add_data(parser)
    parser.add_argument(
        "--out",
        type=ending_in(*TABLE_ENDINGS, or_stdout=True),
        metavar="FILE",
        help=".csv, .parquet, .json or .jsonl [CSV to standard output]",
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
    done_by(parser, "_predict", inputs=("data",), files=("model",))
