"""Workspaces: one Terraform state with 1..N servers, and the inputs it is planned from."""

import secrets
import string
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from app.adapters.terraform.tfvars import Defaults, DiskInput, NicInput, ServerInput, render
from app.domain.run_state import RunKind
from app.domain.server_status import ServerStatus
from app.models import Cluster, Run, Server, Template, Workspace
from app.services.uow import UnitOfWork

# Not by size: a value that follows the disk would show up as a change of its own in every resize.
CLONE_TIMEOUT_S = 3600


def new(workspace_id: int, project_id: int, cluster: Cluster, name: str) -> Workspace:
    """Return a workspace named after its first server; it is not written yet."""
    tail = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(6))
    return Workspace(id=workspace_id, name=f"{name[:56]}-{tail}", project_id=project_id, cluster_id=cluster.id)


def fix_flavour(uow: UnitOfWork, workspace_id: int, flavour: str) -> None:
    """Note which of Terraform and OpenTofu made the workspace's first plan."""
    workspace = uow.session.get_one(Workspace, workspace_id)
    if workspace.flavour is None:
        workspace.flavour = flavour


def marker(installation_id: str, workspace_id: int, slug: str) -> str:
    """The first line of a VM's description: this installation, workspace and server own it."""
    return f"managed-by:tpm/{installation_id}/{workspace_id}/{slug}"


def _input(server: Server, new: Mapping[str, Any], started: bool) -> ServerInput:
    def value(name: str) -> Any:
        return new.get(name, getattr(server, name))

    disks = value("disks")
    return ServerInput(
        name=server.name, vmid=server.vmid, marker=server.marker, node=server.node_name, note=value("description"),
        tags=list(value("tags")), started=started, cores=value("cores"), memory_mib=value("memory_mib"),
        agent=server.agent, username=server.username, ssh_keys=list(server.ssh_keys),
        clone_timeout=CLONE_TIMEOUT_S,
        disks=[DiskInput(d["interface"], d["storage"], int(d["size_gib"])) for d in disks],
        nics=[
            NicInput(n["bridge"], n.get("vlan"), f"{n['ip']}/{n['prefix']}" if n.get("ip") else "dhcp", n.get("gateway"))
            for n in server.nics
        ],
    )  # fmt: skip


def render_inputs(session: Session, run: Run, running: Mapping[str, bool]) -> dict[str, Any]:
    """Return the Terraform inputs of a run: its workspace's servers with the run's own changes.

    `running` is the power state just seen, by slug: it is observed, never put back by somebody else's run.
    """
    cluster = session.get_one(Cluster, session.get_one(Workspace, run.workspace_id).cluster_id)
    rows = session.scalars(
        select(Server)
        .where(Server.workspace_id == run.workspace_id, Server.deleted_at.is_(None), or_(Server.in_state, Server.slug.in_(run.targets)))
        .order_by(Server.id)
    ).all()
    wanted: dict[str, ServerInput] = {}
    for server in rows:
        if run.kind == RunKind.DELETE and server.slug in run.targets:
            continue
        new = run.intent.get("servers", {}).get(server.slug, {})
        first = run.kind == RunKind.CREATE and server.slug in run.targets
        started = server.start_on_create if first else running.get(server.slug, server.status == ServerStatus.RUNNING)
        wanted[server.slug] = _input(server, new, started)
    any_server = rows[0] if rows else None
    template = session.get(Template, any_server.template_id) if any_server and any_server.template_id else None
    nic = any_server.nics[0] if any_server and any_server.nics else {}
    defaults = Defaults(
        template_vmid=template.vmid if template else 100,
        template_node=template.node_name if template else (any_server.node_name if any_server else "none"),
        dns_servers=list(nic.get("dns_servers") or []),
        dns_domain=nic.get("dns_domain"),
    )
    return render(cluster.endpoint, defaults, wanted)


def single_input(session: Session, server: Server, run: Run) -> dict[str, Any]:
    """Return inputs that hold this one server, for taking its VM into the state before a delete."""
    everything = render_inputs(session, run, {})
    everything["servers"][server.slug] = asdict(_input(server, {}, server.status == ServerStatus.RUNNING))
    return everything
