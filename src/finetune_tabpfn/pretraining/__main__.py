"""``python -m finetune_tabpfn.pretraining``: pretrain a base model."""

from __future__ import annotations

import argparse
import importlib
import logging
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetune_tabpfn.finetuning import _defaults
from finetune_tabpfn.pretraining._config import PretrainConfig
from finetune_tabpfn.pretraining._prior import Prior
from finetune_tabpfn.pretraining._recipes import recipe
from finetune_tabpfn.pretraining._run import pretrain
from finetune_tabpfn.runs._fields import fields_of, options_of
from finetune_tabpfn.runs._options import Option, add_parameters, chosen_parameters


def main(argv: Sequence[str] | None = None, begun: float | None = None) -> int:
    """Run the program and return its exit status; `begun` is when, by `time.monotonic`."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        if arguments.recipe is not None:
            parser.set_defaults(**recipe(arguments.recipe, _defaults.device(arguments.device)))
            arguments = parser.parse_args(argv)
        out = pretrain(
            arguments.out,
            PretrainConfig(**chosen_parameters(arguments, _settings())),
            prior=None if arguments.prior is None else load_prior(arguments.prior),
            start=arguments.start,
            resume=arguments.resume,
            device=arguments.device,
            workers=arguments.workers,
            begun=begun,
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
    parser.add_argument(
        "--workers", type=int, default=0, help="processes that draw tables beside the training [0]"
    )
    parser.add_argument(
        "--recipe",
        metavar="NAME",
        help="mini-classifier or mini-regressor: continue the shipped file for 500 seconds, with "
        "settings that suit the device; other options change them",
    )
    add_parameters(parser, _settings(), "settings of the run")
    return parser


def _settings() -> dict[str, Option]:
    return options_of(fields_of(PretrainConfig))


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
    # importing torch takes seconds as well: as many, at least, as it takes of a processor
    sys.exit(main(begun=time.monotonic() - time.process_time()))
