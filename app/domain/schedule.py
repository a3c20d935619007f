"""When scheduled work is due, and what becomes of it when it is late or when the last one still runs. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from itertools import islice
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

LATE_S = 60.0  # what is due for longer was missed: nobody was there to do it
MIN_EVERY_S, MAX_EVERY_S = 60, 366 * 86_400
MAX_IN_S = 10 * 366 * 86_400


class ScheduleKind(StrEnum):
    AT = "at"
    IN = "in"
    CRON = "cron"
    EVERY = "every"


class Misfire(StrEnum):
    """What becomes of work that was missed: done once when somebody is there again, or left out."""

    RUN_ONCE = "run_once"
    SKIP = "skip"


class Overlap(StrEnum):
    """What becomes of work that is due while the last one still runs: left out, or done after it."""

    SKIP = "skip"
    QUEUE = "queue"


class ExecutionState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"


OPEN = frozenset({ExecutionState.QUEUED, ExecutionState.RUNNING})
ONCE = frozenset({ScheduleKind.AT, ScheduleKind.IN})


@dataclass(frozen=True)
class Rhythm:
    """`first` is when it is due the first time (at, in) or from where intervals are counted; `cron` is read in `timezone`."""

    kind: ScheduleKind
    first: datetime
    cron: str = ""
    every_s: int = 0
    timezone: str = "UTC"


@cache
def zones() -> frozenset[str]:
    """Return the names of the time zones this machine knows."""
    return frozenset(available_timezones())


def cron_fault(expression: str) -> bool:
    """True when it is not an expression of five fields that ever comes true."""
    if len(expression.split()) != 5:
        return True
    try:
        return next(CronSim(expression, datetime(2024, 1, 1, tzinfo=UTC)), None) is None
    except CronSimError:
        return True


def next_after(rhythm: Rhythm, after: datetime) -> datetime | None:
    """Return when the work is due next; None when never again, as far as this machine knows the time zone."""
    return next(_times(rhythm, after), None)


def upcoming(rhythm: Rhythm, after: datetime, count: int = 5) -> list[datetime]:
    """Return the next times, in UTC."""
    return list(islice(_times(rhythm, after), count))


def _times(rhythm: Rhythm, after: datetime) -> Iterator[datetime]:
    if rhythm.kind in ONCE:
        if rhythm.first > after:
            yield rhythm.first
    elif rhythm.kind == ScheduleKind.EVERY:
        passed = (after - rhythm.first) // timedelta(seconds=rhythm.every_s)
        number = max(passed + 1, 0)
        while True:
            yield rhythm.first + timedelta(seconds=rhythm.every_s * number)
            number += 1
    elif rhythm.timezone in zones():
        # An hour that a zone leaves out is made up for when it is over, one that comes twice counts once.
        for time in CronSim(rhythm.cron, after.astimezone(ZoneInfo(rhythm.timezone))):
            yield time.astimezone(UTC)


@dataclass(frozen=True)
class Due:
    """What to do with work that is due: its state, why it is left out, and when it is due again."""

    state: ExecutionState
    reason: str
    next_at: datetime | None

    @property
    def starts(self) -> bool:
        return self.state == ExecutionState.QUEUED


def decide(rhythm: Rhythm, due_at: datetime, now: datetime, misfire: Misfire, overlap: Overlap, busy: bool) -> Due:
    """Decide about work that was due at `due_at`; what was due since then counts as one with it."""
    next_at = next_after(rhythm, now)
    if next_at is None and rhythm.kind == ScheduleKind.CRON:
        return Due(ExecutionState.SKIPPED, "schedule_zone_unknown", None)
    if (now - due_at).total_seconds() > LATE_S and misfire == Misfire.SKIP:
        return Due(ExecutionState.SKIPPED, "schedule_missed", next_at)
    if busy and overlap == Overlap.SKIP:
        return Due(ExecutionState.SKIPPED, "schedule_still_running", next_at)
    return Due(ExecutionState.QUEUED, "", next_at)
