"""What Ctrl-C does."""

from __future__ import annotations

import signal
from typing import Any


def on_ctrl_c(answer: Any) -> None:
    """Say what Ctrl-C does from now on, unless a shell lets a job in the background ignore it."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, answer)
