"""One time of scheduled work: beginning it, and what it came to.

The time is claimed and its work asked for in one transaction, as its creator would ask: it happens once, however often the
bell rings and whoever dies. What the work comes to is settled from its rows.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, exists, select
from sqlalchemy.orm import Session, joinedload

from app.adapters import results
from app.domain import action_state, run_state
from app.domain.action_state import ActionKind, ActionState
from app.domain.bulk import BulkKind, sure
from app.domain.schedule import ONCE, ExecutionState
from app.domain.server_status import Severity
from app.errors import AppError, Invalid
from app.log import get_logger
from app.models import Action, Bulk, Execution, Run, Schedule, Server
from app.schemas.bulk import BulkWork
from app.schemas.schedules import SnapshotKept
from app.services import actions, bulk, clock, notifications, pause, schedules, servers
from app.services.actor import Actor
from app.services.bulk import Started
from app.services.bulk_results import UNCHANGED
from app.services.uow import UnitOfWork, in_peace, unit_of_work

log = get_logger(__name__)


def execute(task_id: str) -> None:
    """Begin the work of this time, if nobody has."""
    begun: list[Started] = []

    def work(uow: UnitOfWork) -> None:
        begun.clear()
        row = _claimed(uow, task_id)
        if row is not None and (started := _begin(uow, row)):
            begun.append(started)

    try:
        in_peace(work)
    except AppError as exc:
        with unit_of_work() as uow:
            if (row := _claimed(uow, task_id)) is not None:
                fail(uow, row, _fact(exc))
        return
    for started in begun:
        bulk.announce(started)


def _claimed(uow: UnitOfWork, task_id: str) -> Execution | None:
    """Return the time, locked and with its schedule and creator; None when it has begun, somebody else begins it, or runs are paused."""
    if pause.paused(uow.session):
        return None
    return uow.session.scalar(held(select(Execution).where(Execution.task_id == UUID(task_id), Execution.state == ExecutionState.QUEUED)))


def held(query: "Select[Execution]") -> "Select[Execution]":
    """Lock the times that a query finds, but for those that somebody else works on; with their schedules and creators."""
    whole = joinedload(Execution.schedule, innerjoin=True).joinedload(Schedule.created_by, innerjoin=True)
    return query.options(whole).with_for_update(skip_locked=True, of=Execution)


def _begin(uow: UnitOfWork, row: Execution) -> Started | None:
    """Ask for the work as the schedule's creator. Raises what asking raises."""
    schedule, now = row.schedule, clock.now(uow.session)
    user = schedule.created_by
    row.started_at = now
    if not user.active:
        fail(uow, row, {"code": "schedule_user_inactive", "args": {"name": user.username}})
        return None
    actor = Actor.of(user)
    if spec := schedule.work.get("server"):
        accepted = servers.create(uow, actor, _unused(uow.session, spec, again=schedule.kind not in ONCE))
        row.run_id, row.state, row.result = accepted.run.id, ExecutionState.RUNNING, {"servers": accepted.servers}
        uow.session.flush()
        schedules.publish(uow, schedule)
        return None
    wanted = list(schedule.work["servers"])
    names = [name for name in wanted if name in servers.seen_names(uow.session, actor, wanted)]
    missing = [name for name in wanted if name not in names]
    row.result = {"servers": names, **({"missing": missing} if missing else {})}
    if not names:
        fail(uow, row, {"code": "schedule_no_servers", "args": {}})
        return None
    work, made = _work(schedule.work, len(names), row.due_at)
    if made:
        row.result = {**row.result, "snapshot": made}
    started = bulk.start(uow, actor, names, work)
    row.bulk_id, row.state = started.bulk.id, ExecutionState.RUNNING
    schedules.publish(uow, schedule)
    return started


def _unused(session: Session, spec: Mapping[str, Any], *, again: bool) -> dict[str, Any]:
    """Return what is to be made; where it is made again and again under a name that is free."""
    name = str(spec.get("name") or "")
    if not again or int(spec.get("count") or 1) != 1 or not name:
        return dict(spec)
    taken = session.scalar(select(exists().where(Server.name == name, Server.deleted_at.is_(None))))
    return {**spec, "name": servers.next_name(session, name)} if taken else dict(spec)


def _work(kept: Mapping[str, Any], count: int, due_at: datetime) -> tuple[BulkWork, str]:
    """Return the work as it is asked for, and the name of the snapshots it makes."""
    kind = BulkKind(kept["action"])
    if kind == BulkKind.SNAPSHOT:
        of = SnapshotKept.model_validate(kept["snapshot"])
        name = f"{of.prefix}-{due_at:%Y%m%d-%H%M%S}"
        return BulkWork.model_validate({"action": kind, "snapshot": {"name": name, "description": of.description, "memory": of.memory}}), name
    more = {"add": kept["add"], "remove": kept["remove"]} if kind == BulkKind.TAG else {"confirm": sure(count)} if kind == BulkKind.DELETE else {}
    return BulkWork.model_validate({"action": kind, **more}), ""


def _fact(exc: AppError) -> dict[str, Any]:
    first = exc.errors[0] if isinstance(exc, Invalid) and exc.errors else None
    return {"code": first.code, "args": dict(first.args)} if first else {"code": exc.code, "args": dict(exc.args_)}


# ---- the end
def fail(uow: UnitOfWork, row: Execution, error: dict[str, Any]) -> None:
    """End a time whose work could not begin; its creator is told."""
    row.error = error
    _end(uow, row, ExecutionState.FAILED)
    schedule = row.schedule
    notifications.add(
        uow, [schedule.created_by_id], f"schedule:{row.id}:failed", "schedule_failed", {"name": schedule.name, "error": error, "servers": []},
        Severity.ERROR, f"/schedules/{schedule.id}", own_user_id=schedule.created_by_id,
    )  # fmt: skip


def _end(uow: UnitOfWork, row: Execution, state: ExecutionState) -> None:
    row.state, row.finished_at = state, clock.now(uow.session)
    log.info("schedule_execution_ended", schedule_id=row.schedule_id, execution_id=row.id, state=state.value)
    schedules.publish(uow, row.schedule)


def settle(uow: UnitOfWork, row: Execution) -> bool:
    """End a running time whose work has ended; False while it has not. The row is locked, its schedule loaded."""
    failed = _came_to(uow.session, row)
    if failed is None:
        return False
    if failed:
        row.error = {"code": "schedule_work_failed", "args": {"failed": failed}}
    _end(uow, row, ExecutionState.FAILED if failed else ExecutionState.SUCCEEDED)
    if not failed and (row.result or {}).get("snapshot"):
        _prune(uow, row)
    return True


def store(row: Execution) -> None:
    """After the commit: what `AsyncResult` of the time answers."""
    results.store(row.task_id, row.state == ExecutionState.SUCCEEDED, {**(row.result or {}), "error": row.error})


def _came_to(session: Session, row: Execution) -> int | None:
    """Return how many parts failed; None while one is open."""
    if row.run_id is not None:
        run = session.get_one(Run, row.run_id)
        return None if run.state not in run_state.FINAL else int(run.state not in run_state.GOOD)
    if row.bulk_id is None:
        return 0
    parts = session.scalars(select(Action.state).where(Action.bulk_id == row.bulk_id)).all()
    ran = session.scalars(select(Run.state).where(Run.bulk_id == row.bulk_id)).all()
    if any(s not in action_state.FINAL for s in parts) or any(s not in run_state.FINAL for s in ran):
        return None
    refused = [r for r in session.get_one(Bulk, row.bulk_id).refused if r["code"] != UNCHANGED]
    return sum(s != ActionState.SUCCEEDED for s in parts) + sum(s not in run_state.GOOD for s in ran) + len(refused)


def _prune(uow: UnitOfWork, row: Execution) -> None:
    """Delete the snapshots of earlier times that are more than are to be kept; a busy server's go the next time."""
    schedule = row.schedule
    of = SnapshotKept.model_validate(schedule.work.get("snapshot") or {})
    if not of.keep:
        return
    made = Execution.result["snapshot"].astext
    earlier = select(Execution).where(
        Execution.schedule_id == schedule.id, Execution.state == ExecutionState.SUCCEEDED, made.is_not(None), ~Execution.result.has_key("pruned")
    )
    old = uow.session.scalars(earlier.order_by(Execution.due_at.desc()).offset(of.keep)).all()
    actor = Actor.of(schedule.created_by)
    for past in old:
        result = dict(past.result or {})
        query = select(Server.id).where(Server.name.in_(result.get("servers", [])), Server.deleted_at.is_(None), Server.busy_run_id.is_(None), Server.busy_action_id.is_(None), Server.safe_change_id.is_(None))
        for server in actions.locked(uow, list(uow.session.scalars(query))):
            actions.begin(uow, actor, server, ActionKind.SNAPSHOT_DELETE, {"name": result["snapshot"]})
        past.result = {**result, "pruned": True}
