"""Bringing rows up to what Proxmox reports: only those that differ are written."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from app.adapters.proxmox.types import BridgeInfo, Resources
from app.models import Bridge, Guest, Node, Storage

# Uptime grows all the time: that alone is no change, a restart is, and so is a reading that got too old.
UPTIME_STEP_S = 600
Key = tuple[Hashable, ...]
Values = dict[str, Any]


@dataclass(frozen=True)
class Diff:
    """Keys of rows that were added, changed and removed."""

    added: tuple[Key, ...] = ()
    changed: tuple[Key, ...] = ()
    removed: tuple[Key, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


def write_nodes(session: Session, cluster_id: int, resources: Resources) -> Diff:
    wanted: dict[Key, Values] = {}
    known = {n.name: n for n in session.scalars(select(Node).where(Node.cluster_id == cluster_id))}
    for node in resources.nodes:
        values: Values = {"online": node.online, "cpu_percent": node.cpu_percent, "uptime_s": node.uptime_s}
        if node.online or node.name not in known:  # an offline node tells no sizes; it keeps those it had
            values |= {"cores": node.cores, "memory_mib": node.memory_mib, "memory_used_mib": node.memory_used_mib}
        wanted[(node.name,)] = values
    return _write(session, Node, cluster_id, ("name",), wanted)


def write_storages(session: Session, cluster_id: int, resources: Resources) -> Diff:
    known = {(s.node_name, s.name): s for s in session.scalars(select(Storage).where(Storage.cluster_id == cluster_id))}
    wanted: dict[Key, Values] = {}
    for storage in resources.storages:
        values: Values = {"active": storage.active, "shared": storage.shared}
        if storage.active or (storage.node_name, storage.name) not in known:
            values |= {
                "kind": storage.kind, "images": storage.images, "content": storage.content[:200],
                "total_gib": storage.total_gib, "used_gib": storage.used_gib,
            }  # fmt: skip
        wanted[(storage.node_name, storage.name)] = values
    return _write(session, Storage, cluster_id, ("node_name", "name"), wanted)


def write_bridges(session: Session, cluster_id: int, found: Mapping[str, Sequence[BridgeInfo]]) -> None:
    """Write the bridges of the nodes that were asked; those of the others stay."""
    rows = session.scalars(
        select(Bridge).where(Bridge.cluster_id == cluster_id, Bridge.node_name.in_(list(found)))
    ).all()
    known = {(r.node_name, r.name): r for r in rows}
    for node, bridges in found.items():
        for bridge in bridges:
            row = known.pop((node, bridge.name), None)
            if row is None:
                session.add(
                    Bridge(cluster_id=cluster_id, node_name=node, name=bridge.name, vlan_aware=bridge.vlan_aware)
                )
            else:
                row.vlan_aware = bridge.vlan_aware
    for row in known.values():
        session.delete(row)


def write_guests(session: Session, cluster_id: int, resources: Resources, read: Mapping[int, Values]) -> Diff:
    """Write guests; `read` has what was learnt from configs now (`ip_addresses`, `marker`, `config_read_at`)."""
    wanted: dict[Key, Values] = {
        (g.vmid,): {
            "name": g.name, "node_name": g.node_name, "kind": g.kind, "status": g.status, "template": g.template,
            "lock": g.lock, "cores": g.cores, "memory_mib": g.memory_mib, "disk_gib": g.disk_gib, "tags": g.tags,
            "uptime_s": g.uptime_s,
        }
        for g in resources.guests
    }  # fmt: skip
    for vmid, values in read.items():
        if (vmid,) in wanted:
            wanted[(vmid,)] |= values
    return _write(session, Guest, cluster_id, ("vmid",), wanted)


def _write(session: Session, model: Any, cluster_id: int, key: tuple[str, ...], wanted: Mapping[Key, Values]) -> Diff:
    names = [c.key for c in model.__table__.columns if c.key not in ("cluster_id", "created_at")]
    rows = session.execute(select(*(getattr(model, n) for n in names)).where(model.cluster_id == cluster_id)).mappings()
    known = {tuple(r[k] for k in key): r for r in rows}
    defaults = {c.name: c.default.arg for c in model.__table__.columns if c.default is not None and c.default.is_scalar}
    added = [k for k in wanted if k not in known]
    removed = [k for k in known if k not in wanted]
    changed = [k for k in wanted if k in known and any(_differs(n, known[k][n], v) for n, v in wanted[k].items())]
    if added:
        # One statement for all: every row names the same columns.
        columns = {n for k in added for n in wanted[k]}
        filler = {n: defaults.get(n, [] if n == "ip_addresses" else None) for n in columns}
        session.execute(
            insert(model),
            [{"cluster_id": cluster_id, **dict(zip(key, k, strict=True)), **filler, **wanted[k]} for k in added],
        )
    for group in _same_columns(changed, wanted):
        session.execute(
            update(model), [{"id": known[k]["id"], "version": known[k]["version"] + 1, **wanted[k]} for k in group]
        )
    if removed:
        session.execute(delete(model).where(model.id.in_([known[k]["id"] for k in removed])))
    session.expire_all()
    return Diff(tuple(added), tuple(changed), tuple(removed))


def _same_columns(keys: Sequence[Key], wanted: Mapping[Key, Values]) -> list[list[Key]]:
    groups: dict[frozenset[str], list[Key]] = {}
    for k in keys:
        groups.setdefault(frozenset(wanted[k]), []).append(k)
    return list(groups.values())


def _differs(name: str, old: Any, new: Any) -> bool:
    if name == "uptime_s":
        return bool(new < old or new - old >= UPTIME_STEP_S)
    return bool(old != new)
