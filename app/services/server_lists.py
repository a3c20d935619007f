"""The server list: what is shown, in which order, in which groups, page by page."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, String, and_, cast, func, literal, or_, select, tuple_
from sqlalchemy.orm import Session, contains_eager

from app.adapters.redis_client import cache
from app.domain.permissions import Permission
from app.domain.server_status import ServerStatus
from app.models import Server, User, Workspace
from app.schemas.page import Page, decode_cursor, encode_cursor, like
from app.services import kept, templates
from app.services.actor import Actor
from app.services.servers import visible


class Sort(StrEnum):
    NAME = "name"
    STATUS = "status"
    NODE = "node"
    CPU = "cpu"
    MEMORY = "memory"
    TEMPLATE = "template"
    OWNER = "owner"
    CREATED = "created"


class Group(StrEnum):
    NODE = "node"
    TAG = "tag"
    WORKSPACE = "workspace"


@dataclass(frozen=True)
class ServerFilter:
    """`q` finds in names, addresses and tags."""

    q: str | None = None
    status: ServerStatus | None = None
    node: str | None = None
    tag: str | None = None
    owner: str | None = None
    template: str | None = None
    older: bool = False  # made from an image that the template is not any more


@dataclass(frozen=True)
class Order:
    """Groups come in their own order; within one the servers are sorted, `down` from the greatest."""

    sort: Sort = Sort.NAME
    down: bool = False
    group: Group | None = None


@dataclass(frozen=True)
class Facets:
    """What the filters offer: what the reader's servers have."""

    nodes: Sequence[str]
    tags: Sequence[str]
    owners: Sequence[str]
    templates: Sequence[str]


def list_page(
    session: Session, actor: Actor, wanted: ServerFilter, order: Order = Order(), limit: int = 50, cursor: str | None = None
) -> Page[Server]:
    """Return servers with their owners and workspaces. Raises Invalid for a cursor of another order."""
    group, key = _group(order.group), _key(order.sort)
    query = _narrowed(_base(select(Server, group.label("grp"), key.label("key")), actor), wanted).options(contains_eager(Server.owner), contains_eager(Server.workspace))
    # Rows were made in the order of their ids, which are shorter than times.
    kind = int if order.sort in (Sort.CPU, Sort.MEMORY, Sort.CREATED) else str
    if after := decode_cursor(cursor, str, kind, int):
        place, here = tuple_(key, Server.id), tuple_(literal(after[1]), literal(after[2]))
        query = query.where(or_(group > after[0], and_(group == after[0], place < here if order.down else place > here)))
    by = (key.desc(), Server.id.desc()) if order.down else (key, Server.id)
    rows = session.execute(query.order_by(*([group] if order.group else []), *by).limit(limit + 1)).all()
    more = len(rows) > limit
    last = rows[limit - 1] if more else None
    return Page([row[0] for row in rows[:limit]], encode_cursor(last[1], last[2], last[0].id) if last else None)


def count(session: Session, actor: Actor, wanted: ServerFilter) -> int:
    """Return how many servers fit."""
    query = select(func.count()).select_from(Server)
    if wanted.owner:
        query = query.join(User, User.id == Server.owner_id)
    return session.scalar(_narrowed(visible(query, actor), wanted)) or 0


def names(session: Session, actor: Actor, wanted: ServerFilter, limit: int) -> list[str]:
    """Return the names of the servers that fit, the first `limit` of them."""
    return list(session.scalars(_narrowed(_base(select(Server.name), actor), wanted).order_by(Server.name).limit(limit)))


def counts(session: Session, actor: Actor) -> dict[str, int]:
    """Return how many of the reader's servers have each status: kept for a few seconds, until one of them changes."""
    found: dict[str, int] = cache.get_or_compute(kept.counts(_reader(actor)), kept.FACETS_TTL_S, lambda: _counts(session, actor)).value
    return found


def offered(session: Session, actor: Actor) -> Facets:
    """Return what the reader's servers have in common: kept for a few seconds, until one of them changes."""
    return Facets(**cache.get_or_compute(kept.facets(_reader(actor)), kept.FACETS_TTL_S, lambda: _facets(session, actor)).value)


def _reader(actor: Actor) -> int | None:
    """Whose servers they are; None when everybody's."""
    return None if actor.can(Permission.VIEW_ALL) else actor.user_id


def _counts(session: Session, actor: Actor) -> dict[str, int]:
    query = visible(select(Server.status, func.count()), actor).group_by(Server.status)
    return {status.value: n for status, n in session.execute(query)}


def _facets(session: Session, actor: Actor) -> dict[str, list[str]]:
    # One walk over the servers: they are many, what they have in common is little.
    found = session.execute(visible(select(Server.node_name, Server.template_name, Server.tags, Server.owner_id), actor).distinct()).all()
    owners = session.scalars(select(User.username).where(User.id.in_({row.owner_id for row in found})).order_by(User.username))
    return {
        "nodes": sorted({row.node_name for row in found}), "tags": sorted({tag for row in found for tag in row.tags}), "owners": list(owners),
        "templates": sorted({row.template_name for row in found}),
    }  # fmt: skip


def group_of(server: Server, group: Group | None) -> str:
    """Return the name of the group a server stands in; empty for those without a tag."""
    if group == Group.WORKSPACE:
        return server.workspace.name
    if group == Group.TAG:
        return server.tags[0] if server.tags else ""
    return server.node_name if group == Group.NODE else ""


def _base(query: Any, actor: Actor) -> Any:
    return visible(query.select_from(Server).join(User, User.id == Server.owner_id).join(Workspace, Workspace.id == Server.workspace_id), actor)


def _narrowed(query: Any, wanted: ServerFilter) -> Any:
    if wanted.q:
        needle = like(wanted.q)
        query = query.where(
            or_(Server.name.ilike(needle), cast(Server.ip_addresses, String).like(needle), cast(Server.tags, String).ilike(needle))
        )
    if wanted.tag:
        query = query.where(Server.tags.contains([wanted.tag]))
    if wanted.older:
        query = query.where(templates.from_older_image())
    same = {Server.status: wanted.status, Server.node_name: wanted.node, User.username: wanted.owner, Server.template_name: wanted.template}
    return query.where(*(column == value for column, value in same.items() if value))


def _group(group: Group | None) -> ColumnElement[str]:
    if group == Group.TAG:
        return func.coalesce(Server.tags[0].astext, "")
    if group == Group.WORKSPACE:
        return Workspace.name.expression
    return Server.node_name.expression if group == Group.NODE else literal("")


def _key(sort: Sort) -> ColumnElement[Any]:
    keys: dict[Sort, ColumnElement[Any]] = {
        Sort.NAME: Server.name.expression, Sort.STATUS: cast(Server.status, String), Sort.NODE: Server.node_name.expression,
        Sort.CPU: Server.cpu_percent.expression, Sort.MEMORY: Server.memory_percent.expression, Sort.TEMPLATE: Server.template_name.expression,
        Sort.OWNER: User.username.expression, Sort.CREATED: Server.id.expression,
    }  # fmt: skip
    return keys[sort]
