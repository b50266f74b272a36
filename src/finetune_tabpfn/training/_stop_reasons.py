"""Why a run ends: one list, so that whoever asks need not know how it is written."""

from __future__ import annotations

from enum import Enum


class StopReason(str, Enum):
    """What ended a run, or kept one from beginning.

    A reason may be followed by details: "diverged: the training loss was nan at step 3". Callbacks
    may give any text of their own.
    """

    EARLY_STOPPING = "early_stopping"
    MAX_STEPS = "max_steps"
    TIME_LIMIT = "time_limit"
    INTERRUPTED = "interrupted"
    OUT_OF_MEMORY = "out of memory"
    DIVERGED = "diverged"
    NO_SCORE = "no score"
    FAILED = "failed"
    TOO_FEW_ROWS = "too few rows"
    CONSTANT_TARGET = "constant target"
    CONSTANT_COLUMNS = "constant columns"

    def __str__(self) -> str:
        return self.value

    def because(self, details: object) -> str:
        """Return the reason with details."""
        return f"{self.value}: {details}"

    def ended(self, reason: str | None) -> bool:
        """Tell whether a run ended for this reason, with whatever details."""
        return (reason or "").split(":")[0] == self.value


NOTHING_TO_TRAIN_ON = (
    StopReason.TOO_FEW_ROWS,
    StopReason.CONSTANT_TARGET,
    StopReason.CONSTANT_COLUMNS,
)
# what ended a run that could go on, as far as the parameters of now allow; any other reason is the
# run's own end
GOES_ON = (
    StopReason.TIME_LIMIT,
    StopReason.MAX_STEPS,
    StopReason.EARLY_STOPPING,
    StopReason.INTERRUPTED,
    StopReason.OUT_OF_MEMORY,
    StopReason.FAILED,
)
