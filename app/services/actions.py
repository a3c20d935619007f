"""Actions on servers: what may be asked for, the rows, and who is told.

The row comes first; a bell tells a worker, which carries it out (services/action_execution.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.orm import Session, contains_eager, joinedload

from app import tracing
from app.domain.action_state import SNAPSHOT, ActionKind, ActionState
from app.domain.permissions import Permission
from app.domain.server_status import ServerStatus, Severity
from app.domain.tasks import TaskName
from app.errors import AppError, Conflict, Forbidden, NotFound, ServerBusy
from app.models import Action, Server
from app.schemas.page import Page, decode_cursor, encode_cursor, like
from app.services import audit, bulk_results, clock, notifications, run_settlement, servers
from app.services.actor import Actor
from app.services.uow import UnitOfWork

LEASE_DEAD_S = 20
HANDED_OVER_S = 2
OPEN = (ActionState.QUEUED, ActionState.RUNNING)


class ServerNotMade(Conflict):
    """The VM is not there yet, or being removed: there is nothing to switch on or off."""

    code = "server_not_made"


# ---- asking
def request(uow: UnitOfWork, actor: Actor, server_name: str, kind: ActionKind) -> Action:
    """Ask for a power action on one server. Raises ServerBusy, ServerNotMade, NotFound, Forbidden."""
    return begin(uow, actor, hold(uow, actor, server_name, Permission.POWER), kind)


def hold(uow: UnitOfWork, actor: Actor, server_name: str, permission: Permission) -> Server:
    """Return a server, locked, on which an action may begin. Raises ServerBusy, ServerNotMade, NotFound, Forbidden."""
    actor.need(permission)
    server = locked(uow, [_allowed(uow, actor, server_name).id])[0]
    if fault := _fault(server):
        raise fault
    return server


def begin(
    uow: UnitOfWork,
    actor: Actor,
    server: Server,
    kind: ActionKind,
    arguments: dict[str, Any] | None = None,
    bulk_id: UUID | None = None,
    safe_change_id: UUID | None = None,
) -> Action:
    """Write the action of a server that is locked, and ring for it.

    `hold` has refused a server that cannot take it; as a part of a bulk its action ends failed at once. A safe change holds
    the server itself.
    """
    fault = _fault(server) if bulk_id else None
    now = uow.session.scalar(select(func.clock_timestamp()))
    action = Action(
        task_id=uuid4(), bulk_id=bulk_id, safe_change_id=safe_change_id, server_id=server.id, created_by_id=actor.user_id, kind=kind,
        arguments=arguments or {}, state=ActionState.FAILED if fault else ActionState.QUEUED, bell_at=None if fault else now, origin=tracing.origin() or None,
        finished_at=now if fault else None, version=1, fence=0,
        error={"code": fault.code, "args": fault.args_, "detail": ""} if fault else None,
    )  # fmt: skip
    uow.session.add(action)
    uow.session.flush()
    if fault is None:
        server.busy_action_id = action.id
        run_settlement.tell(uow, server)
        uow.ring(TaskName.ACTION, [action.task_id], action.task_id)
    publish(uow, action, server)
    of = {"bulk": str(bulk_id)} if bulk_id else {}
    audit.record(uow, actor, f"server.{kind.value}", "server", server.id, server.name, action=action.id, **of, **(arguments or {}))
    return action


def _allowed(uow: UnitOfWork, actor: Actor, name: str) -> Server:
    server = servers.get(uow.session, actor, name)
    if server.owner_id != actor.user_id and not actor.can(Permission.MANAGE_ALL):
        raise Forbidden(permission=Permission.MANAGE_ALL.value)
    return server


def locked(uow: UnitOfWork, ids: Sequence[int]) -> list[Server]:
    """Return the servers, locked in the order of their ids, as they are now. Raises NotFound."""
    query = select(Server).where(Server.id.in_(ids), Server.deleted_at.is_(None)).order_by(Server.id)
    found = uow.session.scalars(query.with_for_update(key_share=True).execution_options(populate_existing=True)).all()
    if len(found) != len(set(ids)):
        raise NotFound
    return list(found)


def _fault(server: Server) -> AppError | None:
    if server.busy:
        return ServerBusy(server.name, server=server.name, run=server.busy_run_id, action=server.busy_action_id)
    return None if made(server) else ServerNotMade(server.name, server=server.name, status=server.status.value)


def made(server: Server) -> bool:
    """True when its VM is there, and nothing is removing it."""
    return server.in_state and server.status not in (ServerStatus.CREATING, ServerStatus.DELETING)


# ---- reading
def get(session: Session, actor: Actor, task_id: UUID) -> Action:
    """Return an action with its server. Raises NotFound, also for what the actor may not see."""
    query = select(Action).where(Action.task_id == task_id).options(joinedload(Action.server))
    action = session.scalars(query).one_or_none()
    seen = action is not None and (
        actor.can(Permission.VIEW_ALL) or actor.user_id in (action.created_by_id, action.server.owner_id)
    )
    if action is None or not seen:
        raise NotFound(kind="task")
    return action


@dataclass(frozen=True)
class ActionFilter:
    """`state` is a state or "open"; `server` a part of a server's name."""

    state: str | None = None
    mine: bool = False
    server: str | None = None
    kind: ActionKind | None = None


def list_page(session: Session, actor: Actor, wanted: ActionFilter, limit: int = 50, cursor: str | None = None) -> Page[Action]:
    """Return actions that the actor may see, newest first, with their servers and who asked."""
    query = select(Action).join(Server, Server.id == Action.server_id).options(contains_eager(Action.server), joinedload(Action.created_by))
    if not actor.can(Permission.VIEW_ALL):
        query = query.where(or_(Action.created_by_id == actor.user_id, Server.owner_id == actor.user_id))
    if wanted.state:
        query = query.where(Action.state.in_(OPEN if wanted.state == "open" else [s for s in ActionState if s.value == wanted.state]))
    if wanted.mine:
        query = query.where(Action.created_by_id == actor.user_id)
    if wanted.kind:
        query = query.where(Action.kind == wanted.kind)
    if wanted.server:
        query = query.where(Server.name.ilike(like(wanted.server)))
    if after := decode_cursor(cursor, int):
        query = query.where(Action.id < after[0])
    rows = session.scalars(query.order_by(Action.id.desc()).limit(limit + 1)).all()
    return Page(rows[:limit], encode_cursor(rows[limit - 1].id) if len(rows) > limit else None)


def recent(session: Session, server_id: int, limit: int = 20) -> list[Action]:
    """Return a server's newest actions with who asked."""
    query = select(Action).where(Action.server_id == server_id).options(joinedload(Action.created_by))
    return list(session.scalars(query.order_by(Action.id.desc()).limit(limit)))


def facts(action: Action, server: Server) -> dict[str, Any]:
    """What an `action` event carries."""
    return {
        "id": action.id, "task_id": str(action.task_id), "version": action.version, "server": server.name,
        "kind": action.kind.value, "state": action.state.value, "bulk": str(action.bulk_id) if action.bulk_id else None,
        "error_code": action.error["code"] if action.error else None,
    }  # fmt: skip


# ---- telling
def publish(uow: UnitOfWork, action: Action, server: Server) -> None:
    """Tell browsers of an action's state."""
    uow.publish("action", f"owner:{server.owner_id}", facts(action, server))


def tell_end(uow: UnitOfWork, action: Action, server: Server) -> None:
    """Notify requester and owner of one action's end; of a bulk's, once, when the last one ended. A safe change goes on."""
    publish(uow, action, server)
    if action.safe_change_id is not None:
        uow.ring(TaskName.SAFE_CHANGE, [action.safe_change_id], action.safe_change_id)
        return
    if action.bulk_id is not None:
        bulk_results.tell_end(uow, action.bulk_id)
        return
    ok = action.state == ActionState.SUCCEEDED
    what, args = "action", {"servers": [server.name], "action": action.kind.value, "error": action.error}
    if action.kind in SNAPSHOT:
        what, args = action.kind.value, args | {"snapshot": action.arguments.get("name", "")}
    notifications.add(
        uow, {action.created_by_id, server.owner_id}, f"action:{action.id}:end",
        f"{what}_succeeded" if ok else f"{what}_failed", args,
        Severity.SUCCESS if ok else Severity.ERROR, f"/servers/{server.name}",
        own_user_id=action.created_by_id, action_id=action.id,
    )  # fmt: skip


# ---- the sweeper's part
def stale() -> Select[Any]:
    """Open actions nobody works on: bell lost, worker dead, or handed over."""
    handed_over = and_(Action.lease_at.is_(None), Action.state == ActionState.RUNNING, _older(Action.bell_at, HANDED_OVER_S))
    left = and_(or_(Action.lease_at.is_(None), _older(Action.lease_at, LEASE_DEAD_S)), _older(Action.bell_at, LEASE_DEAD_S))
    return select(Action).where(Action.state.in_(OPEN), or_(handed_over, left))


def settle_stale(uow: UnitOfWork, limit: int = 200) -> int:
    """Ring again for open actions nobody works on; returns how many."""
    first = stale().order_by(Action.bell_at.nulls_first(), Action.id).limit(limit)
    rows = uow.session.scalars(first.with_for_update(key_share=True, skip_locked=True)).all()
    now = clock.now(uow.session)
    for action in rows:
        action.bell_at = now
        uow.ring(TaskName.ACTION, [action.task_id], action.task_id)
    return len(rows)


def _older(column: Any, seconds: float) -> Any:
    return or_(column.is_(None), column < clock.later(-seconds))
