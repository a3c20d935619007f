"""Servers that the older application knew: listed with the guest each of them seems to be, and never touched."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, func, or_, select, tuple_
from sqlalchemy.orm import Session

from app.models import Guest, UnmanagedServer
from app.schemas.page import Page, clamp, decode_cursor, encode_cursor


@dataclass(frozen=True)
class Entry:
    """`guest` is the one with its VMID and name. Without one, `other` has its VMID under another name, if there is such."""

    server: UnmanagedServer
    guest: Guest | None = None
    other: Guest | None = None


def count(session: Session) -> int:
    """Return how many there are."""
    return session.scalar(select(func.count()).select_from(UnmanagedServer)) or 0


def known(session: Session, guests: Sequence[Guest]) -> set[tuple[int | None, str]]:
    """Return VMID and name of those guests that the older application knew."""
    pairs = [(guest.vmid, guest.name) for guest in guests]
    query = select(UnmanagedServer.vmid, UnmanagedServer.name).where(tuple_(UnmanagedServer.vmid, UnmanagedServer.name).in_(pairs))
    return {(row[0], row[1]) for row in session.execute(query)} if pairs else set()


def list_page(session: Session, q: str | None = None, limit: int | None = None, cursor: str | None = None) -> Page[Entry]:
    """Return them by name; `q` finds in names, VMIDs and roles."""
    size = clamp(limit)
    stmt = select(UnmanagedServer).order_by(UnmanagedServer.name, UnmanagedServer.id).limit(size + 1)
    if q:
        stmt = stmt.where(_fits(q))
    if after := decode_cursor(cursor, str, int):
        stmt = stmt.where(tuple_(UnmanagedServer.name, UnmanagedServer.id) > tuple_(*after))
    rows = session.scalars(stmt).all()
    last = rows[size - 1] if len(rows) > size else None
    return Page(_matched(session, rows[:size]), encode_cursor(last.name, last.id) if last else None)


def _fits(q: str) -> ColumnElement[bool]:
    words = or_(UnmanagedServer.name.icontains(q, autoescape=True), UnmanagedServer.role.icontains(q, autoescape=True))
    return or_(words, UnmanagedServer.vmid == int(q)) if q.isascii() and q.isdigit() and len(q) < 10 else words


def _matched(session: Session, servers: Sequence[UnmanagedServer]) -> list[Entry]:
    """Look the guests up as they are now; where two clusters have the VMID, the name tells which one is meant."""
    vmids = {server.vmid for server in servers if server.vmid is not None}
    found: dict[int, list[Guest]] = {}
    if vmids:
        for guest in session.scalars(select(Guest).where(and_(Guest.vmid.in_(vmids), ~Guest.template)).order_by(Guest.cluster_id)):
            found.setdefault(guest.vmid, []).append(guest)
    entries = []
    for server in servers:
        guests = found.get(server.vmid or 0, [])
        same = next((guest for guest in guests if guest.name == server.name), None)
        entries.append(Entry(server, same, guests[0] if guests and same is None else None))
    return entries
