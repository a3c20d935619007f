"""Disks and NICs of a server that is there: what a change makes of them, and their addresses."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain import devices
from app.errors import FieldError
from app.models import Bridge, Network, Server
from app.schemas.servers import DiskWanted, NicWanted, ServerChange
from app.services import networks, reservations
from app.services import placement as rooms_service
from app.services.uow import UnitOfWork

MOST_DISKS, MOST_NICS = 8, 4
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Offer:
    """What may be added to a server: storages of its node with free GiB, and networks of its cluster that its node reaches."""

    storages: list[tuple[str, int]]
    networks: list[Network]


def offer(session: Session, server: Server) -> Offer:
    """Return what the server's page offers to add."""
    room = next((r for r in rooms_service.rooms(session, server.cluster_id) if r.name == server.node_name), None)
    storages = [(s.name, s.free_gib) for s in room.storages if s.images and s.active] if room else []
    found = session.scalars(select(Network).where(Network.cluster_id == server.cluster_id).order_by(Network.name))
    return Offer(storages, [n for n in found if room is None or room.bridges is None or n.bridge in room.bridges])


# ---- disks
def disks(session: Session, server: Server, request: ServerChange, now: Rows, found: list[FieldError]) -> Rows:
    """Return the disks after the change; what is wrong with it goes into `found`."""
    if {d["interface"] for d in server.disks} - {d["interface"] for d in now} or (request.remove_disks and now != server.disks):
        # Each list holds all disks: the later of two would bring back, or take along, what the other one is about.
        found.append(FieldError("disks", "devices_change_waits"))
        return now
    after = _grown(session, server, request.disks, now, found) if request.disks is not None else now
    for index, name in enumerate(request.remove_disks):
        where = f"remove_disks.{index}"
        if name not in {str(d["interface"]) for d in now}:
            found.append(FieldError(where, "disk_unknown", {"disk": name}))
        elif name == now[0]["interface"]:
            found.append(FieldError(where, "disk_boot", {"disk": name}))
    if len(after) > MOST_DISKS:
        found.append(FieldError("disks", "too_long", {"max_length": MOST_DISKS}))
    return [d for d in after if d["interface"] not in request.remove_disks]


def _grown(session: Session, server: Server, wanted: Sequence[DiskWanted], now: Rows, found: list[FieldError]) -> Rows:
    rooms = {r.name: r for r in rooms_service.rooms(session, server.cluster_id)}
    known = {s.name: s for s in rooms[server.node_name].storages} if server.node_name in rooms else {}
    if len(wanted) < len(now):
        found.append(FieldError("disks", "disk_missing", {"count": len(now)}))
    out: list[dict[str, Any]] = []
    grown: dict[str, int] = {}
    fresh = devices.next_disks([str(d["interface"]) for d in now], len(wanted) - len(now))
    for index, disk in enumerate(wanted):
        where = f"disks.{index}"
        old = now[index] if index < len(now) else None
        storage = str(old["storage"]) if old else disk.storage or str(now[0]["storage"])
        if old and disk.storage not in (None, storage):
            found.append(FieldError(f"{where}.storage", "disk_storage_fixed", {"storage": storage}))
        if old and disk.size_gib < int(old["size_gib"]):
            found.append(FieldError(f"{where}.size_gib", "disk_shrink", {"low": int(old["size_gib"])}))
        room = known.get(storage)
        if not old and known and (room is None or not room.images):
            code = "storage_unknown" if room is None else "storage_not_images"
            found.append(FieldError(f"{where}.storage", code, {"storage": storage, "node": server.node_name}))
        more = disk.size_gib - (int(old["size_gib"]) if old else 0)
        grown[storage] = grown.get(storage, 0) + max(more, 0)
        if room and more > 0 and grown[storage] > room.free_gib:
            found.append(FieldError(f"{where}.size_gib", "storage_full", {"storage": storage, "node": server.node_name, "free_gib": room.free_gib}))
        out.append({"interface": str(old["interface"]) if old else fresh[index - len(now)], "storage": storage, "size_gib": disk.size_gib})
    return out


# ---- NICs
def nics(session: Session, server: Server, request: ServerChange, now: Rows, found: list[FieldError]) -> Rows:
    """Return the NICs after the change, new ones with the lowest free address; what is wrong goes into `found`."""
    if now != server.nics:
        found.append(FieldError("add_networks" if request.add_networks else "remove_networks", "devices_change_waits"))
        return now
    kept = list(now)
    for index, name in enumerate(sorted(request.remove_networks, reverse=True)):
        if not kept or name != f"net{len(kept) - 1}":
            # Terraform numbers them: without one in the middle, those behind it would become each other.
            code = "nic_not_last" if re.fullmatch(r"net[0-3]", name) and int(name[3:]) < len(kept) else "nic_unknown"
            found.append(FieldError(f"remove_networks.{index}", code, {"nic": name}))
        elif len(kept) == 1:
            found.append(FieldError(f"remove_networks.{index}", "nic_first", {"nic": name}))
        else:
            kept.pop()
    bridges = set(session.scalars(select(Bridge.name).where(Bridge.cluster_id == server.cluster_id, Bridge.node_name == server.node_name)))
    for index, wanted in enumerate(request.add_networks):
        network = networks.by_name(session, wanted.network, server.cluster_id)
        if network is None:
            found.append(FieldError(f"add_networks.{index}.network", "network_unknown", {"name": wanted.network}))
        elif bridges and network.bridge not in bridges:
            found.append(FieldError(f"add_networks.{index}.network", "bridge_not_on_node", {"bridge": network.bridge, "node": server.node_name}))
        elif address := _address(session, network, wanted, kept, f"add_networks.{index}", found):
            kept.append(nic(network, address, first=not kept))
    if len(kept) > MOST_NICS:
        found.append(FieldError("add_networks", "too_long", {"max_length": MOST_NICS}))
    return kept


def _address(session: Session, network: Network, wanted: NicWanted, kept: Rows, where: str, found: list[FieldError]) -> str | None:
    mine = {n["ip"] for n in kept if n["network_id"] == network.id}
    if wanted.ip is None:
        free = next((ip for ip in networks.free(session, network, len(mine) + 1) if ip not in mine), None)
        if free is None:
            found.append(FieldError(f"{where}.network", "addresses_exhausted", {"network": network.name, "free": 0, "count": 1}))
        return free
    if code := networks.address_faults(session, network, wanted.ip):
        range_ = {"cidr": network.cidr, "low": network.range_low, "high": network.range_high}
        found.append(FieldError(f"{where}.ip", code, {"ip": wanted.ip, "network": network.name, **range_}))
        return None
    return wanted.ip


def nic(network: Network, address: str, first: bool) -> dict[str, Any]:
    """Return a NIC as a server's row keeps it."""
    prefix = int(network.cidr.partition("/")[2])
    return {
        "network_id": network.id, "network": network.name, "bridge": network.bridge, "vlan": network.vlan, "ip": address,
        "prefix": prefix,
        # One default route: the first network's.
        "gateway": network.gateway if first else None,
        "dns_servers": network.dns_servers, "dns_domain": network.dns_domain,
    }  # fmt: skip


def nics_of(wanted: Sequence[tuple[Network, str | None]], ips: Sequence[str | None]) -> Rows:
    """Return a server's NICs, one a network with an address."""
    return [nic(network, ip, first=index == 0) for index, ((network, _), ip) in enumerate(zip(wanted, ips, strict=True)) if ip]


# ---- addresses of a change
def _addresses(nics: Sequence[Mapping[str, Any]]) -> set[tuple[str, str]]:
    return {(networks.scope(n["bridge"], n.get("vlan")), str(n["ip"])) for n in nics if n.get("ip")}


def hold(uow: UnitOfWork, server: Server, values: Mapping[str, Any]) -> bool:
    """Reserve the addresses that a change adds; False when somebody was faster."""
    added = _addresses(values.get("nics", server.nics)) - _addresses(server.nics)
    return all(reservations.take_back(uow, server, "ip", scope, ip) for scope, ip in sorted(added))


def settle(uow: UnitOfWork, server: Server, values: Mapping[str, Any], taken: bool, began: bool) -> None:
    """Give back the addresses that the server does not have after a change: before the row takes the new values.

    `taken`: the change was made; `began`: it may have been in part, so that an address waits before somebody gets it.
    """
    if "nics" not in values:
        return
    old, new = _addresses(server.nics), _addresses(values["nics"])
    gone = old - new if taken else new - old
    reservations.give_back_addresses(uow, server, gone, at_once=not taken and not began)
    if taken:
        left = {ip for _, ip in gone}
        server.ip_addresses = [a for a in server.ip_addresses if a not in left] + [ip for _, ip in sorted(new - old)]
