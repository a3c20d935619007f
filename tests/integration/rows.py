"""Rows without a Proxmox behind them: a cluster, a template, a workspace with its server, runs, leases and state versions."""

import json
from typing import Any
from uuid import uuid4

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.run_state import RunKind, RunState
from app.domain.server_status import ServerStatus
from app.models import Cluster, Network, Project, Run, RunLease, Server, Template, User, Workspace
from app.services import states
from app.services.uow import unit_of_work

LINEAGE = "6f1d1c1e-0000-4000-8000-000000000001"


def cluster() -> Cluster:
    """The cluster of everything here; nobody answers at its address."""
    with unit_of_work() as uow:
        return _cluster(uow.session)


def _cluster(session: Session) -> Cluster:
    found = session.scalar(select(Cluster)) or Cluster(name="lab", endpoint="https://192.0.2.1:8006", auth_id="a@pve!b", secret=b"x")
    session.add(found)
    session.flush()
    return found


def project() -> Project:
    """The project of everything here."""
    with unit_of_work() as uow:
        return _project(uow.session)


def _project(session: Session) -> Project:
    found = session.scalar(select(Project)) or Project(name="default")
    session.add(found)
    session.flush()
    return found


def template(name: str = "debian-12") -> Template:
    """A template that is offered."""
    with unit_of_work() as uow:
        made = Template(cluster_id=_cluster(uow.session).id, vmid=9001, name=name, node_name="pve1")
        uow.session.add(made)
    return made


def network(name: str = "servers") -> Network:
    """A network of the cluster, 10.9.0.0/24."""
    with unit_of_work() as uow:
        made = Network(
            cluster_id=_cluster(uow.session).id, name=name, bridge="vmbr0", cidr="10.9.0.0/24", gateway="10.9.0.1", range_low="10.9.0.10", range_high="10.9.0.99",
        )  # fmt: skip
        uow.session.add(made)
    return made


def workspace(owner: User, name: str = "web", status: ServerStatus = ServerStatus.STOPPED) -> Workspace:
    """A workspace called `w-NAME` with one server called NAME."""
    with unit_of_work() as uow:
        session = uow.session
        project_id, cluster_id = _project(session).id, _cluster(session).id
        made = Workspace(name=f"w-{name}", project_id=project_id, cluster_id=cluster_id, state_ever=True)
        session.add(made)
        session.flush()
        session.add(Server(
            slug=name, name=name, workspace_id=made.id, cluster_id=cluster_id, owner_id=owner.id, template_name="none",
            marker="m", vmid=100 + made.id, node_name="pve1", status=status, cores=1, memory_mib=512,
            disks=[], nics=[], username="ubuntu", in_state=True,
        ))  # fmt: skip
    return made


def run(made: Workspace, by: User, state: RunState = RunState.APPLIED, fence: int = 1, kind: RunKind = RunKind.CHANGE, **wanted: Any) -> Run:
    """A run of the workspace's server; `wanted` is what a change makes of it."""
    name = made.name.removeprefix("w-")
    with unit_of_work() as uow:
        row = Run(
            task_id=uuid4(), workspace_id=made.id, created_by_id=by.id, kind=kind, state=state, fence=fence,
            intent={"servers": {name: wanted}}, targets=[name], names=[name],
        )  # fmt: skip
        uow.session.add(row)
    return row


def lease(of: Run, age_s: float) -> None:
    """The lease of the run's present runner, renewed so long ago."""
    with unit_of_work() as uow:
        renewed = func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, age_s)
        uow.session.merge(RunLease(run_id=of.id, fence=of.fence, renewed_at=renewed))


def state(serial: int, secret: tuple[str, ...] = (), **servers: dict[str, Any]) -> bytes:
    """Terraform's state with these servers; `secret` are attributes it marks as sensitive."""
    marks = [[{"type": "get_attr", "value": name}] for name in secret]
    instances = [
        {"index_key": key, "attributes": {"name": key, **values}, "sensitive_attributes": marks} for key, values in servers.items()
    ]
    resource = {"mode": "managed", "type": "proxmox_virtual_environment_vm", "name": "server", "instances": instances}
    return json.dumps({"version": 4, "serial": serial, "lineage": LINEAGE, "terraform_version": "1.11.4", "resources": [resource]}).encode()


def keep(of: Run, body: bytes) -> int:
    """Store a state version of the run's workspace; its id."""
    with unit_of_work() as uow:
        assert states.save(uow, of.workspace_id, of.id, of.fence, body)
        uow.session.flush()
        return int(uow.session.scalar(select(func.max(states.StateVersion.id))) or 0)
