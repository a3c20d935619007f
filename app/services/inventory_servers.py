"""What a poll means for our servers: status, figures, addresses; the lifecycle is never touched."""

from collections.abc import Mapping, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.adapters.proxmox.types import GuestResource, Resources
from app.domain.server_status import ServerStatus
from app.models import Guest, Server
from app.services import run_settlement
from app.services.uow import UnitOfWork

# Load that wavers by less is not worth a row, an event and a repaint.
LOAD_STEP_PERCENT = 5
UPTIME_STEP_S = 600
_STATUS = {"running": ServerStatus.RUNNING, "stopped": ServerStatus.STOPPED, "paused": ServerStatus.PAUSED}


def agent_candidates(session: Session, cluster_id: int, resources: Resources) -> list[tuple[Server, GuestResource]]:
    """Return running servers whose agent can be asked, those without an address first."""
    servers = session.scalars(
        select(Server).where(
            Server.cluster_id == cluster_id, Server.deleted_at.is_(None), Server.agent, Server.in_state,
            Server.busy_run_id.is_(None), Server.vmid.in_([g.vmid for g in resources.guests if g.status == "running"]),
        )
    ).all()  # fmt: skip
    guests = {g.vmid: g for g in resources.guests}
    return [
        (s, guests[s.vmid])
        for s in sorted(servers, key=lambda s: (bool(s.ip_addresses), s.observed_at is not None, s.id))
    ]


def write_servers(
    uow: UnitOfWork, cluster_id: int, resources: Resources, agent: Mapping[int, Sequence[str]]
) -> list[int]:
    """Bring servers up to what Proxmox shows; returns the ids of those that changed. `agent`: addresses by VMID."""
    session = uow.session
    servers = session.scalars(
        select(Server).where(Server.cluster_id == cluster_id, Server.deleted_at.is_(None)).order_by(Server.id)
    ).all()
    if not servers:
        return []
    guests = {g.vmid: g for g in resources.guests}
    online = {n.name for n in resources.nodes if n.online}
    foreign = _foreign(session, cluster_id, servers)
    candidates = [s.id for s in servers if _differs(s, guests.get(s.vmid), online, foreign, agent.get(s.vmid))]
    if not candidates:
        return []
    changed = []
    now = session.scalar(select(func.clock_timestamp()))
    # Locked and looked at again: a run or an action may have written meanwhile.
    locked = session.scalars(
        select(Server).where(Server.id.in_(candidates), Server.deleted_at.is_(None)).order_by(Server.id)
        .with_for_update(key_share=True, skip_locked=True).execution_options(populate_existing=True)
    ).all()  # fmt: skip
    for server in locked:
        guest = guests.get(server.vmid)
        if not _differs(server, guest, online, foreign, agent.get(server.vmid)):
            continue
        for name, value in _observed(server, guest, online, foreign, agent.get(server.vmid)).items():
            setattr(server, name, value)
        server.observed_at = now
        run_settlement.tell(uow, server)
        changed.append(server.id)
    return changed


def _foreign(session: Session, cluster_id: int, servers: Sequence[Server]) -> set[int]:
    """VMIDs of servers that hold a guest without our marker (its config was read, so we know)."""
    marked = session.execute(
        select(Guest.vmid, Guest.marker).where(
            Guest.cluster_id == cluster_id, Guest.config_read_at.is_not(None), Guest.vmid.in_([s.vmid for s in servers])
        )
    )
    wanted = {s.vmid: s.marker for s in servers}
    return {vmid for vmid, marker in marked if marker != wanted[vmid]}


def _observed(
    server: Server, guest: GuestResource | None, online: set[str], foreign: set[int], agent: Sequence[str] | None
) -> dict[str, object]:
    """The values a server should have; empty for one that is not ours to judge now."""
    lifecycle = server.busy_run_id is not None or server.status in (ServerStatus.CREATING, ServerStatus.DELETING)
    if lifecycle or not server.in_state:
        return {}
    values: dict[str, object] = {}
    if guest is None or guest.node_name not in online or server.vmid in foreign:
        status, load, uptime_s = ServerStatus.UNKNOWN, (0, 0), 0
    else:
        status = _STATUS.get(guest.status, ServerStatus.UNKNOWN)
        load, uptime_s = (guest.cpu_percent, guest.memory_percent), guest.uptime_s
        values["node_name"] = guest.node_name
        values["lock"] = guest.lock
    if server.busy_action_id is None:
        values["status"] = status
    values |= {"cpu_percent": load[0], "memory_percent": load[1], "uptime_s": uptime_s}
    static = [str(n["ip"]) for n in server.nics if n.get("ip")]
    if agent:
        values["ip_addresses"] = list(dict.fromkeys([*(a for a in static if a in agent), *agent]))[:16]
    elif static and not set(static) <= set(server.ip_addresses):
        values["ip_addresses"] = static
    return values


def _differs(
    server: Server, guest: GuestResource | None, online: set[str], foreign: set[int], agent: Sequence[str] | None
) -> bool:
    for name, value in _observed(server, guest, online, foreign, agent).items():
        old = getattr(server, name)
        if name in ("cpu_percent", "memory_percent"):
            if abs(int(str(value)) - old) >= LOAD_STEP_PERCENT or (value == 0) != (old == 0):
                return True
        elif name == "uptime_s":
            if int(str(value)) < old or int(str(value)) - old >= UPTIME_STEP_S:
                return True
        elif old != value:
            return True
    return False
