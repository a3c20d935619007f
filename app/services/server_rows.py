"""The servers of a batch one by one: what each has for itself, and what speaks against it, told at its own fields."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from sqlalchemy.orm import Session

from app.domain import server_spec
from app.domain.placement import Misfit
from app.errors import FieldError
from app.models import Cluster, Network, Template
from app.schemas.servers import DiskWanted, ServerRow
from app.services import networks


@dataclass(frozen=True)
class Each:
    """What one server of a request is to have; `ip` is of the first network. None: the next free one, the node that fits best."""

    cores: int
    memory_mib: int
    disks: tuple[DiskWanted, ...]
    ip: str | None = None
    node: str | None = None
    vmid: int | None = None


def name_faults(names: Sequence[str]) -> list[FieldError]:
    """Return what is wrong with the names of rows by themselves and among each other."""
    found = []
    for index, name in enumerate(names):
        where = f"servers.{index}.name"
        if fault := server_spec.name_fault(name):
            found.append(FieldError(where, fault, {"limit": server_spec.NAME_BYTES}))
        elif name in names[:index]:
            found.append(FieldError(where, "name_twice", {"name": name}))
    return found


def taken_faults(names: Sequence[str], taken: Collection[str], code: str) -> list[FieldError]:
    """Return a fault for each row whose name others have."""
    return [FieldError(f"servers.{index}.name", code, {"name": name}) for index, name in enumerate(names) if name in taken]


def vmid_faults(rows: Sequence[ServerRow], taken: Collection[int], cluster: Cluster) -> list[FieldError]:
    """Return a fault for each row whose VMID it cannot have."""
    found, seen = [], set[int]()
    for index, vmid in enumerate(row.vmid for row in rows):
        if vmid is None:
            continue
        outside = not cluster.vmid_low <= vmid <= cluster.vmid_high
        code = "vmid_outside_range" if outside else "vmid_twice" if vmid in seen else "vmid_in_use" if vmid in taken else None
        if code:
            found.append(FieldError(f"servers.{index}.vmid", code, {"vmid": vmid, "low": cluster.vmid_low, "high": cluster.vmid_high}))
        seen.add(vmid)
    return found


def vmids(each: Sequence[Each], free: Sequence[int]) -> list[int | None]:
    """Hand out the VMIDs, the lowest first; None where there were too few."""
    left = iter(sorted(free))
    return [one.vmid or next(left, None) for one in each]


def each(session: Session, rows: Sequence[ServerRow], usual: Each, template: Template, network: Network | None) -> tuple[list[Each], list[FieldError]]:
    """Return what each row comes to, `usual` where it says nothing, and its faults; asks as often for many rows as for one."""
    found: list[FieldError] = []
    ips = [row.ip for row in rows if row.ip]
    held = networks.faults_of(session, network, ips) if network and ips else {}
    for index, row in enumerate(rows):
        where = f"servers.{index}"
        if row.memory_mib and row.memory_mib < template.min_memory_mib:
            found.append(FieldError(f"{where}.memory_mib", "memory_below_template", {"template": template.name, "low": template.min_memory_mib}))
        if row.disk_gib and row.disk_gib < template.disk_gib:
            found.append(FieldError(f"{where}.disk_gib", "disk_below_template", {"template": template.name, "low": template.disk_gib}))
        if row.ip and network:
            code = "ip_twice" if row.ip in (r.ip for r in rows[:index]) else held.get(row.ip)
            if code:
                args = {"ip": row.ip, "network": network.name, "cidr": network.cidr, "low": network.range_low, "high": network.range_high}
                found.append(FieldError(f"{where}.ip", code, args))
    return [
        Each(r.cores or usual.cores, r.memory_mib or usual.memory_mib, _disks(r, usual), r.ip, r.node or usual.node, r.vmid) for r in rows
    ], found


def _disks(row: ServerRow, usual: Each) -> tuple[DiskWanted, ...]:
    if row.disk_gib is None:
        return usual.disks
    return (DiskWanted(size_gib=row.disk_gib, storage=usual.disks[0].storage), *usual.disks[1:])


def misfit_field(misfit: Misfit, index: int, rows: Sequence[ServerRow]) -> str:
    """Return where it is told that a server fits nowhere: at its row when it is the row's own figure that does not fit."""
    if index >= len(rows):
        return misfit.field
    row = rows[index]
    own = {"node": row.node, "cores": row.cores, "memory_mib": row.memory_mib, "disks.0.size_gib": row.disk_gib}
    return f"servers.{index}.{'disk_gib' if misfit.field.startswith('disks') else misfit.field}" if own.get(misfit.field) else misfit.field


def addresses(wanted: Sequence[tuple[Network, str | None]], each: Sequence[Each], free: Mapping[int, Sequence[str]]) -> list[list[str | None]]:
    """Hand out the addresses, the lowest first: one list a server, one address a NIC; None where there were too few."""
    own = {one.ip for one in each}
    first = wanted[0][0].id if wanted else None
    left = {number: iter(sorted((ip for ip in ips if number != first or ip not in own), key=IPv4Address)) for number, ips in free.items()}
    out: list[list[str | None]] = [[] for _ in each]
    for index, (network, ip) in enumerate(wanted):
        for one, given in zip(each, out, strict=True):
            given.append(ip or (one.ip if index == 0 else None) or next(left.get(network.id, iter(())), None))
    return out
