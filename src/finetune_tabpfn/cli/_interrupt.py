"""Ctrl-C ends the program in one line, at any moment."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found] # signal without its enumerations
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

INTERRUPTED = 130  # exit status, as shells have it
MESSAGE = "finetune-tabpfn: interrupted"
ignore = signal.SIG_IGN


def on_ctrl_c(answer: Any) -> None:
    """Say what Ctrl-C does from now on, unless a shell lets a job in the background ignore it."""
    if signal.getsignal(signal.SIGINT) != ignore:
        signal.signal(signal.SIGINT, answer)


def leave(*_: object) -> NoReturn:
    """End the process at once: nothing has been done yet."""
    os.write(2, f"{MESSAGE}\n".encode())
    os._exit(INTERRUPTED)
