"""What a runner has to know when it begins, read in one transaction."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from app.adapters.proxmox.types import Access
from app.domain.approval import ApprovalPolicy
from app.domain.run_state import ApplyMode, RunKind, RunState
from app.models import Cluster, Server, Workspace
from app.services import approvals, clusters, run_execution, runs
from app.services.uow import UnitOfWork


@dataclass(frozen=True)
class ServerFacts:
    slug: str
    name: str
    vmid: int
    node: str
    marker: str
    in_state: bool


@dataclass(frozen=True)
class RunFacts:
    workspace_id: int
    kind: RunKind
    mode: ApplyMode
    policy: ApprovalPolicy  # of the project, when the runner began
    applying: bool
    completes: bool  # what a former run of the same servers began: they may be there already
    forgets: bool  # a deletion that only takes the servers off the state and the list
    audience: str
    servers: tuple[ServerFacts, ...]
    access: Access
    environment: dict[str, str]
    ca_file: Path | None
    flavour: str | None  # of the workspace's state: never changes
    terraform_version: str | None  # never goes back


def read(uow: UnitOfWork, run_id: int, fence: int) -> RunFacts:
    """Return the run's facts under its fence. Raises Fenced, Undecryptable."""
    run = run_execution.guard(uow, run_id, fence)
    workspace = uow.session.get_one(Workspace, run.workspace_id)
    cluster = uow.session.get_one(Cluster, workspace.cluster_id)
    rows = uow.session.scalars(
        select(Server)
        .where(Server.workspace_id == run.workspace_id, Server.slug.in_(run.targets), Server.deleted_at.is_(None))
        .order_by(Server.id)
    )
    return RunFacts(
        run.workspace_id, run.kind, run.apply_mode, approvals.rule_of(uow.session, run.workspace_id).policy, run.state == RunState.APPLYING,
        run.kind == RunKind.CREATE and run.retry_of_id is not None, bool(run.intent.get("forget")), runs.audience(uow.session, run),
        tuple(ServerFacts(s.slug, s.name, s.vmid, s.node_name, s.marker, s.in_state) for s in rows),
        clusters.access(cluster), clusters.terraform_environment(cluster), clusters.ca_file(cluster),
        workspace.flavour, workspace.terraform_version,
    )  # fmt: skip
