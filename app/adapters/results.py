"""Celery's results: stored once at the end of a run or an action, so that `AsyncResult(task_id)` answers.

Best effort: the rows are the truth, and Redis may be away.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import redis
from celery.result import AsyncResult, GroupResult
from kombu.exceptions import KombuError

from app.adapters.broker import celery
from app.log import get_logger
from app.streaming import events

log = get_logger(__name__)
_ERRORS = (redis.RedisError, KombuError, OSError, RuntimeError)


class TaskFailed(Exception):
    """What `AsyncResult.get()` raises for a run or an action that failed; the text is its error code."""


def store(task_id: UUID, ok: bool, result: dict[str, Any]) -> bool:
    """Store a final result; False when the backend did not take it."""
    value: Any = result if ok else TaskFailed(str((result.get("error") or {}).get("code", "failed")))
    return _quietly("result_not_stored", lambda: celery.backend.store_result(str(task_id), value, "SUCCESS" if ok else "FAILURE"))


def save_group(group_id: UUID, task_ids: Sequence[UUID]) -> bool:
    """Save a Celery GroupResult of these tasks; False when the backend did not take it."""
    members = [AsyncResult(str(t), app=celery) for t in task_ids]
    return _quietly("group_not_saved", lambda: GroupResult(str(group_id), members, app=celery).save(backend=celery.backend))


def _quietly(event: str, call: Any) -> bool:
    try:
        # Asked with short time limits first: the backend's own client would wait much longer for a dead Redis.
        events.client().ping()
        call()
    except _ERRORS as exc:
        log.warning(event, reason=type(exc).__name__)
        return False
    return True
