"""The figures placement works on: nodes, storages and bridges as last polled, less what is being made now."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.domain.placement import NodeRoom, StorageRoom
from app.services.prepared import Prepared

# A part of a statement: `{cluster}` is the cluster's id. Servers that are being made and that Proxmox does not report yet
# count as if they were there; grouped by a hash of their disks, or of hundreds that are being made each would be written as text.
ROOMS = """json_build_object(
    'nodes', (select json_agg(json_build_array(name, online, cores, memory_mib, memory_used_mib) order by name)
              from node where cluster_id = {cluster}),
    'storages', (select json_agg(json_build_array(node_name, name, shared, images, active, greatest(total_gib - used_gib, 0)) order by name)
                 from storage where cluster_id = {cluster}),
    'bridges', (select json_agg(json_build_array(node_name, name)) from bridge where cluster_id = {cluster}),
    'making', (select json_agg(json_build_array(node_name, mib, disks, there, servers)) from (
        select s.node_name, (array_agg(s.disks))[1] as disks, s.vmid in (select vmid from guest where cluster_id = {cluster}) as there,
            sum(s.memory_mib) as mib, count(*) as servers
        from server s where s.cluster_id = {cluster} and s.status = 'creating' and s.deleted_at is null
        group by s.node_name, jsonb_hash_extended(s.disks, 0), 3) making)
)"""
_OF_ONE = Prepared(f"select {ROOMS.format(cluster='($1::bigint)')}::text")


def rooms(session: Session, cluster_id: int) -> list[NodeRoom]:
    """Return every node of the cluster with its free memory and storages."""
    return rooms_of(_OF_ONE.one(session, cluster_id))


def rooms_of_clusters(session: Session, cluster_ids: Sequence[int]) -> dict[int, list[NodeRoom]]:
    """Return the nodes of several clusters, by cluster, with one statement."""
    found = session.execute(text(f"select id, {ROOMS.format(cluster='cluster.id')} from cluster where id = any(:ids)"), {"ids": list(cluster_ids)})  # noqa: S608 - a text of ours
    return {row[0]: rooms_of(row[1]) for row in found}


def rooms_of(found: dict[str, Any]) -> list[NodeRoom]:
    """Return the nodes of what `ROOMS` found."""
    storages = found["storages"] or ()
    shared = {name for _, name, is_shared, *_ in storages if is_shared}
    memory_mib: dict[str, int] = defaultdict(int)
    disk_gib: dict[tuple[str, str], int] = defaultdict(int)
    for node_name, mib, disks, there, servers in found["making"] or ():
        memory_mib[node_name] += mib
        for disk in () if there else disks:  # Proxmox already counts the disks of a VM that is there
            disk_gib["" if disk["storage"] in shared else node_name, disk["storage"]] += disk["size_gib"] * servers
    of_node: dict[str, list[StorageRoom]] = defaultdict(list)
    for node_name, name, is_shared, images, active, free_gib in storages:
        pending = disk_gib["" if is_shared else node_name, name]
        of_node[node_name].append(StorageRoom(name, is_shared, images, max(free_gib - pending, 0), active))
    bridges: dict[str, set[str]] = defaultdict(set)
    for node_name, name in found["bridges"] or ():
        bridges[node_name].add(name)
    return [
        NodeRoom(
            name=name, online=online, cores=cores, memory_mib=mib, memory_free_mib=mib - used_mib - memory_mib[name],
            storages=tuple(of_node[name]), bridges=frozenset(bridges[name]) if bridges[name] else None,
        )
        for name, online, cores, mib, used_mib in found["nodes"] or ()
    ]  # fmt: skip
