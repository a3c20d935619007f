"""Many of everything: `crowd(admin, 60)` writes so many rows into each table that a page reads."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.action_state import ActionKind, ActionState
from app.domain.bulk import BulkKind
from app.domain.delivery import DeliveryState, Level, Mode
from app.domain.permissions import Role
from app.domain.run_state import RunKind, RunState
from app.domain.safe_change import SafeChangeState, VerifyBy
from app.domain.schedule import ExecutionState, Misfire, Overlap, ScheduleKind
from app.domain.server_status import ServerStatus, Severity
from app.models import (
    Action, ApiToken, AuditEvent, Base, Bridge, Bulk, CapacitySample, Cluster, Delivery, Destination, Execution, Guest, Membership, Network, Node, Notification,
    NotificationPreference, PlanChange, Preset, Project, Reservation, Run, RunEvent, RunLease, RunLog, SafeChange, SavedPlan, SavedView, Schedule, Server, SlotHolder, Storage, Template, UnmanagedServer, User, Workspace,
)  # fmt: skip
from app.services import states
from app.services.uow import UnitOfWork, unit_of_work
from tests.integration import rows

# Tables whose rows no page lists.
FEW = {"bulk": "each has a page of its own with many actions", "idempotency_key": "of requests", "outbox": "sent and gone", "setting": "one row a setting"}
OWN = "the-one"
STATES = (RunState.APPLIED, RunState.ERRORED, RunState.PENDING, RunState.PLANNED)
NOW = datetime(2026, 1, 5, tzinfo=UTC)


def crowd(admin: User, n: int) -> None:
    """Write them. The newest server and the newest runs of each state have n of what belongs to one."""
    with unit_of_work() as uow:
        session = uow.session
        people = [_user(session, i) for i in range(n)]
        projects = [_added(session, Project(name=f"project-{i}")) for i in range(n)]
        clusters = [_cluster(session, i) for i in range(n)]
        for i in range(n):
            _lists(session, admin, people[i], projects[i], clusters[i], i)
            _delivered(session, admin, i)
            _scheduled(session, admin, i)
        for i in range(n):
            _runs(session, _server(session, f"web-{i}", people[i], projects[i], clusters[i], i), people[i], 1)
        one = _server(session, OWN, admin, projects[0], clusters[0], n)
        for i in range(n):
            _of_server(uow, one, people[i], i)
        bulk = _added(session, Bulk(id=uuid4(), created_by_id=admin.id, kind=BulkKind.START))
        for server in session.scalars(select(Server)).all():
            session.add(_action(server, admin, bulk))
        _runs(session, one, admin, n)
    with unit_of_work() as uow:
        short = [t.name for t in Base.metadata.sorted_tables if t.name not in FEW and (uow.session.scalar(select(func.count()).select_from(t)) or 0) < n]
    assert not short, f"no crowd in {short}: write rows in tests/integration/crowd.py, or say in FEW why there are none"


def _added(session: Session, row: Any) -> Any:
    session.add(row)
    session.flush()
    return row


def _user(session: Session, i: int) -> User:
    made: User = _added(session, User(username=f"person-{i}", role=Role.DEVELOPER, password_hash="x"))
    return made


def _cluster(session: Session, i: int) -> Cluster:
    # Nobody listens there, and that is known at once.
    made: Cluster = _added(session, Cluster(name=f"cluster-{i}", endpoint="https://127.0.0.1:1", auth_id="a@pve!b", secret=b"x"))
    hours = CapacitySample(cluster_id=made.id, hour=NOW - timedelta(hours=i), memory_mib=9, memory_used_mib=2, memory_allocated_mib=3, disk_gib=9, disk_used_gib=1)
    session.add_all([hours, Storage(cluster_id=made.id, node_name="pve-0", name="local", kind="dir", images=True, total_gib=100)])
    return made


def _lists(session: Session, admin: User, person: User, project: Project, cluster: Cluster, i: int) -> None:
    """One more of what has a list of its own."""
    session.add_all([
        Node(cluster_id=cluster.id, name=f"pve-{i}", cores=8, memory_mib=65_536), Bridge(cluster_id=cluster.id, node_name=f"pve-{i}", name="vmbr0"),
        Guest(cluster_id=cluster.id, vmid=5000 + i, name=f"guest-{i}", node_name=f"pve-{i}", marker=""),
        Network(
            cluster_id=cluster.id, name=f"net-{i}", bridge="vmbr0", vlan=i + 1, cidr=f"10.{i}.0.0/24", range_low=f"10.{i}.0.2", range_high=f"10.{i}.0.99",
        ),
        Template(cluster_id=cluster.id, vmid=9000 + i, name=f"template-{i}", node_name="pve-0"),
        Preset(name=f"preset-{i}", cores=1, memory_mib=1024, disk_gib=10, position=i), Membership(project_id=project.id, user_id=person.id),
        ApiToken(user_id=admin.id, name=f"token-{i}", token_hash=f"{i:064}", prefix="tpm_x"), SavedView(user_id=admin.id, name=f"view-{i}", query="q=x"),
        AuditEvent(user_id=person.id, username=person.username, action="server.create", object_type="server", object_id=str(i), object_name=f"web-{i}"),
        NotificationPreference(user_id=person.id, kind="runs_done", mode=Mode.INBOX),
        UnmanagedServer(source_key=f"old:{i}", name=f"old-{i}", vmid=5000 + i, ip_addresses=[f"10.0.0.{i}"]),
        Notification(user_id=admin.id, event_key=f"e-{i}", code="run_applied", args={"servers": [f"web-{i}"]}, severity=Severity.SUCCESS, link="/runs"),
    ])  # fmt: skip


def _delivered(session: Session, admin: User, i: int) -> None:
    to = _added(session, Destination(user_id=admin.id, name=f"hook-{i}", service="Webhook", url=b"x", level=Level.ALL))
    told = session.scalar(select(Notification.id).where(Notification.event_key == f"e-{i}"))
    session.add(Delivery(destination_id=to.id, notification_id=told, state=DeliveryState.SENT, attempts=2))


def _scheduled(session: Session, admin: User, i: int) -> None:
    made = _added(session, Schedule(
        name=f"nightly-{i}", created_by_id=admin.id, kind=ScheduleKind.CRON, first_at=NOW, cron="0 3 * * *", misfire=Misfire.SKIP, overlap=Overlap.SKIP,
        work={"action": "start", "servers": [f"web-{i}"]}, next_run_at=NOW + timedelta(days=9000),
    ))  # fmt: skip
    # The newest has a long history, as its page shows it.
    for n in range(i + 1):
        session.add(Execution(schedule_id=made.id, task_id=uuid4(), due_at=NOW - timedelta(days=n), state=ExecutionState.SUCCEEDED, finished_at=NOW))


def _server(session: Session, name: str, owner: User, project: Project, cluster: Cluster, i: int) -> Server:
    workspace = _added(session, Workspace(name=f"w-{name}", project_id=project.id, cluster_id=cluster.id, state_ever=True))
    template = session.scalar(select(Template).order_by(Template.id).offset(i).limit(1))
    server: Server = _added(session, Server(
        slug=name, name=name, workspace_id=workspace.id, cluster_id=cluster.id, owner_id=owner.id, template_name=f"template-{i}", marker="m", vmid=200 + i,
        template_id=template.id if template else None, node_name=f"pve-{i}", status=ServerStatus.RUNNING, cores=1, memory_mib=512, tags=[f"tag-{i}"],
        disks=[{"interface": "scsi0", "storage": "local", "size_gib": 10}], nics=[], username="ubuntu", in_state=True,
    ))  # fmt: skip
    session.add_all([Reservation(cluster_id=cluster.id, kind="vmid", value=str(200 + i), server_id=server.id), _action(server, owner)])
    return server


def _runs(session: Session, server: Server, by: User, n: int) -> None:
    for state in STATES:
        _run(session, server, by, state, n)


def _of_server(uow: UnitOfWork, server: Server, by: User, i: int) -> None:
    uow.session.add(_action(server, by))
    run = _run(uow.session, server, by, RunState.APPLIED, 1)
    safe = _added(uow.session, SafeChange(
        id=uuid4(), server_id=server.id, created_by_id=by.id, state=SafeChangeState.KEPT, values={"cores": 2}, apply="auto", snapshot=f"safe-{i}", verify_by=VerifyBy.AGENT,
        timeout_s=60, finished_at=NOW,
    ))  # fmt: skip
    run.safe_change_id = safe.id
    uow.session.add(Action(task_id=uuid4(), server_id=server.id, created_by_id=by.id, kind=ActionKind.SNAPSHOT_CREATE, state=ActionState.SUCCEEDED, safe_change_id=safe.id, finished_at=NOW))
    assert states.save(uow, server.workspace_id, run.id, 1, rows.state(i + 1, **{server.slug: {"cores": i + 1}}))


def _action(server: Server, by: User, bulk: Bulk | None = None) -> Action:
    return Action(task_id=uuid4(), server_id=server.id, created_by_id=by.id, kind=ActionKind.START, state=ActionState.SUCCEEDED, bulk_id=bulk.id if bulk else None, finished_at=NOW)


def _run(session: Session, server: Server, by: User, state: RunState, n: int) -> Run:
    """A run whose plan, timeline and log have n parts."""
    run: Run = _added(session, Run(
        task_id=uuid4(), workspace_id=server.workspace_id, created_by_id=by.id, kind=RunKind.CHANGE, state=state, fence=1, names=[server.name], targets=[server.slug],
        intent={"servers": {server.slug: {"cores": 2}}}, plan_summary={"add": 0, "change": n, "remove": 0, "import": 0},
        approved_by_id=by.id if state == RunState.APPLIED else None, error={"code": "proxmox_refused", "args": {}, "detail": "no"} if state == RunState.ERRORED else None,
    ))  # fmt: skip
    session.add_all([
        RunLease(run_id=run.id, fence=1, renewed_at=NOW), SavedPlan(run_id=run.id, fence=1, sha256="0" * 64, body=b""),
        SlotHolder(run_id=run.id, fence=1, resource=f"node:{run.id}", taken=1),
    ])  # fmt: skip
    for i in range(n):
        session.add_all([
            RunEvent(run_id=run.id, event_key=f"k-{i}", fence=1, name="planning"),
            RunLog(run_id=run.id, fence=1, phase="plan", start=i, log_offset=2 * i, length=2, first_line=i + 1, text="x\n"),
            PlanChange(run_id=run.id, fence=1, address=f"a[{i}]", slug=f"web-{i}", name=f"web-{i}", action="update"),
        ])  # fmt: skip
    run.log_bytes = 2 * n
    return run
