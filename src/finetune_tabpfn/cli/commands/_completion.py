"""What ``finetune-tabpfn completion`` is asked."""

from __future__ import annotations

from finetune_tabpfn.cli._options import Commands, done_by

SHELLS = ("bash", "zsh", "fish", "powershell")


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "completion",
        help="print what lets a shell complete commands, options, choices and columns",
        description='`eval "$(finetune-tabpfn completion bash)"` in ~/.bashrc, `... zsh` in '
        "~/.zshrc: the shell then completes commands, options, their choices and, after --target, "
        "the columns of a CSV.",
        usage="finetune-tabpfn completion {bash,zsh,fish,powershell}",
    )
    parser.add_argument("shell", choices=SHELLS)
    done_by(parser, "_completion")
