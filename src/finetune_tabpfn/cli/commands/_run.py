"""What ``finetune-tabpfn run`` is asked."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from finetune_tabpfn.cli._options import Commands, add_json, done_by
from finetune_tabpfn.runs._options import (
    add_option,
    as_typed,
    checked,
    parse_value,
    settings_of_runs,
)

# keys of the file that other commands have an option of another name for
AS_ELSEWHERE = {"path": "--data", "folder": "--out"}
DESCRIPTION = """\
Fine-tune, test and save as a YAML file says (docs/configuration.md), into a folder of its own:
output.folder/experiment/TIME/ with the configuration, metrics, history, curve and model. The link
`best` beside it points to the best run of the experiment. The shortest file is two lines:
`data: {path: churn.csv, target: churn}` and `base_model: mini`."""


def _assignment(text: str) -> tuple[str, Any]:
    """Read SECTION.NAME=VALUE; an unknown place is left to the reader of the file."""
    place, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text} must be SECTION.NAME=VALUE")
    section, _, name = place.partition(".")
    option = settings_of_runs().get(section, {}).get(name)
    try:
        return place, parse_value(value) if option is None else checked(option, value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{place} {error}") from error


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "run",
        help="fine-tune, test and save as a YAML file says",
        description=DESCRIPTION,
        usage="finetune-tabpfn run CONFIG [options]",
    )
    parser.add_argument(
        "config", type=Path, metavar="CONFIG", help="YAML file; - is standard input"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_assignment,
        metavar="SECTION.NAME=VALUE",
        dest="overrides",
        help="override the file; may be given several times",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--validate-config", action="store_true", help="only check the file and print it in full"
    )
    instead.add_argument(
        "--dry-run",
        action="store_true",
        help="only say what would run on what, with an estimate of time and memory: loads table "
        "and base model, trains nothing, writes nothing",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    add_json(parser)
    for section, options in settings_of_runs().items():
        group = parser.add_argument_group(f"{section}, over the file")
        for option in options.values():
            nothing = option.is_required or option.default == []
            said = "" if nothing else f" [{as_typed(option.default)}]"
            flag = AS_ELSEWHERE.get(option.name)
            add_option(group, option, said, argparse.SUPPRESS, flag)
    done_by(parser, "_run", inputs=("config",))
