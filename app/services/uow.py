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

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.domain.tasks import TaskName
from app.extensions import db
from app.models import Outbox
from app.services import outbox


class UnitOfWork:
    """One transaction: `session`, and the bells and events that follow its commit."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.rows: list[Outbox] = []

    def ring(self, task: TaskName, args: Sequence[object], task_id: UUID | None = None) -> None:
        """Ring a Celery task after commit. Ids only: the row is the job, the message a bell."""
        self._add("bell", {"task": task.value, "args": [str(a) for a in args], "task_id": str(task_id) if task_id else None})

    def publish(self, type_: str, audience: str, data: Mapping[str, Any]) -> None:
        """Tell browsers after commit; see streaming/events.py for types and audiences."""
        self._add("event", {"type": type_, "audience": audience, "data": dict(data)})

    def _add(self, kind: str, payload: dict[str, Any]) -> None:
        row = Outbox(kind=kind, payload=payload)
        self.session.add(row)
        self.rows.append(row)


@contextmanager
def unit_of_work() -> Iterator[UnitOfWork]:
    """Open a transaction of its own; commit at the end, roll back on an exception."""
    session = Session(db.engine, expire_on_commit=False)
    uow = UnitOfWork(session)
    try:
        yield uow
        session.commit()
    except BaseException:
        session.rollback()
        raise
    finally:
        session.close()
    if uow.rows:
        outbox.deliver([(row.id, row.kind, row.payload) for row in uow.rows])
