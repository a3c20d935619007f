"""Beat's sign of life: a file beside its schedule, touched whenever one of its messages has reached the broker.

    given_by(schedule)        # in beat
    age_s(schedule)           # in its health check; None when no message was ever sent
"""

import time
from pathlib import Path


def given_by(schedule: Path) -> None:
    """Touch the file after every message that this process sends from now on."""
    from celery import signals  # noqa: PLC0415 - the health check has no use for it

    def rung(**_: object) -> None:
        _path(schedule).touch(mode=0o600)

    signals.after_task_publish.connect(rung, weak=False)


def age_s(schedule: Path) -> float | None:
    """Seconds since the last message."""
    try:
        return max(0.0, time.time() - _path(schedule).stat().st_mtime)
    except OSError:
        return None


def _path(schedule: Path) -> Path:
    return schedule.with_name("alive")
