"""The audit list: who did what, on what, when and from where; in the transaction of the change itself."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.permissions import Permission
from app.models import AuditEvent
from app.models.base import detached
from app.schemas.page import Page, clamp, decode_cursor, encode_cursor
from app.services.actor import Actor
from app.services.uow import UnitOfWork

SYSTEM = "system"


@dataclass(frozen=True)
class AuditFilter:
    """What the list is narrowed to; empty means all."""

    username: str = ""
    action: str = ""  # a whole action, or its noun: "server" finds server.create
    object_type: str = ""
    object_id: str = ""
    q: str = ""  # part of the object's name


def row(
    actor: Actor | None, action: str, object_type: str, object_id: object, object_name: str = "", /, **detail: Any
) -> AuditEvent:  # fmt: skip
    """Return a row of the audit list; without an actor it was the system itself. Never put a secret into `detail`."""
    return detached(AuditEvent, {
        "user_id": (actor.user_id or None) if actor else None,
        "username": actor.username if actor else SYSTEM,
        "action": action,
        "object_type": object_type,
        "object_id": str(object_id)[:64],
        "object_name": object_name[:255],
        "detail": detail,
        "address": actor.address[:64] if actor else "",
    })  # fmt: skip


def record(
    uow: UnitOfWork, actor: Actor | None, action: str, object_type: str, object_id: object, object_name: str = "",
    /, **detail: Any,
) -> None:  # fmt: skip
    """Add a row to the audit list, as `row` makes it."""
    uow.session.add(row(actor, action, object_type, object_id, object_name, **detail))


def list_page(
    session: Session, actor: Actor, filters: AuditFilter, limit: int | None = None, cursor: str | None = None
) -> Page[AuditEvent]:
    """Return the newest events first."""
    actor.need(Permission.VIEW_AUDIT)
    stmt = select(AuditEvent).order_by(AuditEvent.id.desc())
    if filters.username:
        stmt = stmt.where(AuditEvent.username == filters.username)
    if filters.action:
        stmt = stmt.where(
            (AuditEvent.action == filters.action) | AuditEvent.action.startswith(f"{filters.action}.", autoescape=True)
        )
    if filters.object_type:
        stmt = stmt.where(AuditEvent.object_type == filters.object_type)
    if filters.object_id:
        stmt = stmt.where(AuditEvent.object_id == filters.object_id)
    if filters.q:
        stmt = stmt.where(AuditEvent.object_name.icontains(filters.q, autoescape=True))
    if after := decode_cursor(cursor, int):
        stmt = stmt.where(AuditEvent.id < after[0])
    size = clamp(limit)
    rows = session.scalars(stmt.limit(size + 1)).all()
    return Page(rows[:size], encode_cursor(rows[size - 1].id) if len(rows) > size else None)
