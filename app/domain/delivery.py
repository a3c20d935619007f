"""Notifications by kind, what somebody wants of each, and how often a delivery is tried. Pure."""

from enum import StrEnum


class Kind(StrEnum):
    """What notifications are about, as people choose among them."""

    DECISIONS = "decisions"
    RUNS_DONE = "runs_done"
    RUNS_FAILED = "runs_failed"
    ACTIONS_DONE = "actions_done"
    ACTIONS_FAILED = "actions_failed"


class Mode(StrEnum):
    """`toast` is the inbox and, for one's own doings, a toast; `none` writes nothing: the run itself still tells."""

    TOAST = "toast"
    INBOX = "inbox"
    NONE = "none"


class Level(StrEnum):
    ALL = "all"
    FAILURES = "failures"


class DeliveryState(StrEnum):
    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"


MAX_ATTEMPTS = 6
FIRST_WAIT_S, LONGEST_WAIT_S = 10.0, 1800.0


def kind_of(code: str) -> Kind:
    """Return what a notification's code is about."""
    if code in ("run_planned", "run_waits"):
        return Kind.DECISIONS
    failed = code.endswith(("failed", "errored", "rolled_back"))
    if code.startswith("run_"):
        return Kind.RUNS_FAILED if failed else Kind.RUNS_DONE
    return Kind.ACTIONS_FAILED if failed else Kind.ACTIONS_DONE


def wait_s(attempts: int, chance: float) -> float:
    """Return how long to wait after so many attempts; `chance` (0 to 1) spreads those that failed together."""
    return min(FIRST_WAIT_S * 4.0 ** (attempts - 1), LONGEST_WAIT_S) * (0.75 + 0.5 * chance)
