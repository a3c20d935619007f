"""VMIDs and addresses: taken under unique constraints in the request's own transaction, given back through quarantine."""

import random
from collections.abc import Iterable, Sequence

from sqlalchemy import BigInteger, String, cast, column, delete, func, select, text, update, values
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.errors import FieldError, Invalid
from app.models import Cluster, Guest, Network, Reservation
from app.services import networks
from app.services.uow import UnitOfWork

VMID_QUARANTINE_S = 86_400
IP_QUARANTINE_S = 600
SPREAD = 64  # how many of the lowest free values are tried in random order while somebody else allocates


def _order(session: Session, cluster_id: int, free: Sequence[str]) -> list[str]:
    """Lowest first when nobody else allocates; else spread, so that transactions do not queue on one value."""
    known: dict[int, bool] = session.info.setdefault("allocates_alone", {})
    if cluster_id not in known:
        known[cluster_id] = bool(session.scalar(text("select pg_try_advisory_xact_lock(:a, :b)"), {"a": 77_001, "b": cluster_id}))
    if known[cluster_id]:
        return list(free)
    head = list(free[:SPREAD])
    random.shuffle(head)
    return head + list(free[SPREAD:])


def _take(uow: UnitOfWork, cluster_id: int, kind: str, scope: str, candidates: Iterable[str], count: int) -> list[str]:
    taken: list[str] = []
    pending = list(candidates)
    while len(taken) < count and pending:
        part, pending = pending[: count - len(taken)], pending[count - len(taken) :]
        rows = uow.session.scalars(
            insert(Reservation)
            .values([{"cluster_id": cluster_id, "kind": kind, "scope": scope, "value": v} for v in sorted(part)])
            .on_conflict_do_nothing()
            .returning(Reservation.value)
        ).all()
        won = set(rows)
        taken += [v for v in part if v in won]
    return taken


def free_vmids(session: Session, cluster: Cluster, count: int) -> list[str]:
    """Return the lowest VMIDs of the cluster's range that neither a guest nor a reservation holds."""
    reserved = select(cast(Reservation.value, BigInteger)).where(Reservation.cluster_id == cluster.id, Reservation.kind == "vmid")
    held = set(session.scalars(reserved.union_all(select(cast(Guest.vmid, BigInteger)).where(Guest.cluster_id == cluster.id))))
    out: list[str] = []
    for vmid in range(cluster.vmid_low, cluster.vmid_high + 1):
        if vmid not in held:
            out.append(str(vmid))
            if len(out) == count:
                break
    return out


def take_vmids(uow: UnitOfWork, cluster: Cluster, count: int) -> list[int]:
    """Reserve `count` VMIDs. Raises Invalid when the range is exhausted."""
    free = free_vmids(uow.session, cluster, count + SPREAD)
    taken = _take(uow, cluster.id, "vmid", "", _order(uow.session, cluster.id, free), count)
    if len(taken) < count:
        raise Invalid([FieldError("count", "vmids_exhausted", {"low": cluster.vmid_low, "high": cluster.vmid_high})])
    return sorted(int(v) for v in taken)


def take_addresses(uow: UnitOfWork, network: Network, count: int, field: str, seen_free: Sequence[str] = ()) -> list[str]:
    """Reserve `count` addresses of a network's range. Raises Invalid when the pool is exhausted.

    `seen_free` are addresses that were free a moment ago: the constraint decides which still are.
    """
    scope, free = networks.scope_of(network), seen_free
    taken = _take(uow, network.cluster_id, "ip", scope, _order(uow.session, network.cluster_id, free), count)
    if len(taken) < count:
        free = networks.free_addresses(uow.session, network, count + SPREAD)
        taken += _take(uow, network.cluster_id, "ip", scope, _order(uow.session, network.cluster_id, free), count - len(taken))
    if len(taken) < count:
        raise Invalid([FieldError(field, "addresses_exhausted", {"network": network.name, "free": len(free), "count": count})])
    return sorted(taken, key=lambda ip: tuple(int(p) for p in ip.split(".")))


def take_address(uow: UnitOfWork, network: Network, ip: str, field: str) -> str:
    """Reserve one chosen address. Raises Invalid when somebody was faster."""
    if not _take(uow, network.cluster_id, "ip", networks.scope_of(network), [ip], 1):
        raise Invalid([FieldError(field, "ip_taken", {"ip": ip})])
    return ip


def assign(uow: UnitOfWork, cluster_id: int, held: Sequence[tuple[str, str, str, int]]) -> None:
    """Write the servers' ids on their reservations; `held` are (kind, scope, value, server id)."""
    rows = values(
        column("kind", String), column("scope", String), column("value", String), column("server_id", BigInteger), name="held"
    ).data(list(held))
    uow.session.execute(
        update(Reservation)
        .where(
            Reservation.cluster_id == cluster_id, Reservation.kind == rows.c.kind, Reservation.scope == rows.c.scope,
            Reservation.value == rows.c.value,
        )
        .values(server_id=rows.c.server_id)
        .execution_options(synchronize_session=False)
    )  # fmt: skip


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


def expire(uow: UnitOfWork) -> int:
    """Remove reservations whose quarantine is over; returns how many."""
    result = uow.session.execute(
        delete(Reservation).where(Reservation.quarantined_until < func.clock_timestamp()).returning(Reservation.id)
    )
    return len(result.all())
