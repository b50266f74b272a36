"""Progress bars that fit where they are shown: a terminal, a file or a notebook."""

from __future__ import annotations

import logging
import multiprocessing
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TextIO

from tqdm import TqdmWarning

with warnings.catch_warnings():
    # without ipywidgets the bar of a notebook is text, which needs no words
    warnings.simplefilter("ignore", TqdmWarning)
    from tqdm.auto import tqdm

__all__ = ["is_worker", "messages_beside_bars", "set_total", "tqdm", "worker_name"]


def is_worker() -> bool:
    """Tell whether this process is one of several that share a terminal."""
    return multiprocessing.current_process().name != "MainProcess"


def worker_name() -> str:
    """Return which of several workers this is, a process or a thread; empty if it is none."""
    name = multiprocessing.current_process().name
    if not is_worker():
        name = threading.current_thread().name
    number = re.search(r"(\d+)\D*$", name)
    return f"worker {number[1]}" if number else ""


def set_total(bar: Any, total: int) -> None:
    """Set what a bar counts to, as the widget of a notebook shows it as well."""
    bar.total = total
    container = getattr(bar, "container", None)
    if container is not None:
        _, widget, _ = container.children
        widget.max = max(1, total)


@contextmanager
def messages_beside_bars(*loggers: logging.Logger) -> Iterator[None]:
    """Let what loggers write to the terminal stand above the bars, not within their lines.

    tqdm's own `logging_redirect_tqdm` does so by handlers of its own, which have no level.
    """
    console = (sys.stdout, sys.stderr)
    with ExitStack() as afterwards:
        for handler in [handler for logger in loggers for handler in logger.handlers]:
            if isinstance(handler, logging.StreamHandler) and handler.stream in console:
                afterwards.callback(handler.setStream, handler.stream)
                handler.setStream(_AboveBars(handler.stream))
        yield


class _AboveBars:
    """A stream that takes the bars away while it is written to."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        with tqdm.external_write_mode(file=self.stream):
            return self.stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
