"""The outbox: send what a committed transaction left to be said, and forget it once sent.

A web process forgets in batches (`forget_in_batches`): the person who waits for an answer does not wait for that, and
many requests at once cost one delete. What a process that dies had not yet forgotten is sent again: bells lose their
claim, events carry versions and ids.
"""

import queue
import threading
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from flask import Flask
from sqlalchemy import delete, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.adapters import broker
from app.domain.tasks import TaskName
from app.extensions import db
from app.log import get_logger
from app.models import Outbox
from app.streaming import events

log = get_logger(__name__)
Entry = tuple[int, str, dict[str, Any]]
BATCH_S, BATCH = 0.1, 1000
_sent: "queue.SimpleQueue[int] | None" = None


def deliver(entries: Sequence[Entry]) -> int:
    """Send these rows and delete those that went out; returns how many did. Never raises: the rows stay."""
    sent: list[int] = []
    event_rows = [(i, p) for i, kind, p in entries if kind == "event"]
    if events.append([events.Event(p["type"], p["audience"], p["data"]) for _, p in event_rows]):
        sent += [i for i, _ in event_rows]
    for row_id, payload in ((i, p) for i, kind, p in entries if kind == "bell"):
        try:
            task_id = UUID(payload["task_id"]) if payload["task_id"] else None
            broker.ring(TaskName(payload["task"]), payload["args"], task_id)
            sent.append(row_id)
        except broker.BrokerDown as exc:
            log.warning("bell_not_sent", task=payload["task"], reason=str(exc))
    if _sent is None:
        _forget(sent)
    else:
        for row_id in sent:
            _sent.put(row_id)
    return len(sent)


def _forget(sent: Sequence[int]) -> None:
    if not sent:
        return
    try:
        with db.engine.begin() as conn:
            conn.execute(delete(Outbox).where(Outbox.id.in_(sent)))
    except DBAPIError as exc:
        log.warning("outbox_rows_left", count=len(sent), reason=type(exc.orig).__name__)


def forget_in_batches(app: Flask) -> None:
    """From now on rows that were sent are deleted by a thread of this process, a moment later."""
    global _sent  # noqa: PLW0603 - one a process
    _sent = queue.SimpleQueue()
    threading.Thread(target=_keep_forgetting, args=(app, _sent), name="outbox", daemon=True).start()


def _keep_forgetting(app: Flask, sent: "queue.SimpleQueue[int]") -> None:
    with app.app_context():
        while True:
            batch = [sent.get()]
            time.sleep(BATCH_S)
            _forget([*batch, *_waiting(sent)])


def _waiting(sent: "queue.SimpleQueue[int]") -> list[int]:
    found: list[int] = []
    while len(found) < BATCH:
        try:
            found.append(sent.get_nowait())
        except queue.Empty:
            break
    return found


def forget_the_rest() -> None:
    """Delete what the thread has not yet; before the process ends."""
    if _sent is not None:
        while batch := _waiting(_sent):
            _forget(batch)


def sweep(older_than_s: float = 2.0, limit: int = 500) -> int:
    """Send rows that their own transaction's process did not; several sweepers share the work."""
    with Session(db.engine) as session, session.begin():
        rows = session.scalars(
            select(Outbox)
            .where(Outbox.created_at < func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, older_than_s))
            .order_by(Outbox.id)
            .limit(limit)
            .with_for_update(key_share=True, skip_locked=True)
        ).all()
        entries = [(r.id, r.kind, r.payload) for r in rows]
    return deliver(entries) if entries else 0
