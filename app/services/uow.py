"""A transaction, and what leaves the process after it commits.

    with unit_of_work() as uow:
        ...                      # uow.session; services never commit
        uow.ring(TaskName.RUN, [str(run.task_id)], run.task_id)
        uow.publish("run", audience, {...})

Bells and events are outbox rows of the same transaction, sent best effort right after the commit and by the
sweeper otherwise.

Rows are locked with `with_for_update(key_share=True)`: a second update of a child row within one transaction takes a key
share lock on each of its parents, so that two transactions which then want the parent exclusively would wait for each
other. Only what deletes a parent locks it whole.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import UUID

from psycopg2.errors import DeadlockDetected
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app import tracing
from app.domain.tasks import TaskName
from app.extensions import db
from app.models import Outbox
from app.services import outbox
from app.services.batch import Batch

T = TypeVar("T")
CROSSED = 2  # more often than that in a row it is no chance


class UnitOfWork:
    """One transaction: `session`, and the bells and events that follow its commit."""

    def __init__(self, session: Session) -> None:
        self.session = session
        # Whether a batch is the last thing that this transaction does.
        self.batch_ends = False
        self._ended = False
        self._to_tell: list[outbox.Message] = []
        self._told: list[outbox.Entry] = []

    def ring(self, task: TaskName, args: Sequence[object], task_id: UUID | None = None) -> None:
        """Ring a Celery task after commit. Ids only: the row is the job, the message a bell."""
        self._to_tell.append(("bell", {"task": task.value, "args": [str(a) for a in args], "task_id": str(task_id) if task_id else None, "origin": tracing.origin()}))

    def publish(self, type_: str, audience: str, data: Mapping[str, Any]) -> None:
        """Tell browsers after commit; see streaming/events.py for types and audiences."""
        self._to_tell.append(("event", {"type": type_, "audience": audience, "data": dict(data)}))

    def write(self, rows: Batch, ids: Sequence[int]) -> None:
        """Write a batch and in it, under ids drawn beforehand, what is to be told. Raises Taken: then none of it is."""
        messages, self._to_tell = self._to_tell, []
        entries = [(row_id, kind, payload) for row_id, (kind, payload) in zip(ids, messages, strict=True)]
        for row_id, kind, payload in entries:
            rows.put(Outbox, {"id": row_id, "kind": kind, "payload": payload})
        rows.write(self.session, commit=self.batch_ends)
        self._ended = self.batch_ends
        self._told += entries

    def commit(self) -> list[outbox.Entry]:
        """Commit; returns what may be told now."""
        if self._to_tell:
            self._told += outbox.store(self.session, self._to_tell)
            self._ended = False
        # A session takes a while to find out that nothing is left to commit.
        if not self._ended:
            self.session.commit()
        return self._told


@contextmanager
def unit_of_work() -> Iterator[UnitOfWork]:
    """Open a transaction of its own; commit at the end, roll back on an exception."""
    session = Session(db.engine, expire_on_commit=False)
    uow = UnitOfWork(session)
    try:
        yield uow
        entries = uow.commit()
    except BaseException:
        session.rollback()
        raise
    finally:
        session.close()
    if entries:
        outbox.deliver(entries)


def in_peace(work: Callable[[UnitOfWork], T]) -> T:
    """Do work that locks many rows in a transaction; begin anew when PostgreSQL ended it in favour of another that crossed it."""
    for _ in range(CROSSED):
        try:
            with unit_of_work() as uow:
                return work(uow)
        except OperationalError as exc:
            if not isinstance(exc.orig, DeadlockDetected):
                raise
    with unit_of_work() as uow:
        return work(uow)
