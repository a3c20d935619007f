"""The figures placement works on: nodes, storages and bridges as last polled, less what is being made now."""

from collections import defaultdict

from sqlalchemy import select
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
    memory_mib, disk_gib = _being_made(session, cluster_id)
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


def _being_made(session: Session, cluster_id: int) -> tuple[dict[str, int], dict[tuple[str, str], int]]:
    """MiB by node of servers not running yet, and GiB by (node or "" when shared, storage) not allocated yet."""
    seen = select(Guest.id).where(Guest.cluster_id == cluster_id, Guest.vmid == Server.vmid)
    rows = session.execute(
        select(Server.node_name, Server.memory_mib, Server.disks, seen.exists())
        .where(Server.cluster_id == cluster_id, Server.status == ServerStatus.CREATING, Server.deleted_at.is_(None))
    ).all()  # fmt: skip
    memory_mib: dict[str, int] = defaultdict(int)
    disk_gib: dict[tuple[str, str], int] = defaultdict(int)
    shared = (
        set(session.scalars(select(Storage.name).where(Storage.cluster_id == cluster_id, Storage.shared)))
        if rows
        else set()
    )
    for node_name, memory, disks, known in rows:
        memory_mib[node_name] += memory
        for disk in [] if known else disks:
            name = str(disk.get("storage") or "")
            disk_gib["" if name in shared else node_name, name] += int(disk.get("size_gib") or 0)
    return memory_mib, disk_gib
