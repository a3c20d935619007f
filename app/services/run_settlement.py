"""What a run's end means for its servers: taken over, removed, kept as failed, or forgotten because never made."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import delete, func, select

from app.domain.run_state import RunKind
from app.domain.server_status import ServerStatus
from app.models import Guest, Run, Server
from app.services import reservations, server_devices
from app.services.uow import UnitOfWork


@dataclass(frozen=True)
class Seen:
    """What Proxmox shows for a server's VMID at the end of a run: ours or not there; None fields are unknown.

    `done`: Terraform has done to it all that the plan said, whatever became of the others.
    """

    exists: bool
    node: str | None = None
    status: ServerStatus | None = None
    addresses: tuple[str, ...] = ()
    in_state: bool = False
    done: bool = False


@dataclass(frozen=True)
class Ended:
    """Names of a run's servers: those that are there, those that are not, and those that got what was asked for."""

    there: list[str]
    missing: list[str]
    done: list[str]


def server_facts(server: Server) -> dict[str, object]:
    """What a `server` event carries."""
    return {
        "id": server.id, "name": server.name, "version": server.version, "status": server.status.value,
        "node": server.node_name, "ip": server.ip_addresses, "cpu": server.cpu_percent, "mem": server.memory_percent,
        "uptime": server.uptime_s, "lock": server.lock, "busy": server.busy,
        "deleted": server.deleted_at is not None,
    }  # fmt: skip


def tell(uow: UnitOfWork, server: Server) -> None:
    """Raise the version and tell browsers."""
    server.version += 1
    uow.publish("server", f"owner:{server.owner_id}", server_facts(server))


def targets(uow: UnitOfWork, run: Run) -> list[Server]:
    """Return the run's servers that are not deleted, locked, in the order of their ids."""
    query = select(Server).where(
        Server.workspace_id == run.workspace_id, Server.slug.in_(run.targets), Server.deleted_at.is_(None)
    )
    return list(uow.session.scalars(query.order_by(Server.id).with_for_update(key_share=True)))


def remove(uow: UnitOfWork, servers: list[Server], ever_made: bool) -> None:
    """Take servers off the list; what was reserved for them is quarantined if Proxmox ever saw them."""
    now = uow.session.scalar(select(func.clock_timestamp()))
    for server in servers:
        server.deleted_at = now
        server.in_state = False
        server.busy_run_id = None
        tell(uow, server)
        # Until the next poll the guest would still stand in the way of its own name.
        uow.session.execute(delete(Guest).where(Guest.cluster_id == server.cluster_id, Guest.vmid == server.vmid))
    (reservations.give_back if ever_made else reservations.forget_unused)(uow, [s.id for s in servers])


def drop_unmade(uow: UnitOfWork, run: Run) -> None:
    """For a create that ends before any apply: its servers never were, their names and addresses are free again."""
    if run.kind != RunKind.CREATE:
        for server in targets(uow, run):
            if server.status == ServerStatus.DELETING:
                server.status = ServerStatus.UNKNOWN  # the next poll says what it is
            _leave_values(uow, server, run)
            server.busy_run_id = None
            tell(uow, server)
    elif run.apply_started_at is None:
        there = run.intent.get("there", [])
        remove(uow, [s for s in targets(uow, run) if s.slug not in there], ever_made=run.retry_of_id is not None)
        for server in targets(uow, run):
            server.status = ServerStatus.FAILED
            tell(uow, server)
    else:
        for server in targets(uow, run):
            server.status = ServerStatus.FAILED
            tell(uow, server)


def settle_applied(uow: UnitOfWork, run: Run, seen: Mapping[str, Seen]) -> None:
    """A run that did all it planned: rows take the new values."""
    servers = targets(uow, run)
    if run.kind == RunKind.DELETE:
        remove(uow, servers, ever_made=True)
        return
    for server in servers:
        _take_values(uow, server, run)
        server.in_state = True
        server.run_id = run.id
        _observe(server, seen.get(server.slug))
        if server.status in (ServerStatus.CREATING, ServerStatus.FAILED):
            server.status = ServerStatus.RUNNING if server.start_on_create else ServerStatus.STOPPED
        tell(uow, server)


def _take_values(uow: UnitOfWork, server: Server, run: Run) -> None:
    values = run.intent.get("servers", {}).get(server.slug, {})
    server_devices.settle(uow, server, values, taken=True, began=True)
    for name, value in values.items():
        setattr(server, name, value)


def _leave_values(uow: UnitOfWork, server: Server, run: Run) -> None:
    values = run.intent.get("servers", {}).get(server.slug, {})
    server_devices.settle(uow, server, values, taken=False, began=run.apply_started_at is not None)


def _observe(server: Server, seen: Seen | None) -> None:
    if seen is None or not seen.exists:
        return
    server.node_name = seen.node or server.node_name
    server.status = seen.status or server.status
    server.in_state = seen.in_state or server.in_state
    if seen.addresses:
        server.ip_addresses = list(seen.addresses)
    elif not server.ip_addresses:
        server.ip_addresses = [n["ip"] for n in server.nics if n.get("ip")]


def settle_ended(uow: UnitOfWork, run: Run, seen: Mapping[str, Seen] | None) -> Ended:
    """A run that failed or was canceled.

    `seen` is None when Proxmox could not be asked: nothing is forgotten then.
    """
    there: list[Server] = []
    missing: list[Server] = []
    done: list[Server] = []
    for server in targets(uow, run):
        found = seen.get(server.slug) if seen is not None else None
        # Without a look at Proxmox a create made nothing it could not show; anything else is still there.
        exists = found.exists if found else seen is None or run.kind != RunKind.CREATE or server.slug in run.intent.get("there", [])
        (there if exists else missing).append(server)
        if run.kind == RunKind.CREATE and exists:
            complete = bool(found and found.in_state)
            _observe(server, found)
            if complete:
                done.append(server)
            else:
                server.status = ServerStatus.FAILED
        elif exists:
            _observe(server, found)
            if server.status == ServerStatus.DELETING:
                server.status = ServerStatus.UNKNOWN
            if run.kind == RunKind.CHANGE and found and found.done:
                # The others' failure takes nothing back: the next plan must not want the old values again.
                _take_values(uow, server, run)
                done.append(server)
            else:
                _leave_values(uow, server, run)
        server.run_id = run.id
    if run.kind == RunKind.CREATE and missing:
        remove(uow, missing, ever_made=run.apply_started_at is not None or run.retry_of_id is not None)
    elif run.kind == RunKind.DELETE and missing and run.apply_started_at is not None:
        remove(uow, missing, ever_made=True)
        done = missing
    elif run.kind == RunKind.DELETE:
        for server in missing:  # its VMID is somebody else's: nothing was deleted, and the next poll says what there is
            server.status = ServerStatus.UNKNOWN
            tell(uow, server)
    for server in there:
        tell(uow, server)
    return Ended(*([s.name for s in servers] for servers in (there, missing, done)))
