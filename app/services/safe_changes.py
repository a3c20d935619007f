"""Safe changes: what may be asked for, who may see them, and what a person may decide meanwhile.

services/safe_change_execution.py takes them from part to part.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from app.domain.action_state import ActionKind
from app.domain.permissions import Permission
from app.domain.safe_change import SafeChangeState, VerifyBy, can_move
from app.domain.server_status import ServerStatus
from app.domain.tasks import TaskName
from app.errors import Conflict, FieldError, Forbidden, Invalid, NotFound, ServerBusy
from app.models import SafeChange, Server
from app.schemas.faults import field_errors
from app.schemas.safe_changes import SafeChangeCreate
from app.services import actions, audit, clock, run_settlement, runs, safe_change_parts, server_checks, servers
from app.services.actor import Actor
from app.services.safe_change_parts import Shown
from app.services.uow import UnitOfWork

LOOK_AGAIN_S = 10.0  # a bell that nobody heard


class SafeChangeDecided(Conflict):
    """It is not waited for an answer any more: there is nothing to decide."""

    code = "safe_change_decided"


# ---- asking
def create(uow: UnitOfWork, actor: Actor, server_name: str, data: SafeChangeCreate | Mapping[str, Any]) -> SafeChange:
    """Ask for a safe change. Raises Invalid, ServerBusy, ServerNotMade, NotFound, Forbidden."""
    actor.need(Permission.CHANGE)
    server = actions.hold(uow, actor, server_name, Permission.SNAPSHOT)
    if waiting := runs.open_runs(uow.session, server):
        raise ServerBusy(server.name, server=server.name, run=waiting[0].id, state=waiting[0].state.value)
    try:
        wanted = data if isinstance(data, SafeChangeCreate) else SafeChangeCreate.model_validate(data)
    except ValidationError as exc:
        raise Invalid(field_errors(exc)) from exc
    values, faults = _examine(uow.session, server, wanted)
    if faults:
        raise Invalid(faults)
    now = clock.now(uow.session)
    row = SafeChange(
        id=uuid4(), server_id=server.id, created_by_id=actor.user_id, state=SafeChangeState.SNAPSHOT, values=values, apply=wanted.change.apply.value,
        snapshot=f"safe-{now:%Y%m%d-%H%M%S}", memory=wanted.memory, keep_snapshot=wanted.keep_snapshot, verify_by=wanted.verify, port=wanted.port,
        timeout_s=wanted.timeout_s, tries=0, next_at=clock.later(LOOK_AGAIN_S), version=1,
    )  # fmt: skip
    uow.session.add(row)
    uow.session.flush()
    server.safe_change_id = row.id
    audit.record(uow, actor, "server.safe_change", "server", server.id, server.name, safe_change=str(row.id), verify=wanted.verify.value, **values)
    actions.begin(uow, actor, server, ActionKind.SNAPSHOT_CREATE, {"name": row.snapshot, "description": "", "memory": row.memory}, safe_change_id=row.id)
    run_settlement.tell(uow, server)
    publish(uow, row, server)
    return row


def _examine(session: Session, server: Server, wanted: SafeChangeCreate) -> tuple[dict[str, Any], list[FieldError]]:
    values, found = server_checks.examine_change(session, server, wanted.change, servers.pending_values(session, server))
    faults = [FieldError(f"change.{fault.field}" if fault.field != "body" else "change", fault.code, fault.args) for fault in found]
    if wanted.change.add_networks or wanted.change.remove_networks:
        # A snapshot puts a NIC back, but nobody kept its address meanwhile.
        faults.append(FieldError("change", "safe_change_networks"))
    if server.status != ServerStatus.RUNNING:
        faults.append(FieldError("verify", "safe_change_stopped"))
    elif wanted.verify == VerifyBy.AGENT and not server.agent:
        faults.append(FieldError("verify", "safe_change_no_agent"))
    elif wanted.verify == VerifyBy.PORT and address(server) is None:
        faults.append(FieldError("verify", "safe_change_no_address"))
    return values, faults


def address(server: Server) -> str | None:
    """Return the address at which the server is asked."""
    return next((str(nic["ip"]) for nic in server.nics if nic.get("ip")), None) or next(iter(server.ip_addresses), None)


# ---- reading
def get(session: Session, actor: Actor, safe_change_id: UUID) -> Shown:
    """Return a safe change with its parts. Raises NotFound, also for what the actor may not see."""
    return safe_change_parts.shown(session, _seen(session, actor, safe_change_id))


def _seen(session: Session, actor: Actor, safe_change_id: UUID, *, lock: bool = False) -> SafeChange:
    query = select(SafeChange).where(SafeChange.id == safe_change_id).options(joinedload(SafeChange.server), joinedload(SafeChange.created_by))
    row = session.scalar(query.with_for_update(of=SafeChange) if lock else query)
    if row is None or not (actor.can(Permission.VIEW_ALL) or actor.user_id in (row.created_by_id, row.server.owner_id)):
        raise NotFound(kind="task")
    return row


def recent(session: Session, server_id: int, limit: int = 20) -> list[SafeChange]:
    """Return a server's newest safe changes with who asked."""
    query = select(SafeChange).where(SafeChange.server_id == server_id).options(joinedload(SafeChange.created_by))
    return list(session.scalars(query.order_by(SafeChange.created_at.desc()).limit(limit)))


# ---- deciding before the time is over
def decide(uow: UnitOfWork, actor: Actor, safe_change_id: UUID, *, keep: bool) -> SafeChange:
    """Keep the change, or put the server back, while it is still asked whether it answers. Raises SafeChangeDecided, NotFound, Forbidden."""
    actor.need(Permission.CHANGE)
    row = _seen(uow.session, actor, safe_change_id, lock=True)
    if row.server.owner_id != actor.user_id and not actor.can(Permission.MANAGE_ALL):
        raise Forbidden(permission=Permission.MANAGE_ALL.value)
    if row.state != SafeChangeState.VERIFY:
        raise SafeChangeDecided(state=row.state.value)
    verified(uow, row, None if keep else {"code": "safe_change_by_hand", "args": {"by": actor.username}})
    audit.record(uow, actor, "server.safe_change_keep" if keep else "server.safe_change_roll_back", "server", row.server_id, row.server.name, safe_change=str(row.id))
    uow.ring(TaskName.SAFE_CHANGE, [row.id], row.id)
    publish(uow, row, row.server)
    return row


def verified(uow: UnitOfWork, row: SafeChange, error: dict[str, Any] | None) -> None:
    """Note what asking came to: an answer, or why the server is to be put back."""
    row.error = error
    row.verified_at = clock.now(uow.session)
    move(row, SafeChangeState.CLEAN_UP if error is None else SafeChangeState.ROLL_BACK)


def move(row: SafeChange, new: SafeChangeState) -> None:
    """Take it to its next state. Raises ValueError when the table has no such transition."""
    if not can_move(row.state, new):
        raise ValueError(f"{row.state} → {new}")
    row.state = new
    row.version += 1
    row.next_at = clock.later(LOOK_AGAIN_S)


# ---- telling
def publish(uow: UnitOfWork, row: SafeChange, server: Server) -> None:
    """Tell browsers where it is."""
    uow.publish("safe_change", f"owner:{server.owner_id}", {
        "id": str(row.id), "version": row.version, "server": server.name, "state": row.state.value, "tries": row.tries,
    })  # fmt: skip
