"""A safe change: a snapshot, the change, a look whether the server answers; then it is kept, or put back. Pure.

Each part is an action or a run of its own; the one that follows begins when the last one has ended.
"""

from enum import StrEnum


class SafeChangeState(StrEnum):
    SNAPSHOT = "snapshot"
    CHANGE = "change"
    VERIFY = "verify"
    ROLL_BACK = "roll_back"
    START = "start"  # a snapshot without memory leaves the server off
    CLEAN_UP = "clean_up"  # the snapshot is deleted
    KEPT = "kept"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"


class VerifyBy(StrEnum):
    """What tells that the server is well: its guest agent, or a TCP port of its first address."""

    AGENT = "agent"
    PORT = "port"


S = SafeChangeState
FINAL = frozenset({S.KEPT, S.ROLLED_BACK, S.FAILED})
# The parts in their order, as they are shown: on the way that was hoped for, and on the way back.
FORWARD = (S.SNAPSHOT, S.CHANGE, S.VERIFY)
BACK = (S.ROLL_BACK, S.START)
MOVES: dict[SafeChangeState, frozenset[SafeChangeState]] = {
    S.SNAPSHOT: frozenset({S.CHANGE, S.FAILED}),
    S.CHANGE: frozenset({S.VERIFY, S.ROLL_BACK, S.CLEAN_UP}),
    S.VERIFY: frozenset({S.CLEAN_UP, S.ROLL_BACK}),
    S.ROLL_BACK: frozenset({S.START, S.CLEAN_UP, S.FAILED}),
    S.START: frozenset({S.CLEAN_UP, S.FAILED}),
    S.CLEAN_UP: FINAL,
}
MIN_TIMEOUT_S, MAX_TIMEOUT_S, TIMEOUT_S = 10, 1800, 180
FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 15.0


def can_move(old: SafeChangeState, new: SafeChangeState) -> bool:
    """True when the table has this transition."""
    return new in MOVES.get(old, frozenset())


def pause_s(tries: int) -> float:
    """Return how long to wait after so many tries without an answer, in seconds: longer each time."""
    return min(FIRST_PAUSE_S * 1.5 ** max(tries - 1, 0), LONGEST_PAUSE_S)
