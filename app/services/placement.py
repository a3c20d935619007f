"""The figures placement works on: nodes, storages and bridges as last polled, less what is being made now."""

from collections import defaultdict

from sqlalchemy import func, null, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from app.domain.placement import NodeRoom, StorageRoom
from app.models import Bridge, Guest, Node, Server, Storage
from app.models.server import ServerStatus


def rooms(session: Session, cluster_id: int) -> list[NodeRoom]:
    """Return every node of the cluster with its free memory and storages.

    Servers that are being made and that Proxmox does not report yet are counted as if they were there.
    """
    bridges: dict[str, set[str]] = defaultdict(set)
    for node_name, name in session.execute(
        select(Bridge.node_name, Bridge.name).where(Bridge.cluster_id == cluster_id)
    ):
        bridges[node_name].add(name)
    storages: dict[str, list[Storage]] = defaultdict(list)
    for storage in session.scalars(select(Storage).where(Storage.cluster_id == cluster_id).order_by(Storage.name)):
        storages[storage.node_name].append(storage)
    shared = {s.name for of_node in storages.values() for s in of_node if s.shared}
    memory_mib, disk_gib = _being_made(session, cluster_id, shared)
    nodes = session.scalars(select(Node).where(Node.cluster_id == cluster_id).order_by(Node.name)).all()
    return [
        NodeRoom(
            name=node.name,
            online=node.online,
            cores=node.cores,
            memory_mib=node.memory_mib,
            memory_free_mib=node.memory_mib - node.memory_used_mib - memory_mib[node.name],
            storages=tuple(_room(s, disk_gib["" if s.shared else node.name, s.name]) for s in storages[node.name]),
            bridges=frozenset(bridges[node.name]) if bridges[node.name] else None,
        )
        for node in nodes
    ]


def _room(storage: Storage, pending_gib: int) -> StorageRoom:
    return StorageRoom(
        storage.name, storage.shared, storage.images, max(storage.free_gib - pending_gib, 0), storage.active
    )


def _being_made(session: Session, cluster_id: int, shared: set[str]) -> tuple[dict[str, int], dict[tuple[str, str], int]]:
    """MiB by node of servers not running yet, and GiB by (node or "" when shared, storage) not allocated yet."""
    making = (Server.cluster_id == cluster_id, Server.status == ServerStatus.CREATING, Server.deleted_at.is_(None))
    seen = select(Guest.id).where(Guest.cluster_id == cluster_id, Guest.vmid == Server.vmid).exists()
    disk = func.jsonb_array_elements(Server.disks, type_=JSONB).column_valued("disk")
    memory = select(Server.node_name, null().label("storage"), func.sum(Server.memory_mib)).where(*making).group_by(Server.node_name)
    disks = (
        select(Server.node_name, disk["storage"].astext, func.sum(disk["size_gib"].as_integer()))
        .where(*making, ~seen)
        .group_by(Server.node_name, disk["storage"].astext)
    )
    memory_mib: dict[str, int] = defaultdict(int)
    disk_gib: dict[tuple[str, str], int] = defaultdict(int)
    for node_name, storage, total in session.execute(memory.union_all(disks)):
        if storage is None:
            memory_mib[node_name] += int(total)
        else:
            disk_gib["" if storage in shared else node_name, storage] += int(total)
    return memory_mib, disk_gib
