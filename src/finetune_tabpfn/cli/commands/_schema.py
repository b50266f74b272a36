"""What ``finetune-tabpfn schema`` is asked."""

from __future__ import annotations

from finetune_tabpfn.cli._options import Commands, done_by, ending_in


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "schema",
        help="print the JSON Schema of configuration files, for editors",
        description="Print the JSON Schema of the configuration files of `run`. With `# "
        "yaml-language-server: $schema=FILE` as its first line, editors complete and check one.",
        usage="finetune-tabpfn schema [--out FILE]",
    )
    parser.add_argument(
        "--out", type=ending_in(".json"), metavar="FILE", help=".json [standard output]"
    )
    done_by(parser, "_schema")
