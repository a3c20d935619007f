"""The lock of a workspace: who holds its state now, and what people do about it (lock, unlock, break a dead run's).

A person's lock stops no run that is active already; new ones wait until it is taken away (`runs.promote`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.domain.permissions import Permission
from app.domain.run_state import ACTIVE, LEASE_DEAD_S, RUNNING, RunState
from app.errors import Conflict, Invalid
from app.log import get_logger
from app.models import Run, RunLease, Server, Workspace
from app.schemas.parsing import parse
from app.schemas.workspaces import Reason
from app.services import audit, run_execution, run_settlement, runs, workspaces
from app.services.actor import Actor
from app.services.uow import UnitOfWork
from app.services.workspaces import PersonLock

log = get_logger(__name__)


class WorkspaceLocked(Conflict):
    """Somebody has locked it already; `by` and `reason` say who and why."""

    code = "workspace_locked"


class WorkspaceNotLocked(Conflict):
    """Nobody has locked it."""

    code = "workspace_not_locked"


class WorkspaceNotHeld(Conflict):
    """No run is planning or applying there."""

    code = "workspace_not_held"


class LeaseFresh(Conflict):
    """The run's runner was heard of within the last LEASE_DEAD_S seconds: it is alive."""

    code = "lease_fresh"


@dataclass(frozen=True)
class RunHold:
    """A run that is active; `breakable` when it is planning or applying and its runner is not heard of any more."""

    run_id: int
    state: RunState
    since: datetime
    renewed_at: datetime | None
    breakable: bool


@dataclass(frozen=True)
class Holders:
    """Who holds a workspace. Both may: a person's lock waits for no run."""

    run: RunHold | None
    person: PersonLock | None

    @property
    def holder(self) -> str:
        return "run" if self.run else "person" if self.person else "nobody"


# ---------------------------------------------------------------- reading
def holders(session: Session, workspace: Workspace) -> Holders:
    """Return who holds the workspace now."""
    return Holders(_run(session, workspace.id), workspaces.person_lock(session, workspace.id))


def _run(session: Session, workspace_id: int) -> RunHold | None:
    run = session.scalar(select(Run).where(Run.workspace_id == workspace_id, Run.state.in_(ACTIVE)))
    if run is None:
        return None
    since = run.started_at or run.created_at
    if run.state not in RUNNING:
        return RunHold(run.id, run.state, since, None, breakable=False)
    renewed = session.scalar(select(RunLease.renewed_at).where(RunLease.run_id == run.id, RunLease.fence == run.fence))
    return RunHold(run.id, run.state, since, renewed, breakable=not run_execution.lease_is_fresh(session, run))


# ---------------------------------------------------------------- what people do
def _locked(uow: UnitOfWork, actor: Actor, name: str) -> Workspace:
    """Return the workspace; nobody begins a run there before this transaction ends."""
    actor.need(Permission.LOCK)
    workspace = workspaces.get(uow.session, actor, name)
    runs.hold_line(uow, workspace.id)
    return workspace


def _why(raw: Mapping[str, Any]) -> str:
    data, faults = parse(Reason, raw)
    if data is None:
        raise Invalid(faults)
    return data.reason


def _write(uow: UnitOfWork, workspace: Workspace, values: Mapping[str, Any]) -> None:
    uow.session.execute(update(Workspace).where(Workspace.id == workspace.id).values(**values))
    uow.session.refresh(workspace)
    owners = uow.session.scalars(select(Server.owner_id).where(Server.workspace_id == workspace.id).distinct())
    facts = {"id": workspace.id, "workspace": workspace.id, "locked": workspace.locked_at is not None}
    uow.publish("workspace", "owner:" + ",".join(map(str, sorted(owners))), facts)


def lock(uow: UnitOfWork, actor: Actor, name: str, raw: Mapping[str, Any]) -> Workspace:
    """Let no new run of the workspace begin. Raises Invalid, WorkspaceLocked, Forbidden, NotFound."""
    actor.need(Permission.LOCK)
    reason = _why(raw)
    workspace = _locked(uow, actor, name)
    if held := workspaces.person_lock(uow.session, workspace.id):
        raise WorkspaceLocked(by=held.by, reason=held.reason)
    _write(uow, workspace, {"locked_at": func.clock_timestamp(), "locked_by_id": actor.user_id, "lock_reason": reason})
    audit.record(uow, actor, "workspace.lock", "workspace", workspace.id, workspace.name, reason=reason)
    runs.promote(uow, workspace.id)  # a run that waits says now for what
    return workspace


def unlock(uow: UnitOfWork, actor: Actor, name: str) -> Workspace:
    """Take a person's lock away and begin the run that waits. Raises WorkspaceNotLocked, Forbidden, NotFound."""
    workspace = _locked(uow, actor, name)
    held = workspaces.person_lock(uow.session, workspace.id)
    if held is None:
        raise WorkspaceNotLocked
    _write(uow, workspace, {"locked_at": None, "locked_by_id": None, "lock_reason": None})
    audit.record(uow, actor, "workspace.unlock", "workspace", workspace.id, workspace.name, locked_by=held.by, reason=held.reason)
    runs.promote(uow, workspace.id)
    return workspace


def break_lock(uow: UnitOfWork, actor: Actor, name: str, raw: Mapping[str, Any]) -> Run:
    """End the run whose runner is dead: what it may still write is refused, its end is `errored`.

    Raises Invalid, WorkspaceNotHeld, LeaseFresh, Forbidden, NotFound.
    """
    actor.need(Permission.LOCK)
    reason = _why(raw)
    workspace = workspaces.get(uow.session, actor, name)
    found = uow.session.scalar(select(Run.id).where(Run.workspace_id == workspace.id, Run.state.in_(RUNNING)))
    run = runs.locked(uow, found) if found is not None else None
    if run is None or run.state not in RUNNING:
        raise WorkspaceNotHeld
    if run_execution.lease_is_fresh(uow.session, run):
        raise LeaseFresh(run=run.id, seconds=LEASE_DEAD_S)
    log.warning("lock_broken", run_id=run.id, fence=run.fence, user_id=actor.user_id)
    run.fence += 1
    run.error = {"code": "lock_broken", "args": {"by": actor.username, "reason": reason}, "detail": ""}
    audit.record(uow, actor, "workspace.break_lock", "workspace", workspace.id, workspace.name, run=run.id, reason=reason)
    run_settlement.settle_ended(uow, run, None)
    runs.transition(uow, run, RunState.ERRORED, by=actor.username, comment=reason)
    return run
