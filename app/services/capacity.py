"""Room: what the nodes and storages have, use and have given away, now and over the last weeks."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Integer, cast, delete, func, select
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import Session

from app.models import CapacitySample, Cluster, Guest, Node, Server, Storage
from app.services.uow import UnitOfWork

KEEP = timedelta(days=31)


@dataclass(frozen=True)
class NodeRoom:
    """Memory in MiB; what guests were given counts whether they run or not, templates do not."""

    name: str
    online: bool
    memory: int
    used: int
    allocated: int
    cores: int
    cores_allocated: int

    @property
    def over(self) -> bool:
        """More memory was given away than there is."""
        return self.allocated > self.memory > 0


@dataclass(frozen=True)
class StorageRoom:
    """In GiB; a shared storage is there once. `given` is the size of our servers' disks on it, thin or not."""

    name: str
    node: str  # empty for a shared one
    total: int
    used: int
    given: int = 0

    @property
    def over(self) -> bool:
        """More was given away than there is."""
        return self.given > self.total > 0


@dataclass(frozen=True)
class Room:
    cluster: str
    nodes: list[NodeRoom]
    storages: list[StorageRoom]
    seen_at: datetime | None = None  # of a cluster that does not answer now: when it did
    away: bool = False


def now(session: Session) -> list[Room]:
    """Return the room of every cluster that is asked."""
    every = select(Guest.cluster_id, Guest.node_name, func.sum(Guest.memory_mib), func.sum(Guest.cores)).where(~Guest.template)
    given = {(row[0], row[1]): (int(row[2]), int(row[3])) for row in session.execute(every.group_by(Guest.cluster_id, Guest.node_name))}
    nodes: dict[int, list[NodeRoom]] = defaultdict(list)
    for n in session.scalars(select(Node).order_by(Node.name)):
        memory, cores = given.get((n.cluster_id, n.name), (0, 0))
        nodes[n.cluster_id].append(NodeRoom(n.name, n.online, n.memory_mib, n.memory_used_mib, memory, n.cores, cores))
    storages = _storages(session)
    return [Room(c.name, nodes[c.id], storages[c.id], c.polled_at if c.away else None, c.away) for c in session.scalars(select(Cluster).where(Cluster.enabled).order_by(Cluster.name))]


def _given(session: Session, cluster_id: int | None) -> dict[int, dict[tuple[str, str], int]]:
    """Return the size of our servers' disks by cluster, storage and node."""
    disk = func.jsonb_array_elements(Server.disks, type_=JSONB).label("disk")
    alive = select(Server.cluster_id, Server.node_name, disk).where(Server.deleted_at.is_(None))
    disks = (alive if cluster_id is None else alive.where(Server.cluster_id == cluster_id)).subquery()
    storage = disks.c.disk["storage"].astext
    size = func.sum(cast(disks.c.disk["size_gib"].astext, Integer))
    found: dict[int, dict[tuple[str, str], int]] = defaultdict(dict)
    query = select(disks.c.cluster_id, storage, disks.c.node_name, size).group_by(disks.c.cluster_id, storage, disks.c.node_name)
    for at, name, node, gib in session.execute(query):
        found[at][name, node] = int(gib or 0)
    return found


def each_once(rows: Iterable[Storage]) -> list[Storage]:
    """Return storages as they are there: a shared one once, whichever node tells of it."""
    return list({(s.cluster_id, s.name, "" if s.shared else s.node_name): s for s in rows}.values())


def _storages(session: Session, cluster_id: int | None = None) -> dict[int, list[StorageRoom]]:
    """Return the storages that take disks by cluster: of every cluster, or of one."""
    query, given = select(Storage).where(Storage.images, Storage.active).order_by(Storage.name, Storage.node_name), _given(session, cluster_id)
    if cluster_id is not None:
        query = query.where(Storage.cluster_id == cluster_id)
    found: dict[int, list[StorageRoom]] = defaultdict(list)
    for s in each_once(session.scalars(query)):
        size = sum(gib for (name, at), gib in given[s.cluster_id].items() if name == s.name and (s.shared or at == s.node_name))
        found[s.cluster_id].append(StorageRoom(s.name, "" if s.shared else s.node_name, s.total_gib, s.used_gib, size))
    return found


def sample(uow: UnitOfWork, cluster_id: int) -> None:
    """Note what a cluster has and gives away; the last of an hour stays."""
    session = uow.session
    memory, used = session.execute(
        select(func.coalesce(func.sum(Node.memory_mib), 0), func.coalesce(func.sum(Node.memory_used_mib), 0)).where(Node.cluster_id == cluster_id)
    ).one()
    given = session.scalar(select(func.coalesce(func.sum(Guest.memory_mib), 0)).where(Guest.cluster_id == cluster_id, ~Guest.template))
    storages = _storages(session, cluster_id)[cluster_id]
    values = {
        "memory_mib": memory, "memory_used_mib": used, "memory_allocated_mib": given, "disk_gib": sum(s.total for s in storages),
        "disk_used_gib": sum(s.used for s in storages),
    }  # fmt: skip
    row = insert(CapacitySample).values(cluster_id=cluster_id, hour=func.date_trunc("hour", func.clock_timestamp()), **values)
    session.execute(row.on_conflict_do_update(index_elements=["cluster_id", "hour"], set_=values))


def old() -> Any:
    """A condition: no chart shows this sample any more."""
    return CapacitySample.hour < func.clock_timestamp() - KEEP


def forget_old(uow: UnitOfWork) -> None:
    """Delete samples that no chart shows any more."""
    uow.session.execute(delete(CapacitySample).where(old()))


@dataclass(frozen=True)
class Hour:
    """All clusters together, in GiB."""

    at: datetime
    memory: int
    memory_used: int
    memory_allocated: int
    disk: int
    disk_used: int


def history(session: Session, days: int = 30) -> Sequence[Hour]:
    """Return the last days, oldest first: by the hour, or by six of them when there are more than two days."""
    since = func.clock_timestamp() - func.make_interval(0, 0, 0, days)
    first = session.scalar(select(func.min(CapacitySample.hour)).where(CapacitySample.hour >= since))
    if first is None:
        return []
    long = session.scalar(select(func.clock_timestamp() - first > timedelta(days=2)))
    part = func.date_bin(timedelta(hours=6), CapacitySample.hour, first) if long else CapacitySample.hour
    names = ("memory_mib", "memory_used_mib", "memory_allocated_mib", "disk_gib", "disk_used_gib")
    per_cluster = (
        select(part.label("at"), *(func.avg(getattr(CapacitySample, n)).label(n) for n in names))
        .where(CapacitySample.hour >= since).group_by(part, CapacitySample.cluster_id).subquery()
    )  # fmt: skip
    gib = [cast(func.sum(getattr(per_cluster.c, n)) / (1024 if n.endswith("mib") else 1), BigInteger) for n in names]
    return [Hour(*row) for row in session.execute(select(per_cluster.c.at, *gib).group_by(per_cluster.c.at).order_by(per_cluster.c.at))]


