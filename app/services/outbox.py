"""The outbox: send what a committed transaction left to be said, and forget it once sent.

A web process does both in threads of its own (`deliver_in_background`): the person who waits for an answer does not wait
for that, nor for a broker that is down, and many requests at once cost one round trip. What a process that dies had not
yet sent, the sweeper sends; what it had not yet forgotten is sent again: bells lose their claim, events carry versions
and ids.
"""

import queue
import threading
import time
from collections.abc import Sequence
from typing import Any, TypeVar
from uuid import UUID

from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.adapters import broker
from app.adapters.redis_client import cache
from app.domain.tasks import TaskName
from app.extensions import db
from app.log import get_logger
from app.models import Outbox
from app.pool import alone
from app.services import kept
from app.services.prepared import Prepared
from app.streaming import events

log = get_logger(__name__)
Message = tuple[str, dict[str, Any]]  # bell or event, and its payload
Entry = tuple[int, str, dict[str, Any]]  # the same with its row's id
# Who asks next comes first: telling takes this process as long as a fifth of his request.
AFTER_S = 0.005
# While one request follows another, some are told of together: that takes a third of the time.
PORTION_S = 0.025
BATCH_S, BATCH = 1.0, 1000
T = TypeVar("T")
_to_send: "queue.SimpleQueue[Sequence[Entry]] | None" = None
_to_forget: "queue.SimpleQueue[Sequence[int]] | None" = None
_FORGET = Prepared("delete from outbox where id in (select value::bigint from jsonb_array_elements_text($1))")
_STORE = Prepared("insert into outbox (kind, payload) select m->>0, m->1 from jsonb_array_elements($1) m returning id")


def store(session: Session, messages: Sequence[Message]) -> list[Entry]:
    """Write what is to be told after this transaction."""
    ids = _STORE.all(session, messages)
    return [(row_id, kind, payload) for row_id, (kind, payload) in zip(ids, messages, strict=True)]


def deliver(entries: Sequence[Entry]) -> None:
    """Send these rows and delete those that went out; in a web process a moment later. Never raises: the rows stay."""
    if _to_send is None:
        _forget(send(entries))
    else:
        _to_send.put(entries)


def send(entries: Sequence[Entry]) -> list[int]:
    """Send these rows; returns the ids of those that went out."""
    sent: list[int] = []
    event_rows = [(i, p) for i, kind, p in entries if kind == "event"]
    told = [events.Event(p["type"], p["audience"], p["data"]) for _, p in event_rows]
    # Before anybody is told: who then looks must not find what was kept.
    if events.append(told, lambda client: cache.forget(client, kept.old(told))):
        sent += [i for i, _ in event_rows]
    return sent + _rung([(i, p) for i, kind, p in entries if kind == "bell"])


def _rung(rows: Sequence[tuple[int, dict[str, Any]]]) -> list[int]:
    if not rows:
        return []
    count = len(rows)
    try:
        broker.ring([broker.Bell(TaskName(p["task"]), p["args"], UUID(p["task_id"]) if p["task_id"] else None, p.get("origin")) for _, p in rows])
    except broker.BrokerDown as exc:
        count = exc.rung
        log.warning("bells_not_sent", count=len(rows) - count, reason=str(exc))
    return [row_id for row_id, _ in rows[:count]]


def _forget(sent: Sequence[int]) -> None:
    if not sent:
        return
    try:
        with alone(db.engine) as conn:
            # Nobody waits for the disk, above all not those who commit at this moment: what a crash brings back is sent again.
            _FORGET.rows(conn, sent, "begin; set local synchronous_commit = off; ", "; commit")
    except SQLAlchemyError as exc:
        log.warning("outbox_rows_left", count=len(sent), reason=type(exc).__name__)


def deliver_in_background(app: Flask) -> None:
    """From now on two threads of this process send and delete: nobody who waits for an answer waits for that."""
    global _to_send, _to_forget
    _to_send, _to_forget = queue.SimpleQueue(), queue.SimpleQueue()
    for work in (_keep_sending, _keep_forgetting):
        threading.Thread(target=work, args=(app,), name=f"outbox-{work.__name__}", daemon=True).start()


def _keep_sending(app: Flask) -> None:
    with app.app_context():
        while _to_send is not None and _to_forget is not None:
            first = _to_send.get()
            time.sleep(AFTER_S)
            several = [first, *_waiting(_to_send)]
            entries = [entry for one in several for entry in one]
            try:
                _to_forget.put(send(entries))
            except Exception:  # the sweeper sends them; the next ones must not wait for a fault of these
                log.exception("outbox_not_sent", count=len(entries))
            if len(several) > 1:
                time.sleep(PORTION_S)


def _keep_forgetting(app: Flask) -> None:
    with app.app_context():
        while _to_forget is not None:
            first = _to_forget.get()
            time.sleep(BATCH_S)
            _forget([row_id for several in [first, *_waiting(_to_forget)] for row_id in several])


def _waiting(among: "queue.SimpleQueue[T]") -> list[T]:
    found: list[T] = []
    while len(found) < BATCH:
        try:
            found.append(among.get_nowait())
        except queue.Empty:
            break
    return found


def finish() -> None:
    """Send and delete what the threads have not yet; before the process ends."""
    if _to_send is not None and _to_forget is not None:
        sent = [send(entries) for entries in _waiting(_to_send)]
        while batch := [row_id for several in [*sent, *_waiting(_to_forget)] for row_id in several]:
            sent = []
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
    sent = send(entries)
    _forget(sent)
    return len(sent)
