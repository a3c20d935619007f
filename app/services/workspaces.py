"""Workspaces: one Terraform state with 1..N servers, who may see them, and the inputs they are planned from."""

import random
import string
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import exists, func, or_, select, tuple_
from sqlalchemy.orm import Session

from app.adapters.terraform.tfvars import Defaults, DiskInput, NicInput, ServerInput, render
from app.domain.permissions import Permission
from app.domain.run_state import RunKind
from app.domain.server_status import ServerStatus
from app.errors import NotFound
from app.models import Cluster, Run, Server, Template, User, Workspace
from app.models.base import detached
from app.schemas.page import Page, clamp, decode_cursor, encode_cursor
from app.services import settings
from app.services.actor import Actor
from app.services.uow import UnitOfWork


# ---------------------------------------------------------------- reading
def visible(query: Any, actor: Actor) -> Any:
    """Narrow a query over workspaces to what the actor may see: those with a server or a run of one's own, or all."""
    if actor.can(Permission.VIEW_ALL):
        return query
    # Deleted servers too: what became of them stands in the state's history.
    server = exists().where(Server.workspace_id == Workspace.id, Server.owner_id == actor.user_id)
    return query.where(or_(server, exists().where(Run.workspace_id == Workspace.id, Run.created_by_id == actor.user_id)))


def get(session: Session, actor: Actor, name: str) -> Workspace:
    """Return a workspace. Raises NotFound, also for what the actor may not see."""
    workspace: Workspace | None = session.scalar(visible(select(Workspace).where(Workspace.name == name), actor))
    if workspace is None:
        raise NotFound(kind="workspace", name=name)
    return workspace


def list_page(
    session: Session, actor: Actor, q: str = "", limit: int | None = None, cursor: str | None = None
) -> Page[Workspace]:
    """Return workspaces by name; `q` is a part of it."""
    query = visible(select(Workspace), actor)
    if q:
        query = query.where(Workspace.name.icontains(q, autoescape=True))
    if after := decode_cursor(cursor, str, int):
        query = query.where(tuple_(Workspace.name, Workspace.id) > tuple_(*after))
    size = clamp(limit)
    rows = session.scalars(query.order_by(Workspace.name, Workspace.id).limit(size + 1)).all()
    return Page(rows[:size], encode_cursor(rows[size - 1].name, rows[size - 1].id) if len(rows) > size else None)


def servers(session: Session, actor: Actor, workspace: Workspace) -> list[Server]:
    """Return the workspace's servers that the actor may see, by name."""
    query = select(Server).where(Server.workspace_id == workspace.id, Server.deleted_at.is_(None)).order_by(Server.name)
    if not actor.can(Permission.VIEW_ALL):
        query = query.where(Server.owner_id == actor.user_id)
    return list(session.scalars(query))


def server_counts(session: Session, ids: Sequence[int]) -> dict[int, int]:
    """Return how many servers these workspaces have."""
    alive = select(Server.workspace_id, func.count()).where(Server.workspace_id.in_(ids), Server.deleted_at.is_(None))
    return {row[0]: row[1] for row in session.execute(alive.group_by(Server.workspace_id))}


@dataclass(frozen=True)
class PersonLock:
    """Who has locked a workspace, why and since when."""

    by: str
    reason: str
    since: datetime


def person_lock(session: Session, workspace_id: int) -> PersonLock | None:
    """Return the lock that a person holds; None when nobody has locked the workspace."""
    # Columns, not the object: what was loaded before a lock was waited for may be old.
    row = session.execute(
        select(User.username, Workspace.lock_reason, Workspace.locked_at)
        .select_from(Workspace)
        .outerjoin(User, User.id == Workspace.locked_by_id)
        .where(Workspace.id == workspace_id)
    ).first()
    return PersonLock(row[0] or "—", row[1] or "", row[2]) if row and row[2] else None


# ---------------------------------------------------------------- runs

def new(workspace_id: int, project_id: int, cluster: Cluster, name: str) -> Workspace:
    """Return a workspace named after its first server; it is not written yet."""
    tail = "".join(random.choices(string.ascii_lowercase + string.digits, k=6))  # noqa: S311 - a name, no secret
    return detached(Workspace, {"id": workspace_id, "name": f"{name[:56]}-{tail}", "project_id": project_id, "cluster_id": cluster.id})


def fix_flavour(uow: UnitOfWork, workspace_id: int, flavour: str) -> None:
    """Note which of Terraform and OpenTofu made the workspace's first plan."""
    workspace = uow.session.get_one(Workspace, workspace_id)
    if workspace.flavour is None:
        workspace.flavour = flavour


def marker(installation_id: str, workspace_id: int, slug: str) -> str:
    """The first line of a VM's description: this installation, workspace and server own it."""
    return f"managed-by:tpm/{installation_id}/{workspace_id}/{slug}"


def nic_inputs(nics: Sequence[Mapping[str, Any]]) -> list[NicInput]:
    """Return what Terraform, and through it cloud-init, is given of a server's NICs."""
    return [NicInput(n["bridge"], n.get("vlan"), f"{n['ip']}/{n['prefix']}" if n.get("ip") else "dhcp", n.get("gateway")) for n in nics]


def names_from(nics: Sequence[Mapping[str, Any]]) -> tuple[list[str], str | None]:
    """Return DNS servers and search domain: the first network's."""
    nic = nics[0] if nics else {}
    return list(nic.get("dns_servers") or []), nic.get("dns_domain")


def _input(server: Server, new: Mapping[str, Any], started: bool, clone_timeout_s: int) -> ServerInput:
    def value(name: str) -> Any:
        return new.get(name, getattr(server, name))

    disks = value("disks")
    return ServerInput(
        name=server.name, vmid=server.vmid, marker=server.marker, node=server.node_name, note=value("description"),
        tags=list(value("tags")), started=started, cores=value("cores"), memory_mib=value("memory_mib"),
        agent=server.agent, username=server.username, ssh_keys=list(server.ssh_keys),
        clone_timeout=clone_timeout_s,
        disks=[DiskInput(d["interface"], d["storage"], int(d["size_gib"])) for d in disks],
        nics=nic_inputs(value("nics")),
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
    # One for all: the module holds it against a new server only.
    clone_timeout_s = settings.get(session).clone_timeout_s
    wanted: dict[str, ServerInput] = {}
    for server in rows:
        if run.kind == RunKind.DELETE and server.slug in run.targets:
            continue
        new = run.intent.get("servers", {}).get(server.slug, {})
        first = run.kind == RunKind.CREATE and server.slug in run.targets
        started = server.start_on_create if first else running.get(server.slug, server.status == ServerStatus.RUNNING)
        wanted[server.slug] = _input(server, new, started, clone_timeout_s)
    any_server = rows[0] if rows else None
    template = session.get(Template, any_server.template_id) if any_server and any_server.template_id else None
    dns_servers, dns_domain = names_from(any_server.nics if any_server else [])
    defaults = Defaults(
        template_vmid=template.vmid if template else 100,
        template_node=template.node_name if template else (any_server.node_name if any_server else "none"),
        dns_servers=dns_servers,
        dns_domain=dns_domain,
    )
    return render(cluster.endpoint, defaults, wanted)


def single_input(session: Session, server: Server, run: Run) -> dict[str, Any]:
    """Return inputs that hold this one server, for taking its VM into the state before a delete."""
    everything = render_inputs(session, run, {})
    everything["servers"][server.slug] = asdict(_input(server, {}, server.status == ServerStatus.RUNNING, settings.get(session).clone_timeout_s))
    return everything
