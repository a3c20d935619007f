"""Celery's results: stored once at the end of a run or an action, so that `AsyncResult(task_id)` answers.

Best effort: the rows are the truth, and Redis may be away.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import redis
from celery.result import AsyncResult, GroupResult

from app.adapters.broker import celery
from app.config import get_settings
from app.log import get_logger

log = get_logger(__name__)
TIMEOUT_S = 0.5


class TaskFailed(Exception):
    """What `AsyncResult.get()` raises for a run or an action that failed; the text is its error code."""


def store(task_id: UUID, ok: bool, result: dict[str, Any]) -> bool:
    """Store a final result; False when the backend did not take it."""
    value: Any = result if ok else TaskFailed(str((result.get("error") or {}).get("code", "failed")))
    return _quietly(
        "result_not_stored", lambda: celery.backend.store_result(str(task_id), value, "SUCCESS" if ok else "FAILURE")
    )


def save_group(group_id: UUID, task_ids: Sequence[UUID]) -> bool:
    """Save a Celery GroupResult of these tasks; False when the backend did not take it."""
    members = [AsyncResult(str(t), app=celery) for t in task_ids]
    return _quietly(
        "group_not_saved", lambda: GroupResult(str(group_id), members, app=celery).save(backend=celery.backend)
    )


def _quietly(event: str, call: Any) -> bool:
    try:
        _ping()
        call()
    except Exception as exc:  # noqa: BLE001 - whatever it is, the rows are written and say how it ended
        log.warning(event, reason=type(exc).__name__)
        return False
    return True


def _ping() -> None:
    """Ask with short time limits first: the backend's own client would wait much longer for a dead Redis."""
    url = get_settings().celery_result_backend
    if url.startswith(("redis", "unix")):
        with redis.Redis.from_url(
            url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=None
        ) as client:
            client.ping()
