"""What pages show together: the choices of the create page, the nodes page, the dashboard. Reads only."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import and_, exists, func, select
from sqlalchemy.orm import Session, aliased, joinedload

from app.domain.permissions import Permission
from app.domain.run_state import RunState
from app.errors import NotFound
from app.models import (
    Action,
    Bridge,
    Cluster,
    Guest,
    Network,
    Node,
    Notification,
    Preset,
    Run,
    Server,
    Storage,
    Template,
)
from app.services import capacity as rooms_now
from app.services import clusters, presets, runs, server_lists, templates
from app.services import placement as rooms
from app.services.actor import Actor


@dataclass(frozen=True)
class NodeChoice:
    cluster_id: int
    name: str
    online: bool
    cores: int
    free_gib: int
    used_percent: int


@dataclass(frozen=True)
class StorageChoice:
    """A storage that takes VM disks; `free_gib` of the node that has most."""

    cluster_id: int
    name: str
    free_gib: int


@dataclass(frozen=True)
class Choices:
    """What a new server can be made from and where."""

    templates: list[Template]
    presets: list[Preset]
    networks: list[Network]
    nodes: list[NodeChoice]
    storages: list[StorageChoice]
    troubled: list[Cluster]  # do not answer as they should


def choices(session: Session) -> Choices:
    """Return what the create page offers."""
    offered = templates.offered(session)
    ids = sorted({t.cluster_id for t in offered})
    by_cluster = rooms.rooms_of_clusters(session, ids)
    nodes = [
        NodeChoice(
            cluster_id, room.name, room.online, room.cores, max(room.memory_free_mib, 0) // 1024,
            min(100, round(100 * (1 - room.memory_free_mib / room.memory_mib))) if room.memory_mib else 100,
        )
        for cluster_id in ids
        for room in by_cluster[cluster_id]
    ]  # fmt: skip
    networks = session.scalars(select(Network).where(Network.cluster_id.in_(ids)).order_by(Network.is_default.desc(), Network.name))
    troubled = [c for c in clusters.connected(session) if c.away]
    return Choices(offered, presets.all_presets(session), list(networks), nodes, _storages(session, ids), troubled)


def _storages(session: Session, cluster_ids: list[int]) -> list[StorageChoice]:
    free: dict[tuple[int, str], int] = {}
    for storage in session.scalars(select(Storage).where(Storage.cluster_id.in_(cluster_ids), Storage.images, Storage.active)):
        key = (storage.cluster_id, storage.name)
        free[key] = max(free.get(key, 0), storage.free_gib)
    return [StorageChoice(cluster_id, name, gib) for (cluster_id, name), gib in sorted(free.items())]


@dataclass(frozen=True)
class NodeView:
    node: Node
    storages: list[Storage]
    bridges: list[Bridge]
    guests: int

    @property
    def memory_gib(self) -> int:
        return self.node.memory_mib // 1024

    @property
    def memory_free_gib(self) -> int:
        return max(self.node.memory_mib - self.node.memory_used_mib, 0) // 1024

    @property
    def memory_percent(self) -> int:
        return round(100 * self.node.memory_used_mib / self.node.memory_mib) if self.node.memory_mib else 0


GUESTS = 20  # of a cluster, on the page of nodes; there may be thousands


@dataclass(frozen=True)
class ClusterView:
    """`guests`: the first of those the reader may know, of `guests_in_all`. `managed`: VMIDs of our servers among them; `ours`: their names."""

    cluster: Cluster
    nodes: list[NodeView]
    guests: list[Guest]
    guests_in_all: int
    managed: set[int]
    ours: dict[int, str]


def cluster_views(session: Session, actor: Actor) -> list[ClusterView]:
    """Return every cluster with what Proxmox reports of it."""
    found, nodes = clusters.connected(session), _nodes(session)
    guests, totals, ours = _guests(session, actor)
    return [ClusterView(c, nodes[c.id], guests[c.id], totals.get(c.id, 0), {s.vmid for s in ours[c.id]}, {s.vmid: s.name for s in ours[c.id]}) for c in found]


def _guests(session: Session, actor: Actor) -> tuple[dict[int, list[Guest]], dict[int, int], dict[int, list[Any]]]:
    """Return of each cluster the first guests, how many there are, and which of the first are our servers."""
    number = func.row_number().over(partition_by=Guest.cluster_id, order_by=Guest.vmid)
    known = select(Guest.id, Guest.cluster_id, number.label("number"))
    if not actor.can(Permission.VIEW_ALL):
        # What others' guests are called is for those who may see everything.
        own = and_(Server.cluster_id == Guest.cluster_id, Server.vmid == Guest.vmid, Server.deleted_at.is_(None), Server.owner_id == actor.user_id)
        known = known.join(Server, own)
    of = known.subquery()
    totals = {row[0]: row[1] for row in session.execute(select(of.c.cluster_id, func.count()).group_by(of.c.cluster_id))}
    first = session.scalars(select(Guest).join(of, of.c.id == Guest.id).where(of.c.number <= GUESTS).order_by(Guest.vmid)).all()
    ours = select(Server.cluster_id, Server.vmid, Server.name).where(Server.deleted_at.is_(None), Server.vmid.in_([g.vmid for g in first]))
    return _by_cluster(first), totals, _by_cluster(session.execute(ours))


def _by_cluster(rows: Iterable[Any]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        found[row.cluster_id].append(row)
    return found


def _nodes(session: Session) -> dict[int, list[NodeView]]:
    """Return the nodes of every cluster with what belongs to each."""
    storages: dict[tuple[int, str], list[Storage]] = defaultdict(list)
    for storage in session.scalars(select(Storage).order_by(Storage.name)):
        storages[storage.cluster_id, storage.node_name].append(storage)
    bridges: dict[tuple[int, str], list[Bridge]] = defaultdict(list)
    for bridge in session.scalars(select(Bridge).order_by(Bridge.name)):
        bridges[bridge.cluster_id, bridge.node_name].append(bridge)
    number = select(Guest.cluster_id, Guest.node_name, func.count()).group_by(Guest.cluster_id, Guest.node_name)
    guests = {(cluster_id, node): n for cluster_id, node, n in session.execute(number)}
    found: dict[int, list[NodeView]] = defaultdict(list)
    for node in session.scalars(select(Node).order_by(Node.name)):
        key = node.cluster_id, node.name
        found[node.cluster_id].append(NodeView(node, storages[key], bridges[key], guests.get(key, 0)))
    return found


def servers_made(session: Session) -> dict[int, int]:
    """Return how many servers there are of each template."""
    query = select(Server.template_id, func.count()).where(Server.deleted_at.is_(None), Server.template_id.is_not(None))
    return {int(t or 0): n for t, n in session.execute(query.group_by(Server.template_id))}


def actions_of(session: Session, server: Server, limit: int = 20) -> list[Action]:
    """Return the server's latest actions with who asked for them."""
    query = select(Action).where(Action.server_id == server.id).options(joinedload(Action.created_by))
    return list(session.scalars(query.order_by(Action.id.desc()).limit(limit)))


@dataclass(frozen=True)
class Capacity:
    nodes: int
    online: int
    memory_mib: int
    memory_used_mib: int
    disk_gib: int
    disk_used_gib: int


def capacity(session: Session) -> Capacity:
    """Return memory of all nodes, and room for disks with every shared storage counted once."""
    nodes = session.execute(
        # What a cluster said before it went away is not known to be so now.
        select(func.count(), func.count().filter(Node.online, Cluster.status == "online"), func.coalesce(func.sum(Node.memory_mib), 0), func.coalesce(func.sum(Node.memory_used_mib), 0))
        .join(Cluster, Cluster.id == Node.cluster_id)
    ).one()
    storages = rooms_now.each_once(session.scalars(select(Storage).where(Storage.images, Storage.active)))
    total, used = sum(s.total_gib for s in storages), sum(s.used_gib for s in storages)
    return Capacity(nodes[0], nodes[1], int(nodes[2]), int(nodes[3]), total, used)


FAILED_DAYS = 3  # for so long a failure asks for attention on the first page


@dataclass(frozen=True)
class Dashboard:
    waiting: list[Run]
    failed: list[Run]
    running: list[Run]
    recent: list[Run]
    counts: dict[str, int]
    capacity: Capacity
    clusters: int
    templates: int


def dashboard(session: Session, actor: Actor) -> Dashboard:
    """Return what needs the reader (plans that wait, his own failures nobody asked for again), what runs, what ended last, what is free."""
    query = runs.visible(select(Run).options(joinedload(Run.created_by)), actor).order_by(Run.id.desc())
    waiting = session.scalars(query.where(Run.state == RunState.PLANNED).limit(10)).all()
    again = aliased(Run)
    lately = func.clock_timestamp() - timedelta(days=FAILED_DAYS)
    mine = query.where(Run.created_by_id == actor.user_id, Run.state == RunState.ERRORED, Run.finished_at > lately)
    failed = session.scalars(mine.where(~exists().where(again.retry_of_id == Run.id)).limit(10)).all()
    working = [s for s in runs.GROUPS["open"] if s != RunState.PLANNED]
    running = session.scalars(query.where(Run.state.in_(working)).limit(10)).all()
    recent = session.scalars(query.where(Run.finished_at.is_not(None)).order_by(None).order_by(Run.finished_at.desc()).limit(8)).all()
    return Dashboard(
        list(waiting), list(failed), list(running), list(recent), server_lists.counts(session, actor), capacity(session),
        len(clusters.connected(session)), len(templates.offered(session)),
    )  # fmt: skip


def expiry(run: Run, plan_expiry_s: int) -> object | None:
    """Return when a waiting plan is thrown away."""
    return run.planned_at + timedelta(seconds=plan_expiry_s) if run.planned_at and run.state == RunState.PLANNED else None


def bridge_names(session: Session) -> list[str]:
    """Return the bridges of all clusters, to choose from."""
    return list(session.scalars(select(Bridge.name).distinct().order_by(Bridge.name)))


def notification(session: Session, actor: Actor, notification_id: int) -> Notification:
    """Return one of the actor's own notifications. Raises NotFound."""
    row = session.get(Notification, notification_id)
    if row is None or row.user_id != actor.user_id:
        raise NotFound
    return row
