"""Which addresses of a network are free, and who has the others: one by one, or by blocks where they are too many."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address

from sqlalchemy import String, cast, func, select
from sqlalchemy.orm import Session

from app.domain import addressing
from app.models import Guest, Network, Reservation, Server
from app.services import networks

MOST = 1024  # are drawn one by one


@dataclass(frozen=True)
class Cell:
    """One address: `kind` is free, used, guest, reserved, gateway or never; `who` has it."""

    ip: str
    kind: str
    who: str = ""
    until: datetime | None = None


@dataclass(frozen=True)
class Block:
    """Addresses that follow each other; `taken` are all that are not free."""

    first: str
    last: str
    total: int
    taken: int

    @property
    def percent(self) -> int:
        """Of its addresses that are taken, rounded up: a single one is seen."""
        return -(-100 * self.taken // self.total)


@dataclass(frozen=True)
class AddressMap:
    """A part of a network's range: either `cells` or `blocks`; `taken` are the cells that are not free, `whole` the range's bounds."""

    first: str
    last: str
    whole: tuple[str, str]
    taken: list[Cell]
    cells: list[Cell] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)

    @property
    def partly(self) -> bool:
        """True when it is not of all the range."""
        return (self.first, self.last) != self.whole

    @property
    def counts(self) -> Counter[str]:
        """How many there are of each kind that is not free."""
        return Counter(cell.kind for cell in self.taken)


def read(session: Session, network: Network, first: str = "", last: str = "") -> AddressMap:
    """Return the map of a network's range, or of the part of it between two addresses; bounds that are none are passed over."""
    whole = int(IPv4Address(network.range_low)), int(IPv4Address(network.range_high))
    low, high = _bounds(whole, first, last)
    taken = _taken(session, network, low, high)
    bounds = str(IPv4Address(low)), str(IPv4Address(high))
    found = [taken[n] for n in sorted(taken)]
    if high - low < MOST:
        cells = [taken.get(n) or Cell(str(IPv4Address(n)), "free") for n in range(low, high + 1)]
        return AddressMap(*bounds, (network.range_low, network.range_high), found, cells=cells)
    return AddressMap(*bounds, (network.range_low, network.range_high), found, blocks=_blocks(low, high, taken))


def _bounds(whole: tuple[int, int], first: str, last: str) -> tuple[int, int]:
    asked = addressing.parse_ip(first), addressing.parse_ip(last)
    low = max(whole[0], int(asked[0])) if asked[0] else whole[0]
    high = min(whole[1], int(asked[1])) if asked[1] else whole[1]
    return (low, high) if low <= high else whole


def _blocks(low: int, high: int, taken: Iterable[int]) -> list[Block]:
    size = addressing.block_size(low, high)
    full = Counter(number // size for number in taken)
    out = []
    for index in range(low // size, high // size + 1):
        first, last = max(low, index * size), min(high, index * size + size - 1)
        out.append(Block(str(IPv4Address(first)), str(IPv4Address(last)), last - first + 1, full[index]))
    return out


def _taken(session: Session, network: Network, low: int, high: int) -> dict[int, Cell]:
    cells = {n: Cell(str(IPv4Address(n)), "never") for n in addressing.reserved(network.cidr, network.gateway) if low <= n <= high}
    cells |= {n: Cell(str(IPv4Address(n)), "gateway") for n in networks.gateways_on(session, network) if low <= n <= high}
    guests = select(Guest.name, func.jsonb_array_elements_text(Guest.ip_addresses)).where(
        Guest.cluster_id == network.cluster_id, cast(Guest.ip_addresses, String) != "[]"
    )  # fmt: skip
    for name, ip in session.execute(guests):
        if (address := addressing.parse_ip(ip)) is not None and low <= int(address) <= high:
            cells[int(address)] = Cell(ip, "guest", name)
    held = networks.reservations(network, Reservation.value, Reservation.quarantined_until, Server.name, Server.deleted_at)
    for value, until, name, deleted_at in session.execute(held.outerjoin(Server, Server.id == Reservation.server_id)):
        if low <= (number := int(IPv4Address(value))) <= high:
            cells[number] = Cell(value, "reserved" if until else "used", "" if until or deleted_at else name or "", until)
    return cells
