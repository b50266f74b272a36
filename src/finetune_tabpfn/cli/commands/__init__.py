"""What each command is asked, and how its help explains it. Nothing here takes time to import."""

from finetune_tabpfn.cli.commands import (
    _completion,
    _demo,
    _evaluate,
    _export,
    _fit,
    _info,
    _predict,
    _prepare,
    _preview,
    _run,
    _schema,
    _study,
    _synth,
)

# in the order of the help
COMMANDS = (
    _prepare,
    _preview,
    _fit,
    _predict,
    _evaluate,
    _run,
    _study,
    _export,
    _synth,
    _info,
    _schema,
    _completion,
    _demo,
)

__all__ = ["COMMANDS"]
