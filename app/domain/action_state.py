"""Actions on a server (power): their kinds, states and what may be sent twice."""

from enum import StrEnum


class ActionKind(StrEnum):
    START = "start"
    SHUTDOWN = "shutdown"
    STOP = "stop"
    REBOOT = "reboot"
    RESET = "reset"


class ActionState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


FINAL = frozenset({ActionState.SUCCEEDED, ActionState.FAILED, ActionState.CANCELED})
# Sending these again leads to the same state; the others end "outcome unknown" when in doubt.
IDEMPOTENT = frozenset({ActionKind.START, ActionKind.SHUTDOWN, ActionKind.STOP})
