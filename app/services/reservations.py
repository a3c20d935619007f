"""VMIDs and addresses: held under unique constraints (see server_stock.py), given back through quarantine."""

from collections.abc import Iterable

from sqlalchemy import delete, func, update

from app.models import Reservation
from app.services.uow import UnitOfWork

VMID_QUARANTINE_S = 86_400
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


def expire(uow: UnitOfWork) -> int:
    """Remove reservations whose quarantine is over; returns how many."""
    result = uow.session.execute(
        delete(Reservation).where(Reservation.quarantined_until < func.clock_timestamp()).returning(Reservation.id)
    )
    return len(result.all())
