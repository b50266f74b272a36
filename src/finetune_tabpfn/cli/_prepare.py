"""``finetune-tabpfn prepare``: a clean table, training rows and test rows of a raw file."""

from __future__ import annotations

import argparse
from pathlib import Path

from finetune_tabpfn.cli._options import answer
from finetune_tabpfn.studies._cleaning import CleaningRules
from finetune_tabpfn.studies._prepare import prepare
from finetune_tabpfn.utils._optional import require


def run(arguments: argparse.Namespace) -> None:
    """Prepare a table and report."""
    rules = CleaningRules(
        merge_labels=_merges(arguments),
        drop_labels=arguments.drop_label,
        keep_columns=arguments.keep_columns,
        keep_duplicates=arguments.keep_duplicates,
        max_per_class=arguments.max_per_class,
        max_ratio=arguments.max_ratio,
    )
    report = prepare(
        arguments.data,
        arguments.out,
        target=arguments.target,
        task=arguments.task,
        rules=rules,
        missing_values=arguments.missing_values,
        test_size=arguments.test_size,
        tfidf="auto" if arguments.tfidf == [] else arguments.tfidf or (),
        n_components=arguments.tfidf_components,
        file_format=arguments.format,
        hub_repo=arguments.hub_repo,
        private=arguments.private,
        random_state=arguments.random_state,
    )
    answer(arguments, report.as_text(), report.as_dict())


def _merges(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the mapping of the file and of the options."""
    merges: dict[str, str] = {}
    if arguments.merge_labels:
        merges |= _mapping(arguments.merge_labels)
    for pair in arguments.merge_label:
        old, equals, new = pair.partition("=")
        if not (old and equals and new):
            raise ValueError(f"--merge-label {pair} must be OLD=NEW.")
        merges[old] = new
    return merges


def _mapping(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise ValueError(f"--merge-labels {path} is not a file.")
    yaml = require("yaml", f"--merge-labels {path}")
    try:
        # as text: YAML would make a boolean of the label `no`
        found = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} cannot be read as YAML: {' '.join(str(error).split())}"
        ) from error
    if not isinstance(found, dict) or not all(isinstance(new, str) for new in found.values()):
        raise ValueError(f"{path} must hold lines of `old label: new label`.")
    return found
