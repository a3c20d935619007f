"""Finishing what a create began: the same servers in the same workspace, only those that are missing or half made.

A half-made server keeps what it is and is completed in place, never destroyed and made anew. A missing one takes its
VMID and addresses back while nobody else has them: should a late clone of the former run turn up, it is recognised.
"""

from collections.abc import Sequence

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from app.domain.run_state import RunKind, RunState
from app.domain.server_status import ServerStatus
from app.errors import FieldError, Invalid, ServerBusy
from app.models import Guest, Network, Run, Server, Workspace
from app.services import networks, reservations, run_settlement
from app.services.uow import UnitOfWork


def left(session: Session, run: Run) -> list[Server]:
    """Return the servers of a create that are missing or half made, in the order of their ids; not what was deleted on purpose."""
    deleted = exists().where(
        Run.workspace_id == Server.workspace_id, Run.kind == RunKind.DELETE, Run.id > run.id, Run.state == RunState.APPLIED,
        Run.targets.op("?")(Server.slug),
    )  # fmt: skip
    query = select(Server).where(
        Server.workspace_id == run.workspace_id, Server.slug.in_(run.targets),
        (Server.deleted_at.is_not(None) & ~deleted) | (Server.deleted_at.is_(None) & (Server.status == ServerStatus.FAILED)),
    )  # fmt: skip
    return list(session.scalars(query.order_by(Server.id)))


def take_up(uow: UnitOfWork, run: Run, former: Run) -> list[Server]:
    """Make these servers `run`'s own; returns them. Raises Invalid (a name or address is taken), ServerBusy, Conflict."""
    ids = [server.id for server in left(uow.session, former)]
    servers = list(uow.session.scalars(
        select(Server).where(Server.id.in_(ids)).order_by(Server.id).with_for_update(key_share=True).execution_options(populate_existing=True)
    ))  # fmt: skip
    missing = [s for s in servers if s.deleted_at is not None]
    if busy := next((s for s in servers if s.busy), None):
        raise ServerBusy(busy.name, server=busy.name, run=busy.busy_run_id, action=busy.busy_action_id)
    if faults := _names_taken(uow.session, missing):
        raise Invalid(faults)
    for server in missing:
        server.deleted_at = None
        server.in_state = False
        _reserve(uow, server)
    for server in servers:
        server.status = ServerStatus.CREATING
        server.run_id = run.id
        run_settlement.tell(uow, server)
    run.intent = {"servers": {}, "there": [s.slug for s in servers if s not in missing]}
    return servers


def _names_taken(session: Session, servers: Sequence[Server]) -> list[FieldError]:
    out = []
    for server in servers:
        alive = select(Server.id).where(Server.cluster_id == server.cluster_id, Server.name == server.name, Server.deleted_at.is_(None))
        ours = exists().where(Server.cluster_id == Guest.cluster_id, Server.vmid == Guest.vmid, Server.marker == server.marker)
        guest = select(Guest.id).where(Guest.cluster_id == server.cluster_id, Guest.name == server.name, ~ours)
        if session.scalar(alive.limit(1)):
            out.append(FieldError("name", "name_taken", {"name": server.name}))
        elif session.scalar(guest.limit(1)):
            out.append(FieldError("name", "name_taken_in_proxmox", {"name": server.name}))
    return out


def _reserve(uow: UnitOfWork, server: Server) -> None:
    # Whether a guest of somebody else sits on the VMID is looked at by the run, in Proxmox itself.
    if not reservations.take_back(uow, server, "vmid", "", str(server.vmid)):
        server.vmid = reservations.another_vmid(uow, server, ())
    nics = []
    for nic in server.nics:
        network = uow.session.get(Network, nic["network_id"])
        address = nic.get("ip")
        if address and network is not None:
            free = networks.address_faults(uow.session, network, address, server.id) is None
            if not free or not reservations.take_back(uow, server, "ip", networks.scope_of(network), address):
                address = _another_address(uow, server, network)
        nics.append({**nic, "ip": address})
    server.nics, server.ip_addresses = nics, [n["ip"] for n in nics if n["ip"]]


def _another_address(uow: UnitOfWork, server: Server, network: Network) -> str:
    for address in networks.free(uow.session, network):
        if reservations.take_back(uow, server, "ip", networks.scope_of(network), address):
            return address
    raise Invalid([FieldError("networks", "addresses_exhausted", {"network": network.name, "free": 0, "count": 1})])


def hold(uow: UnitOfWork, workspace_id: int) -> None:
    """Let nobody else take up servers of the workspace before this transaction ends."""
    uow.session.execute(select(Workspace.id).where(Workspace.id == workspace_id).with_for_update(key_share=True))
