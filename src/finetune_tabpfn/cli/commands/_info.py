"""What ``finetune-tabpfn info`` is asked."""

from __future__ import annotations

from finetune_tabpfn.cli._options import Commands, add_json, done_by


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "info",
        help='say what "auto" is here and why, licences, cache, device, versions',
        description="Say which base model, licence and device a fit uses here if nothing else is "
        "asked for, and why; where TabPFN's cache is and what is in it; and which versions are "
        "installed. Downloads nothing.",
        usage="finetune-tabpfn info [--json]",
    )
    add_json(parser)
    done_by(parser, "_info")
