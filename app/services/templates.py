"""Templates: those Proxmox has, and which of them are offered."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, select, tuple_
from sqlalchemy.orm import Session

from app.domain.permissions import Permission
from app.errors import Conflict, FieldError, Invalid, NotFound
from app.models import Server, Template
from app.schemas.page import Page, clamp, decode_cursor, encode_cursor
from app.schemas.parsing import parse
from app.schemas.templates import TemplateInput
from app.services import audit
from app.services.actor import Actor
from app.services.uow import UnitOfWork


class TemplateNameTaken(Conflict):
    """Another offered template has the name; names are how people address one."""

    code = "template_name_taken"


def get(session: Session, template_id: int) -> Template:
    """Return a template. Raises NotFound."""
    return session.get(Template, template_id) or _missing()


def by_name(session: Session, name: str) -> Template | None:
    """Return the offered template with this name."""
    return session.scalars(select(Template).where(Template.name == name, Template.offered, ~Template.gone)).first()


def offered(session: Session) -> list[Template]:
    """Return what servers can be made from, by name."""
    return list(session.scalars(select(Template).where(Template.offered, ~Template.gone).order_by(Template.name)))


def from_older_image() -> ColumnElement[bool]:
    """Return the condition that a server's template has another image now than when the server was made."""
    present = exists().where(Template.id == Server.template_id, Template.image != "", Template.image != Server.template_image)
    return and_(Server.template_image != "", present)


def older(session: Session, actor: Actor) -> dict[int, int]:
    """Return how many servers, of those that the actor sees, come from an older image, by template."""
    query = select(Server.template_id, func.count()).where(from_older_image(), Server.deleted_at.is_(None)).group_by(Server.template_id)
    if not actor.can(Permission.VIEW_ALL):
        query = query.where(Server.owner_id == actor.user_id)
    return {int(row[0] or 0): row[1] for row in session.execute(query)}


def list_page(
    session: Session, limit: int | None = None, cursor: str | None = None, offered_only: bool = True
) -> Page[Template]:
    """Return templates by name; without `offered_only` those that are hidden too, never those that are gone."""
    size = clamp(limit)
    stmt = select(Template).where(~Template.gone).order_by(Template.name, Template.id).limit(size + 1)
    if offered_only:
        stmt = stmt.where(Template.offered)
    if after := decode_cursor(cursor, str, int):
        stmt = stmt.where(tuple_(Template.name, Template.id) > tuple_(*after))
    rows = session.scalars(stmt).all()
    last = rows[size - 1] if len(rows) > size else None
    return Page(rows[:size], encode_cursor(last.name, last.id) if last else None)


def change(uow: UnitOfWork, actor: Actor, template_id: int, raw: Mapping[str, Any]) -> Template:
    """Offer or hide a template, or change what it asks for. Raises Invalid, NotFound, TemplateNameTaken."""
    actor.need(Permission.MANAGE_TEMPLATES)
    template = uow.session.get(Template, template_id, with_for_update=True) or _missing()
    data, faults = parse(TemplateInput, raw)
    if data is None:
        raise Invalid(faults)
    values = {k: v for k, v in data.model_dump(exclude_unset=True).items() if v is not None}
    if values.get("offered") and not template.offered:
        if template.gone:
            raise Invalid([FieldError("offered", "template_gone", {"template": template.name})])
        twin = by_name(uow.session, template.name)
        if twin is not None and twin.id != template.id:
            raise TemplateNameTaken(template.name, name=template.name, vmid=twin.vmid)
    changed = sorted(k for k, v in values.items() if getattr(template, k) != v)
    for key in changed:
        setattr(template, key, values[key])
    audit.record(
        uow, actor, "template.change", "template", template.id, template.name, **{k: values[k] for k in changed}
    )
    return template


def _missing() -> Template:
    raise NotFound
