"""The messages of a fit: the level of this package's own logger, for a while."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from finetune_tabpfn.training._loop import logger


@contextmanager
def messages(level: int | str | None) -> Iterator[None]:
    """Let the messages of a level be seen, on standard error unless logging is set up.

    Parameters
    ----------
    level : int, str or None
        As in `logging`; None changes nothing.

    Raises
    ------
    ValueError
        When there is no such level.
    """
    if level is None:
        yield
        return
    before, handler = logger.level, logging.StreamHandler()
    try:
        logger.setLevel(level)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f'logger_level={level!r} is not a level; "INFO" or 20 would do.'
        ) from error
    if not logger.hasHandlers():
        logger.addHandler(handler)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)
