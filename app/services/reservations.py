"""VMIDs and addresses: held under unique constraints (see server_stock.py), given back through quarantine."""

import itertools
import random
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from sqlalchemy import Integer, cast, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.errors import Conflict
from app.models import Cluster, Guest, Reservation, Server
from app.services.uow import UnitOfWork

VMID_QUARANTINE_S = 86_400
SPREAD = 64
IP_QUARANTINE_S = 600


def give_back(uow: UnitOfWork, server_ids: Iterable[int]) -> None:
    """Put a server's reservations into quarantine; the sweeper removes them afterwards."""
    ids = list(server_ids)
    if not ids:
        return
    for kind, seconds in (("vmid", VMID_QUARANTINE_S), ("ip", IP_QUARANTINE_S)):
        uow.session.execute(
            update(Reservation)
            .where(Reservation.server_id.in_(ids), Reservation.kind == kind, Reservation.quarantined_until.is_(None))
            .values(quarantined_until=func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, seconds))
        )


def forget_unused(uow: UnitOfWork, server_ids: Iterable[int]) -> None:
    """Free at once what was reserved for servers of which Proxmox never saw anything."""
    uow.session.execute(delete(Reservation).where(Reservation.server_id.in_(list(server_ids))))


def give_back_addresses(uow: UnitOfWork, server: Server, addresses: Iterable[tuple[str, str]], *, at_once: bool) -> None:
    """Give back some addresses of a server, as (scope, address): free at once, or after a quarantine."""
    for scope, ip in sorted(addresses):
        mine = (
            Reservation.cluster_id == server.cluster_id, Reservation.kind == "ip", Reservation.scope == scope,
            Reservation.value == ip, Reservation.server_id == server.id,
        )  # fmt: skip
        until = func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, IP_QUARANTINE_S)
        uow.session.execute(delete(Reservation).where(*mine) if at_once else update(Reservation).where(*mine).values(quarantined_until=until))


def free_vmids(session: Session, cluster: Cluster, avoid: Collection[int]) -> Iterator[int]:
    """Return the VMIDs of the cluster's range that nobody has now, the lowest first."""
    held = select(cast(Reservation.value, Integer)).where(Reservation.cluster_id == cluster.id, Reservation.kind == "vmid")
    known = set(session.scalars(held)) | set(session.scalars(select(Guest.vmid).where(Guest.cluster_id == cluster.id))) | set(avoid)
    return (vmid for vmid in range(cluster.vmid_low, cluster.vmid_high + 1) if vmid not in known)


def another_vmid(uow: UnitOfWork, server: Server, avoid: Collection[int]) -> int:
    """Reserve another VMID for a server whose own is somebody else's; the old one stays away from everybody for a day.

    `avoid` is what Proxmox shows now. One at random of the lowest that are free: who took the former one, another
    installation perhaps, takes the next ones in order. Raises Conflict when the cluster's range is used up.
    """
    cluster = uow.session.get_one(Cluster, server.cluster_id)
    uow.session.execute(
        update(Reservation)
        .where(Reservation.server_id == server.id, Reservation.kind == "vmid")
        .values(server_id=None, quarantined_until=func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, VMID_QUARANTINE_S))
    )
    free = free_vmids(uow.session, cluster, avoid)
    while some := list(itertools.islice(free, SPREAD)):
        for vmid in random.sample(some, len(some)):
            if _take(uow, server, "vmid", "", str(vmid)):
                return vmid
    raise Conflict("no VMID is free")


def take_back(uow: UnitOfWork, server: Server, kind: str, scope: str, value: str) -> bool:
    """Reserve what a server had before, unless somebody else has it now."""
    mine = uow.session.scalar(
        update(Reservation)
        .where(
            Reservation.cluster_id == server.cluster_id, Reservation.kind == kind, Reservation.scope == scope,
            Reservation.value == value, Reservation.server_id == server.id,
        )
        .values(quarantined_until=None)
        .returning(Reservation.id)
    )  # fmt: skip
    return mine is not None or _take(uow, server, kind, scope, value)


def _take(uow: UnitOfWork, server: Server, kind: str, scope: str, value: str) -> bool:
    row = insert(Reservation).values(cluster_id=server.cluster_id, kind=kind, scope=scope, value=value, server_id=server.id)
    return uow.session.scalar(row.on_conflict_do_nothing().returning(Reservation.id)) is not None


def over() -> Any:
    """A condition: the quarantine of a reservation is over."""
    return Reservation.quarantined_until < func.clock_timestamp()


def expire(uow: UnitOfWork) -> int:
    """Remove reservations whose quarantine is over; returns how many."""
    result = uow.session.execute(delete(Reservation).where(over()).returning(Reservation.id))
    return len(result.all())
