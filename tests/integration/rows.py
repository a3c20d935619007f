"""Rows of a workspace without a cluster behind it: a server, runs, leases and state versions."""

import json
from typing import Any
from uuid import uuid4

from sqlalchemy import func, select

from app.domain.run_state import RunKind, RunState
from app.domain.server_status import ServerStatus
from app.models import Cluster, Project, Run, RunLease, Server, User, Workspace
from app.services import states
from app.services.uow import unit_of_work

LINEAGE = "6f1d1c1e-0000-4000-8000-000000000001"


def workspace(owner: User, name: str = "web") -> Workspace:
    """A workspace called `w-NAME` with one server called NAME."""
    with unit_of_work() as uow:
        session = uow.session
        project = session.scalar(select(Project)) or Project(name="default")
        cluster = session.scalar(select(Cluster)) or Cluster(name="lab", endpoint="https://192.0.2.1:8006", auth_id="a@pve!b", secret=b"x")
        session.add_all([project, cluster])
        session.flush()
        made = Workspace(name=f"w-{name}", project_id=project.id, cluster_id=cluster.id, state_ever=True)
        session.add(made)
        session.flush()
        session.add(Server(
            slug=name, name=name, workspace_id=made.id, cluster_id=cluster.id, owner_id=owner.id, template_name="none",
            marker="m", vmid=100 + made.id, node_name="pve1", status=ServerStatus.STOPPED, cores=1, memory_mib=512,
            disks=[], nics=[], username="ubuntu", in_state=True,
        ))  # fmt: skip
    return made


def run(made: Workspace, by: User, state: RunState = RunState.APPLIED, fence: int = 1) -> Run:
    """A change of the workspace's server."""
    name = made.name.removeprefix("w-")
    with unit_of_work() as uow:
        row = Run(
            task_id=uuid4(), workspace_id=made.id, created_by_id=by.id, kind=RunKind.CHANGE, state=state, fence=fence,
            intent={"servers": {name: {}}}, targets=[name], names=[name],
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
