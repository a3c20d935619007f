"""Work that starts by itself: what may be asked for, changing and looking at it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from app.domain import bulk as bulk_domain
from app.domain import schedule as domain
from app.domain.bulk import BulkKind
from app.domain.permissions import Permission
from app.domain.schedule import ExecutionState, Overlap, Rhythm
from app.domain.tasks import TaskName
from app.errors import FieldError, Forbidden, Invalid, NotFound, ScheduleBusy
from app.models import Execution, Schedule
from app.schemas.faults import field_errors
from app.schemas.page import Page, decode_cursor, encode_cursor
from app.schemas.schedules import ScheduleChange, ScheduleCreate, Timing, Work
from app.services import audit, bulk, clock, server_checks, servers
from app.services.actor import Actor
from app.services.uow import UnitOfWork

MOST = 200  # that one person may have


def rhythm(row: Schedule) -> Rhythm:
    """Return when a schedule is due."""
    return Rhythm(row.kind, row.first_at, row.cron, row.every_s, row.timezone)


def upcoming(row: Schedule, now: datetime, count: int = 5) -> list[datetime]:
    """Return the next times it starts; none while it is paused."""
    if row.paused or row.next_run_at is None:
        return []
    later = domain.upcoming(rhythm(row), max(row.next_run_at, now), count)
    return [row.next_run_at, *later][:count]


# ---- asking
def create(uow: UnitOfWork, actor: Actor, data: ScheduleCreate) -> Schedule:
    """Add a schedule. Raises Invalid with every fault, Forbidden for work that the actor may not do."""
    actor.need(Permission.SCHEDULE)
    if (uow.session.scalar(select(func.count()).select_from(Schedule).where(Schedule.created_by_id == actor.user_id)) or 0) >= MOST:
        raise Invalid([FieldError("name", "schedule_too_many", {"limit": MOST})])
    now = clock.now(uow.session)
    row = Schedule(
        name=data.name, created_by_id=actor.user_id, misfire=data.misfire, overlap=data.overlap, work=_checked(uow.session, actor, data.work), version=1, paused=False,
        kind=data.kind, first_at=data.first(now), cron=data.cron or "", every_s=data.every_s or 0, timezone=data.timezone,
    )  # fmt: skip
    _time(row, now)
    uow.session.add(row)
    uow.session.flush()
    audit.record(uow, actor, "schedule.create", "schedule", row.id, row.name, kind=row.kind.value, work=told(row.work))
    publish(uow, row)
    return row


def change(uow: UnitOfWork, actor: Actor, schedule_id: int, data: ScheduleChange) -> Schedule:
    """Change a schedule; what is left out stays. Raises NotFound, Forbidden, Invalid."""
    row, now = locked(uow, actor, schedule_id), clock.now(uow.session)
    if data.work is not None:
        row.work = _checked(uow.session, _creator(uow, row, actor), data.work)
    wanted = data.timing(row.timezone)
    if wanted is not None:
        try:
            timing = Timing.model_validate({"kind": row.kind, **_same(row), **wanted} if data.kind is None else wanted)
        except ValidationError as exc:
            raise Invalid(field_errors(exc)) from exc
        row.kind, row.first_at, row.timezone = timing.kind, timing.first(now), timing.timezone
        row.cron, row.every_s = timing.cron or "", timing.every_s or 0
    for name in ("name", "misfire", "overlap", "paused"):
        if (value := getattr(data, name)) is not None:
            setattr(row, name, value)
    if row.paused:
        row.next_run_at = None
    elif wanted is not None or data.paused is not None:
        _time(row, now)
    row.version += 1
    changed = sorted(data.model_fields_set)
    audit.record(uow, actor, "schedule.change", "schedule", row.id, row.name, changed=changed, paused=row.paused)
    publish(uow, row)
    return row


def _same(row: Schedule) -> dict[str, Any]:
    """Return the time as it is, for a change of its zone alone."""
    if row.kind == domain.ScheduleKind.CRON:
        return {"cron": row.cron}
    return {"every_s": row.every_s} if row.kind == domain.ScheduleKind.EVERY else {"kind": domain.ScheduleKind.AT, "at": row.first_at}


def _time(row: Schedule, now: datetime) -> None:
    row.next_run_at = domain.next_after(rhythm(row), now)
    if row.next_run_at is None and row.kind in domain.ONCE:
        if row.kind == domain.ScheduleKind.IN and row.first_at <= now:
            row.next_run_at = row.first_at  # in no time: now
        else:
            raise Invalid([FieldError("at", "schedule_past")])


def remove(uow: UnitOfWork, actor: Actor, schedule_id: int) -> None:
    """Delete a schedule with its history; what it started goes on. Raises NotFound, Forbidden."""
    row = locked(uow, actor, schedule_id)
    audit.record(uow, actor, "schedule.delete", "schedule", row.id, row.name)
    uow.publish("schedule", f"owner:{row.created_by_id}", {"id": row.id, "deleted": True, "version": row.version + 1})
    uow.session.delete(row)


def run_now(uow: UnitOfWork, actor: Actor, schedule_id: int) -> Execution:
    """Start its work now, whether it is paused or not. Raises ScheduleBusy when it runs and may not run twice."""
    row, now = locked(uow, actor, schedule_id), clock.now(uow.session)
    busy = is_open(uow.session, row.id)
    if busy and row.overlap == Overlap.SKIP:
        raise ScheduleBusy(row.name, name=row.name)
    found = add(uow, row, now, ExecutionState.QUEUED, by_hand=True, ring=not busy)
    audit.record(uow, actor, "schedule.run", "schedule", row.id, row.name, execution=found.id)
    return found


def add(uow: UnitOfWork, row: Schedule, due_at: datetime, state: ExecutionState, *, reason: str = "", by_hand: bool = False, ring: bool = True) -> Execution:
    """Note that it was due, and ring for it."""
    now = clock.now(uow.session)
    left = state == ExecutionState.SKIPPED
    found = Execution(
        schedule_id=row.id, task_id=uuid4(), due_at=due_at, by_hand=by_hand, state=state, bell_at=now if ring and not left else None,
        error={"code": reason, "args": {}} if left else None, finished_at=now if left else None,
    )  # fmt: skip
    uow.session.add(found)
    uow.session.flush()
    if ring and not left:
        uow.ring(TaskName.EXECUTION, [found.task_id], found.task_id)
    publish(uow, row)
    return found


def is_open(session: Session, schedule_id: int) -> bool:
    """True while a time of it has not ended."""
    return session.scalar(select(Execution.id).where(Execution.schedule_id == schedule_id, Execution.finished_at.is_(None)).limit(1)) is not None


def _checked(session: Session, actor: Actor, work: Work) -> dict[str, Any]:
    """Return the work as it is kept. Raises Forbidden, Invalid: what could not be done now is told now."""
    if work.server is not None:
        actor.need(Permission.CREATE)
        faults = server_checks.examine(session, work.server)[1]
        if faults:
            raise Invalid([FieldError(f"work.server.{f.field}", f.code, f.args) for f in faults])
        return work.stored()
    kind, names = BulkKind(str(work.action)), list(dict.fromkeys(work.servers or ()))
    try:
        found = bulk.preview(session, actor, names, kind)
    except Invalid as exc:
        raise Invalid([FieldError(f"work.{f.field.replace('names', 'servers', 1)}", f.code, f.args) for f in exc.errors]) from exc
    if kind == BulkKind.DELETE and work.confirm != bulk_domain.sure(len(found)):
        raise Invalid([FieldError("work.confirm", "confirm_name", {"name": bulk_domain.sure(len(found))})])
    return work.stored()


def told(work: Mapping[str, Any]) -> str:
    """Return the work in a word, for lists and logs."""
    return str(work.get("action") or "create")


# ---- looking
def visible(query: Any, actor: Actor) -> Any:
    """Narrow a query over schedules to what the actor may see."""
    return query if actor.can(Permission.VIEW_ALL) else query.where(Schedule.created_by_id == actor.user_id)


def get(session: Session, actor: Actor, schedule_id: int) -> Schedule:
    """Return a schedule with its creator. Raises NotFound, also for what the actor may not see."""
    query = visible(select(Schedule).where(Schedule.id == schedule_id), actor).options(joinedload(Schedule.created_by))
    row: Schedule | None = session.scalar(query)
    if row is None:
        raise NotFound(kind="schedule")
    return row


def locked(uow: UnitOfWork, actor: Actor, schedule_id: int) -> Schedule:
    """Return a schedule that the actor may change, locked. Raises NotFound, Forbidden."""
    row = get(uow.session, actor, schedule_id)
    actor.need(Permission.SCHEDULE)
    if row.created_by_id != actor.user_id and not actor.can(Permission.MANAGE_ALL):
        raise Forbidden(permission=Permission.MANAGE_ALL.value)
    query = select(Schedule).where(Schedule.id == row.id).options(joinedload(Schedule.created_by))
    found: Schedule | None = uow.session.scalar(query.with_for_update(key_share=True, of=Schedule).execution_options(populate_existing=True))
    if found is None:
        raise NotFound(kind="schedule")
    return found


def _creator(uow: UnitOfWork, row: Schedule, actor: Actor) -> Actor:
    """Return whose permissions the work takes: whoever changes it for another gives him no more than he has."""
    return actor if row.created_by_id == actor.user_id else Actor.of(row.created_by)


@dataclass(frozen=True)
class ScheduleFilter:
    """`server`: that work on it."""

    server: str | None = None


def list_page(session: Session, actor: Actor, wanted: ScheduleFilter = ScheduleFilter(), limit: int = 50, cursor: str | None = None) -> Page[Schedule]:
    """Return the newest schedules first."""
    query = visible(select(Schedule), actor).options(joinedload(Schedule.created_by)).order_by(Schedule.id.desc())
    if wanted.server:
        query = query.where(Schedule.work["servers"].contains([wanted.server]))
    if after := decode_cursor(cursor, int):
        query = query.where(Schedule.id < after[0])
    rows = session.scalars(query.limit(limit + 1)).all()
    return Page(rows[:limit], encode_cursor(rows[limit - 1].id) if len(rows) > limit else None)


def executions(session: Session, schedule_id: int, limit: int = 50, cursor: str | None = None) -> Page[Execution]:
    """Return a schedule's history, the newest first."""
    query = select(Execution).where(Execution.schedule_id == schedule_id).order_by(Execution.id.desc())
    if after := decode_cursor(cursor, int):
        query = query.where(Execution.id < after[0])
    rows = session.scalars(query.limit(limit + 1)).all()
    return Page(rows[:limit], encode_cursor(rows[limit - 1].id) if len(rows) > limit else None)


def last_ones(session: Session, schedule_ids: list[int]) -> dict[int, Execution]:
    """Return of each schedule its latest time."""
    latest = select(func.max(Execution.id)).where(Execution.schedule_id.in_(schedule_ids)).group_by(Execution.schedule_id)
    return {row.schedule_id: row for row in session.scalars(select(Execution).where(Execution.id.in_(latest)))}


def by_task(session: Session, actor: Actor, task_id: object) -> Execution | None:
    """Return the time that has this task id, if the actor may see it."""
    query = visible(select(Execution).join(Schedule, Schedule.id == Execution.schedule_id).where(Execution.task_id == task_id), actor)
    found: Execution | None = session.scalar(query)
    return found


def server_names(session: Session, actor: Actor, row: Schedule) -> set[str]:
    """Return those of its servers that still exist and that the actor may open."""
    return servers.seen_names(session, actor, row.work.get("servers") or [])


def publish(uow: UnitOfWork, row: Schedule) -> None:
    """Tell browsers that it changed, or that something of it began or ended."""
    uow.publish("schedule", f"owner:{row.created_by_id}", {"id": row.id, "version": row.version})
