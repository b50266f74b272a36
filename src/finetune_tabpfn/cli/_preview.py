"""``finetune-tabpfn preview``: whether fine-tuning pays, or rows should be added."""

from __future__ import annotations

import argparse
import sys

from finetune_tabpfn.cli import _pipes
from finetune_tabpfn.runs._options import chosen_parameters, settings
from finetune_tabpfn.studies._preview import as_text, preview
from finetune_tabpfn.utils._files import save_whole
from finetune_tabpfn.utils._text import to_json


def run(arguments: argparse.Namespace) -> None:
    """Preview and report."""
    result = preview(
        arguments.data,
        target=arguments.target,
        base_data=arguments.base_data,
        baseline_model=arguments.baseline_model,
        task=arguments.task,
        missing_values=arguments.missing_values,
        sample_size=arguments.sample_size,
        full=arguments.full,
        test_mode=arguments.test_mode,
        cache_dir=None if arguments.no_cache else arguments.cache_dir or "user",
        say=(lambda line: None) if arguments.quiet else _to_stderr,
        **chosen_parameters(arguments, settings()),
    )
    as_json = arguments.json or arguments.output_format == "json"
    text = _pipes.named(to_json(result) if as_json else as_text(result))
    if _pipes.is_standard(arguments.out):
        print(text)
        return
    save_whole(arguments.out, lambda part: part.write_text(text + "\n", encoding="utf-8"))
    print(f"{result['verdict']}\nsaved {arguments.out}")


def _to_stderr(line: str) -> None:
    print(_pipes.named(line), file=sys.stderr, flush=True)
