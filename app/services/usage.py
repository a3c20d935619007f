"""What servers use: Proxmox's own records for one server's charts, and samples of our own for the list's small curves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.domain.usage import Timeframe, UsagePoint
from app.services import vm_reading
from app.services.actor import Actor
from app.services.uow import UnitOfWork

SAMPLE_EVERY_S = 300
SAMPLES = 24  # two hours
# Rows that somebody works on are left for the next poll.
_SAMPLE = text("""
    update server set usage_at = clock_timestamp(), cpu_recent = (
        select jsonb_agg(v order by n) from jsonb_array_elements(server.cpu_recent || to_jsonb(server.cpu_percent)) with ordinality e(v, n)
        where n > jsonb_array_length(server.cpu_recent) + 1 - :samples
    )
    where id in (
        select id from server
        where cluster_id = :cluster and deleted_at is null and in_state and (usage_at is null or usage_at < clock_timestamp() - make_interval(secs => :every))
        order by id for no key update skip locked
    )
""")


@dataclass(frozen=True)
class Figures:
    """The last, the mean and the highest of a curve; in its unit."""

    last: float
    mean: float
    highest: float


@dataclass(frozen=True)
class Usage:
    """A server's usage, oldest first."""

    timeframe: Timeframe
    points: Sequence[UsagePoint]

    def curve(self, of: Callable[[UsagePoint], float | None]) -> list[float | None]:
        """Return one value a point."""
        return [of(point) for point in self.points]


def read(session: Session, actor: Actor, server_name: str, timeframe: Timeframe) -> Usage:
    """Ask Proxmox. Raises NotFound, ServerNotMade, ClusterAway, VmMissing, NotOurs, errors.Proxmox*."""
    return Usage(timeframe, vm_reading.ask(session, actor, server_name, lambda proxmox, node, vmid: proxmox.vm_rrddata(node, vmid, timeframe)))


def figures(curve: Sequence[float | None]) -> Figures | None:
    """Return what a curve comes to; None when there is nothing of it."""
    known = [value for value in curve if value is not None]
    return Figures(known[-1], sum(known) / len(known), max(known)) if known else None


def sample(uow: UnitOfWork, cluster_id: int) -> None:
    """Keep the load that the last poll saw, once in SAMPLE_EVERY_S, the last SAMPLES of each server."""
    uow.session.execute(_SAMPLE, {"cluster": cluster_id, "samples": SAMPLES, "every": SAMPLE_EVERY_S})
