"""``python -m finetune_tabpfn.pretraining``: pretrain a base model."""

from __future__ import annotations

import argparse
import importlib
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetune_tabpfn.pretraining._prior import Prior
from finetune_tabpfn.pretraining._run import PretrainConfig, pretrain
from finetune_tabpfn.runs._options import add_parameters, chosen_parameters


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        out = pretrain(
            arguments.out,
            PretrainConfig(**chosen_parameters(arguments, PretrainConfig)),
            prior=None if arguments.prior is None else load_prior(arguments.prior),
            start=arguments.start,
            resume=arguments.resume,
            device=arguments.device,
        )
    except (ValueError, OSError) as error:
        print(f"pretraining: error: {error}", file=sys.stderr)
        return 1
    print(f"saved {out}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m finetune_tabpfn.pretraining",
        description="Pretrain a TabPFN base model on tables drawn from a prior.",
    )
    parser.add_argument("--out", type=Path, required=True, help='".safetensors", "v3" in its name')
    parser.add_argument("--prior", help="module:name of your own prior, instead of CausalPrior")
    parser.add_argument("--start", type=Path, help="checkpoint whose weights to begin with")
    parser.add_argument("--resume", action="store_true", help="continue from the state beside OUT")
    parser.add_argument("--device", default="auto", help="[auto]")
    add_parameters(parser, of=PretrainConfig, title="settings of the run")
    return parser


def load_prior(name: str) -> Prior:
    """Import "module:name"; the working directory counts as a place to import from."""
    match = re.fullmatch(r"([\w.]+):(\w+)", name)
    if match is None:
        raise ValueError(f"prior={name!r} must be module:name, for example my_priors:sales.")
    sys.path.insert(0, "")
    try:
        found: Any = getattr(importlib.import_module(match[1]), match[2])
    except (ImportError, AttributeError) as error:
        raise ValueError(f"prior={name!r} cannot be imported: {error}.") from error
    return found


if __name__ == "__main__":
    sys.exit(main())
