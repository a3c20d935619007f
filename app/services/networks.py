"""Networks: their rows, and which addresses are free, taken or impossible."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import islice
from typing import Any

from sqlalchemy import String, cast, func, select, tuple_, update
from sqlalchemy.orm import Session

from app.domain import addressing
from app.domain.permissions import Permission
from app.errors import Conflict, FieldError, Invalid, NotFound
from app.models import Bridge, Cluster, Guest, Network, Reservation, Server
from app.schemas.networks import NetworkInput
from app.schemas.page import Page, clamp, decode_cursor, encode_cursor
from app.schemas.parsing import parse
from app.services import audit
from app.services.actor import Actor
from app.services.uow import UnitOfWork


class NetworkInUse(Conflict):
    """Servers have addresses of it; `count` says how many."""

    code = "network_in_use"


@dataclass(frozen=True)
class Usage:
    """Addresses of a range: `used` by servers and guests, `reserved` in quarantine, `free`, and `total`."""

    used: int
    reserved: int
    free: int
    total: int


# ---- reading
def get(session: Session, network_id: int) -> Network:
    """Return a network. Raises NotFound."""
    return session.get(Network, network_id) or _missing()


def by_name(session: Session, name: str, cluster_id: int | None = None) -> Network | None:
    """Return the network with this name, of one cluster when given."""
    stmt = select(Network).where(Network.name == name).order_by(Network.id)
    return session.scalars(stmt if cluster_id is None else stmt.where(Network.cluster_id == cluster_id)).first()


def has(network: Network, word: str) -> bool:
    """True when the network has the word in its name, bridge or CIDR, or has the address that the word is."""
    address, cidr = addressing.parse_ip(word), addressing.parse_cidr(network.cidr)
    inside = address is not None and cidr is not None and address in cidr
    return inside or any(word.casefold() in text.casefold() for text in (network.name, network.bridge, network.cidr))


def list_page(session: Session, limit: int | None = None, cursor: str | None = None) -> Page[Network]:
    """Return networks by name."""
    size = clamp(limit)
    stmt = select(Network).order_by(Network.name, Network.id).limit(size + 1)
    if after := decode_cursor(cursor, str, int):
        stmt = stmt.where(tuple_(Network.name, Network.id) > tuple_(*after))
    rows = session.scalars(stmt).all()
    last = rows[size - 1] if len(rows) > size else None
    return Page(rows[:size], encode_cursor(last.name, last.id) if last else None)


# ---- addresses
def scope(bridge: str, vlan: int | None) -> str:
    """Where an address is unique: the bridge and VLAN, whatever networks are drawn on them."""
    return f"{bridge}/{vlan or 0}"


def scope_of(network: Network) -> str:
    """The scope of a network's addresses."""
    return scope(network.bridge, network.vlan)


def address_faults(session: Session, network: Network, ip: str, server_id: int | None = None) -> str | None:
    """Return the code of what speaks against handing out this address (to this server), None when nothing does."""
    address = addressing.parse_ip(ip)
    if address is None:
        return "ip_malformed"
    if code := _misplaced(network, address):
        return code
    if int(address) in gateways_on(session, network):
        return "ip_is_gateway"
    holder = session.execute(
        reservations(network, Reservation.server_id).where(Reservation.value == str(address))
    ).first()
    if holder is not None and (server_id is None or holder[0] != server_id):
        return "ip_taken"
    guests = select(Guest.vmid).where(
        Guest.cluster_id == network.cluster_id, Guest.ip_addresses.contains([str(address)])
    )
    own = select(Server.vmid).where(Server.id == server_id)
    if session.scalar(guests.where(Guest.vmid.not_in(own)).limit(1)) is not None:
        return "ip_taken_by_guest"
    return None


def _misplaced(network: Network, address: IPv4Address) -> str | None:
    cidr = addressing.parse_cidr(network.cidr)
    if cidr is None or address not in cidr:
        return "ip_outside_network"
    if network.gateway and address == addressing.parse_ip(network.gateway):
        return "ip_is_gateway"
    if address in (cidr.network_address, cidr.broadcast_address):
        return "ip_not_a_host"
    return None if IPv4Address(network.range_low) <= address <= IPv4Address(network.range_high) else "ip_outside_range"


def faults_of(session: Session, network: Network, ips: Sequence[str]) -> dict[str, str]:
    """Return the codes of what speaks against addresses for new servers, by address; asks as often for many as for one."""
    gateways = gateways_on(session, network)
    held = set(session.scalars(reservations(network, Reservation.value).where(Reservation.value.in_(ips))))
    guests = _guest_numbers(session, network.cluster_id)
    found: dict[str, str] = {}
    for ip in ips:
        address = IPv4Address(ip)
        code = _misplaced(network, address) or (
            "ip_is_gateway" if int(address) in gateways else "ip_taken" if ip in held else "ip_taken_by_guest" if int(address) in guests else None
        )
        if code:
            found[ip] = code
    return found


def usage(session: Session, network: Network) -> Usage:
    """Count the addresses of a network's range."""
    return usages(session, [network])[network.id]


def usages(session: Session, networks: Sequence[Network]) -> dict[int, Usage]:
    """Count the addresses of several networks' ranges, by network; asks as often for many as for one."""
    ids = {n.cluster_id for n in networks}
    held: dict[tuple[int, str], list[tuple[int, bool]]] = defaultdict(list)
    of_these = select(Reservation).where(Reservation.cluster_id.in_(ids), Reservation.kind == "ip")
    for r in session.scalars(of_these):
        held[r.cluster_id, r.scope].append((int(IPv4Address(r.value)), r.quarantined_until is not None))
    guests: dict[int, set[int]] = defaultdict(set)
    for cluster_id, ip in session.execute(_guest_addresses(Guest.cluster_id).where(Guest.cluster_id.in_(ids))):
        guests[cluster_id] |= _numbers([ip])
    gateways: dict[tuple[int, str], set[int]] = defaultdict(set)
    for other in session.scalars(select(Network).where(Network.cluster_id.in_(ids), Network.gateway.is_not(None))):
        gateways[other.cluster_id, scope_of(other)] |= _numbers([other.gateway or ""])
    found = {}
    for network in networks:
        wire = network.cluster_id, scope_of(network)
        found[network.id] = _usage(network, guests[network.cluster_id] | gateways[wire], held[wire])
    return found


def _usage(network: Network, seen: set[int], held: Sequence[tuple[int, bool]]) -> Usage:
    """Count what is `seen` on the wire and `held` by us: (address, in quarantine)."""
    low, high = int(IPv4Address(network.range_low)), int(IPv4Address(network.range_high))
    never = {n for n in addressing.reserved(network.cidr, network.gateway) if low <= n <= high}
    total = high - low + 1 - len(never)
    used = {n for n in seen | {n for n, waits in held if not waits} if low <= n <= high} - never
    quarantined = {n for n, waits in held if waits and low <= n <= high} - used - never
    return Usage(len(used), len(quarantined), total - len(used) - len(quarantined), total)


def free(session: Session, network: Network, count: int = 50) -> list[str]:
    """Return the lowest addresses of the range that nobody has now."""
    low, high = int(IPv4Address(network.range_low)), int(IPv4Address(network.range_high))
    taken = set(addressing.reserved(network.cidr, network.gateway)) | _guest_numbers(session, network.cluster_id)
    taken |= gateways_on(session, network) | _numbers(session.scalars(reservations(network, Reservation.value)))
    found = (str(IPv4Address(n)) for n in range(low, high + 1) if n not in taken)
    return list(islice(found, count))


def reservations(network: Network, *columns: Any) -> Any:
    """Select from the addresses that are given out on the network's wire."""
    return select(*columns).where(
        Reservation.cluster_id == network.cluster_id, Reservation.kind == "ip", Reservation.scope == scope_of(network)
    )


def _guest_addresses(*beside: Any) -> Any:
    # Whatever bridge a guest is on: an address given out twice costs more than one left unused.
    return select(*beside, func.jsonb_array_elements_text(Guest.ip_addresses)).where(cast(Guest.ip_addresses, String) != "[]")


def _guest_numbers(session: Session, cluster_id: int) -> set[int]:
    return _numbers(session.scalars(_guest_addresses().where(Guest.cluster_id == cluster_id)))


def _gateways_of(network: Network) -> Any:
    return select(Network.gateway).where(
        Network.cluster_id == network.cluster_id, Network.bridge == network.bridge, Network.gateway.is_not(None),
        func.coalesce(Network.vlan, 0) == (network.vlan or 0),
    )  # fmt: skip


def gateways_on(session: Session, network: Network) -> set[int]:
    """Gateways of this and every other network on the same wire."""
    return _numbers(session.scalars(_gateways_of(network)))


def _numbers(texts: Iterable[str]) -> set[int]:
    return {int(a) for a in map(addressing.parse_ip, texts) if a is not None}


# ---- writing
def check(session: Session, raw: Mapping[str, Any], network: Network | None = None) -> list[FieldError]:
    """Return every fault of a network's form, for the live check; nothing is written."""
    return _read(session, raw, network)[2]


def create(uow: UnitOfWork, actor: Actor, raw: Mapping[str, Any]) -> Network:
    """Add a network. The first one of a cluster is its default. Raises Invalid."""
    actor.need(Permission.MANAGE_NETWORKS)
    data, cluster, faults = _read(uow.session, raw, None)
    if data is None or cluster is None or faults:
        raise Invalid(faults)
    first = uow.session.scalar(select(Network.id).where(Network.cluster_id == cluster.id).limit(1)) is None
    network = Network(cluster_id=cluster.id)
    _write(uow.session, network, data, default=data.is_default or first)
    uow.session.add(network)
    uow.session.flush()
    audit.record(uow, actor, "network.create", "network", network.id, network.name, cidr=network.cidr)
    return network


def change(uow: UnitOfWork, actor: Actor, network_id: int, raw: Mapping[str, Any]) -> Network:
    """Change a network; bridge, VLAN and CIDR stay while servers use it. Raises Invalid, NotFound."""
    actor.need(Permission.MANAGE_NETWORKS)
    network = uow.session.get(Network, network_id, with_for_update=True) or _missing()
    data, _, faults = _read(uow.session, {**as_input(network), **raw}, network)
    if data is None or faults:
        raise Invalid(faults)
    before = as_input(network)
    _write(uow.session, network, data, default=data.is_default or network.is_default)
    uow.session.flush()
    changed = sorted(k for k, v in as_input(network).items() if v != before[k])
    audit.record(uow, actor, "network.change", "network", network.id, network.name, fields=changed)
    return network


def delete(uow: UnitOfWork, actor: Actor, network_id: int) -> None:
    """Remove a network that no server uses. Raises NetworkInUse, NotFound."""
    actor.need(Permission.MANAGE_NETWORKS)
    network = uow.session.get(Network, network_id, with_for_update=True) or _missing()
    if count := servers_on(uow.session, network):
        raise NetworkInUse(network.name, count=count, network=network.name)
    audit.record(uow, actor, "network.delete", "network", network.id, network.name)
    uow.session.delete(network)


def servers_on(session: Session, network: Network) -> int:
    """Count the servers with a NIC on this network."""
    stmt = select(func.count()).select_from(Server).where(
        Server.cluster_id == network.cluster_id, Server.deleted_at.is_(None), Server.nics.contains([{"network_id": network.id}])
    )  # fmt: skip
    return session.scalar(stmt) or 0


def as_input(network: Network) -> dict[str, Any]:
    """Return the row as its own form would send it."""
    return {
        "name": network.name, "bridge": network.bridge, "vlan": network.vlan, "cidr": network.cidr,
        "gateway": network.gateway, "dns_servers": network.dns_servers, "dns_domain": network.dns_domain,
        "range_low": network.range_low, "range_high": network.range_high, "is_default": network.is_default,
    }  # fmt: skip


def _read(
    session: Session, raw: Mapping[str, Any], network: Network | None
) -> tuple[NetworkInput | None, Cluster | None, list[FieldError]]:
    data, faults = parse(NetworkInput, raw)
    bad = {f.field for f in faults}
    text = {k: v.strip() for k, v in raw.items() if isinstance(v, str) and v.strip() and k not in bad}
    cluster = _cluster(session, text.get("cluster"), network, faults)
    if "cidr" in text:
        numbers = addressing.network_faults(
            text["cidr"], text.get("gateway"), text.get("range_low"), text.get("range_high")
        )
        faults += [FieldError(*f) for f in numbers]
    if cluster is not None and "name" in text:
        twin = by_name(session, text["name"], cluster.id)
        if twin is not None and (network is None or twin.id != network.id):
            faults.append(FieldError("name", "name_taken", {"name": text["name"]}))
    if cluster is not None and "bridge" in text:
        known = sorted(set(session.scalars(select(Bridge.name).where(Bridge.cluster_id == cluster.id))))
        if known and text["bridge"] not in known:
            faults.append(FieldError("bridge", "bridge_unknown", {"bridge": text["bridge"], "known": ", ".join(known)}))
    if network is not None and data is not None and (count := servers_on(session, network)):
        moved = [f for f in ("bridge", "vlan", "cidr") if getattr(data, f) != getattr(network, f)]
        faults += [FieldError(f, "network_field_in_use", {"count": count}) for f in moved]
    return data, cluster, faults


def _cluster(session: Session, name: str | None, network: Network | None, faults: list[FieldError]) -> Cluster | None:
    if network is not None:
        return session.get_one(Cluster, network.cluster_id)
    found: Sequence[Cluster] = session.scalars(select(Cluster).order_by(Cluster.id)).all()
    chosen = [c for c in found if name is None or c.name == name]
    if len(chosen) == 1:
        return chosen[0]
    code = "cluster_unknown" if name else ("missing" if found else "no_cluster")
    faults.append(FieldError("cluster", code, {"cluster": name or ""}))
    return None


def _write(session: Session, network: Network, data: NetworkInput, default: bool) -> None:
    low, high = addressing.default_range(data.cidr)
    if default:
        others = update(Network).where(Network.cluster_id == network.cluster_id, Network.is_default)
        session.execute((others.where(Network.id != network.id) if network.id else others).values(is_default=False))
    network.name, network.bridge, network.vlan, network.cidr = data.name, data.bridge, data.vlan, data.cidr
    network.gateway, network.dns_servers, network.dns_domain = data.gateway, data.dns_servers, data.dns_domain
    network.range_low, network.range_high = data.range_low or low, data.range_high or high
    network.is_default = default


def _missing() -> Network:
    raise NotFound
