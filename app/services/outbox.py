"""The outbox: send what a committed transaction left to be said, and forget it once sent."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

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
    if sent:
        try:
            with db.engine.begin() as conn:
                conn.execute(delete(Outbox).where(Outbox.id.in_(sent)))
        except DBAPIError as exc:
            log.warning("outbox_rows_left", count=len(sent), reason=type(exc.orig).__name__)
    return len(sent)


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
