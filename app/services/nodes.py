"""Nodes with their storages and bridges, and the guests of the clusters: what the inventory knows."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, exists, func, or_, select, tuple_
from sqlalchemy.orm import Session

from app.models import Bridge, Cluster, Guest, Node, Server, Storage
from app.schemas.page import Page, clamp, decode_cursor, encode_cursor


@dataclass(frozen=True)
class NodeView:
    """A node with what belongs to it; `guests` counts all, `running` those that run; templates are not counted."""

    node: Node
    cluster: Cluster
    storages: Sequence[Storage]
    bridges: Sequence[Bridge]
    guests: int
    running: int


def list_page(session: Session, limit: int | None = None, cursor: str | None = None) -> Page[NodeView]:
    """Return nodes by cluster and name."""
    size = clamp(limit)
    stmt = (
        select(Node, Cluster).join(Cluster, Cluster.id == Node.cluster_id)
        .where(Cluster.enabled).order_by(Node.cluster_id, Node.name).limit(size + 1)
    )  # fmt: skip
    if after := decode_cursor(cursor, int, str):
        stmt = stmt.where(tuple_(Node.cluster_id, Node.name) > tuple_(*after))
    rows = session.execute(stmt).all()
    last = rows[size - 1][0] if len(rows) > size else None
    views = _views(session, [(n, c) for n, c in rows[:size]])
    return Page(views, encode_cursor(last.cluster_id, last.name) if last else None)


def all_nodes(session: Session, cluster_id: int | None = None) -> list[NodeView]:
    """Return every node (of one cluster)."""
    stmt = select(Node, Cluster).join(Cluster, Cluster.id == Node.cluster_id).where(Cluster.enabled)
    if cluster_id is not None:
        stmt = stmt.where(Node.cluster_id == cluster_id)
    return _views(session, [(n, c) for n, c in session.execute(stmt.order_by(Node.cluster_id, Node.name))])


def guests_page(
    session: Session, node: str | None = None, q: str | None = None, limit: int | None = None, cursor: str | None = None, managed: bool | None = None
) -> Page[Guest]:
    """Return guests by VMID, ours or not, without templates; `q` finds in names and VMIDs, `managed` tells whose."""
    size = clamp(limit)
    stmt = select(Guest).where(~Guest.template).order_by(Guest.cluster_id, Guest.vmid).limit(size + 1)
    if managed is not None:
        stmt = stmt.where(_ours() if managed else ~_ours())
    if node:
        stmt = stmt.where(Guest.node_name == node)
    if q:
        by_vmid = Guest.vmid == int(q) if q.isascii() and q.isdigit() and len(q) < 10 else None
        by_name = Guest.name.icontains(q, autoescape=True)
        stmt = stmt.where(by_name if by_vmid is None else or_(by_name, by_vmid))
    if after := decode_cursor(cursor, int, int):
        stmt = stmt.where(tuple_(Guest.cluster_id, Guest.vmid) > tuple_(*after))
    rows = session.scalars(stmt).all()
    last = rows[size - 1] if len(rows) > size else None
    return Page(rows[:size], encode_cursor(last.cluster_id, last.vmid) if last else None)


def _ours() -> ColumnElement[bool]:
    return exists().where(Server.cluster_id == Guest.cluster_id, Server.vmid == Guest.vmid, Server.deleted_at.is_(None))


def guest_counts(session: Session) -> dict[str, int]:
    """Return how many guests there are, without templates: all, managed here, and not."""
    every, ours = session.execute(select(func.count(), func.count().filter(_ours())).where(~Guest.template)).one()
    return {"all": every, "managed": ours, "foreign": every - ours}


def servers_of(session: Session, guests: Sequence[Guest]) -> dict[tuple[int, int], str]:
    """Return the names of our servers behind these guests, by cluster and VMID."""
    places = [(g.cluster_id, g.vmid) for g in guests]
    query = select(Server.cluster_id, Server.vmid, Server.name).where(Server.deleted_at.is_(None), tuple_(Server.cluster_id, Server.vmid).in_(places))
    return {(row[0], row[1]): row[2] for row in session.execute(query)} if places else {}


def _views(session: Session, found: Sequence[tuple[Node, Cluster]]) -> list[NodeView]:
    ids = {n.cluster_id for n, _ in found}
    storages: dict[tuple[int, str], list[Storage]] = defaultdict(list)
    bridges: dict[tuple[int, str], list[Bridge]] = defaultdict(list)
    for storage in session.scalars(select(Storage).where(Storage.cluster_id.in_(ids)).order_by(Storage.name)):
        storages[storage.cluster_id, storage.node_name].append(storage)
    for bridge in session.scalars(select(Bridge).where(Bridge.cluster_id.in_(ids)).order_by(Bridge.name)):
        bridges[bridge.cluster_id, bridge.node_name].append(bridge)
    counted: Counter[tuple[int, str]] = Counter()
    running: Counter[tuple[int, str]] = Counter()
    rows = session.execute(
        select(Guest.cluster_id, Guest.node_name, Guest.status, func.count())
        .where(Guest.cluster_id.in_(ids), ~Guest.template).group_by(Guest.cluster_id, Guest.node_name, Guest.status)
    )  # fmt: skip
    for cluster_id, node_name, status, number in rows:
        counted[cluster_id, node_name] += number
        running[cluster_id, node_name] += number if status == "running" else 0
    return [
        NodeView(n, c, storages[k], bridges[k], counted[k], running[k])
        for n, c in found
        for k in [(n.cluster_id, n.name)]
    ]
