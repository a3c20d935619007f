"""Beat's part of scheduled work: what is due is noted once, what waited begins, what ended is settled.

Any number of beats may ring at the same time: a schedule that one works on is left out by the others, and a time is noted
under the moment it was due, which its table has once.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import and_, delete, exists, func, select
from sqlalchemy.orm import aliased

from app.domain import schedule as domain
from app.domain.schedule import ExecutionState
from app.domain.tasks import TaskName
from app.log import get_logger
from app.models import Execution, Schedule, Setting
from app.services import clock, pause, schedule_execution, schedules
from app.services.uow import UnitOfWork, in_peace

log = get_logger(__name__)
BATCH = 100
BELL_S = 10.0
KEPT = timedelta(days=90)


def tick() -> None:
    """Do what is due, until nothing is."""
    running, paused, due, waiting, old = in_peace(_look)
    if running:
        for row in in_peace(_settle):
            schedule_execution.store(row)
    # Times that pass meanwhile are missed ones; each schedule says itself what becomes of those.
    if not paused:
        while due and in_peace(_claim):
            pass
        # Also after what was just noted or has just ended.
        if running or due or waiting:
            in_peace(_ring)
    if old:
        in_peace(_forget)


def _look(uow: UnitOfWork) -> Sequence[bool]:
    """Return whether executions run, runs are paused, times are due, executions wait, and some are to be forgotten.

    Most ticks find nothing, so all of it is asked in one statement.
    """
    return tuple(uow.session.execute(_QUESTION).one())


def _due(now: Any) -> Any:
    return and_(Schedule.next_run_at <= now, ~Schedule.paused)


def _old() -> Any:
    return Execution.finished_at < func.clock_timestamp() - KEPT


_OPEN = Execution.finished_at.is_(None)  # an index has those alone
_QUESTION = select(
    select(Execution).where(_OPEN, Execution.state == ExecutionState.RUNNING).exists(),
    select(Setting).where(Setting.key == pause.KEY).exists(),
    select(Schedule).where(_due(func.clock_timestamp())).exists(),
    select(Execution).where(_OPEN, Execution.state == ExecutionState.QUEUED).exists(),
    select(Execution).where(_old()).exists(),
)


def _claim(uow: UnitOfWork) -> bool:
    """Note the times that are due now; True when there may be more."""
    now = clock.now(uow.session)
    due = select(Schedule).where(_due(now)).order_by(Schedule.next_run_at).limit(BATCH)
    rows = uow.session.scalars(due.with_for_update(key_share=True, skip_locked=True)).all()
    for row in rows:
        due_at = row.next_run_at
        if due_at is None:
            continue
        busy = schedules.is_open(uow.session, row.id)
        found = domain.decide(schedules.rhythm(row), due_at, now, row.misfire, row.overlap, busy)
        row.next_run_at = found.next_at
        row.version += 1
        schedules.add(uow, row, due_at, found.state, reason=found.reason, ring=not busy)
        log.info("schedule_due", schedule_id=row.id, due_at=due_at.isoformat(), state=found.state.value, reason=found.reason)
    return len(rows) == BATCH


def _ring(uow: UnitOfWork) -> None:
    """Ring for those that wait, when it is their turn: the first, or those whose bell nobody heard."""
    before = aliased(Execution)
    first = ~exists().where(before.schedule_id == Execution.schedule_id, before.finished_at.is_(None), before.id < Execution.id)
    heard = func.coalesce(Execution.bell_at < func.clock_timestamp() - timedelta(seconds=BELL_S), True)
    query = select(Execution).where(Execution.state == ExecutionState.QUEUED, first, heard).order_by(Execution.id).limit(BATCH)
    for row in uow.session.scalars(query.with_for_update(skip_locked=True)):
        row.bell_at = func.clock_timestamp()
        uow.ring(TaskName.EXECUTION, [row.task_id], row.task_id)


def _settle(uow: UnitOfWork) -> list[Execution]:
    """End those whose work has ended; returns them."""
    running = schedule_execution.held(select(Execution).where(Execution.state == ExecutionState.RUNNING).order_by(Execution.id).limit(BATCH * 10))
    return [row for row in uow.session.scalars(running).all() if schedule_execution.settle(uow, row)]


def _forget(uow: UnitOfWork) -> None:
    uow.session.execute(delete(Execution).where(_old()))


