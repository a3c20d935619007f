"""A cluster's recent tasks, asked of Proxmox while a page waits: what, on which guest, by whom, and how it ended."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.adapters.proxmox.client import upid_node
from app.adapters.proxmox.types import TaskEntry
from app.domain.permissions import Permission
from app.errors import NotFound, ProxmoxNotFound, ProxmoxUnreachable
from app.models import Action, Cluster, Guest, Server
from app.services import clusters
from app.services.actor import Actor
from app.services.vm_reading import READ_S, ClusterAway

UPID = re.compile(r"UPID:[A-Za-z0-9.-]{1,63}:[0-9A-F]{8}:[0-9A-F]{8,9}:[0-9A-F]{8}:[a-z0-9_-]{1,40}:[^:/]{0,80}:[^:/]{1,120}:")
MOST, LOG_LINES = 100, 500


@dataclass(frozen=True)
class Task:
    """`ok` is None while it runs; `ours` when one of our actions began it; `guest` is a name, where there is one."""

    upid: str
    node: str
    kind: str
    vmid: str
    guest: str
    user: str
    started_at: datetime
    ended: str | None
    ok: bool | None
    ours: bool


def recent(session: Session, actor: Actor, cluster_id: int, show: str = "") -> list[Task]:
    """Return the newest tasks; `show` is failed, running or empty. Raises NotFound, ClusterAway, errors.Proxmox*."""
    actor.need(Permission.VIEW_ALL)
    cluster = clusters.get(session, cluster_id)
    guests = select(Guest.vmid, Guest.name).where(Guest.cluster_id == cluster_id)
    # Ours are known before the next poll shows them.
    ours = select(Server.vmid, Server.name).where(Server.cluster_id == cluster_id, Server.deleted_at.is_(None))
    names = {str(vmid): name for vmid, name in (*session.execute(guests), *session.execute(ours))}
    upids = set(session.scalars(select(Action.upid).where(Action.upid.is_not(None)).order_by(Action.id.desc()).limit(500)))
    entries = _asked(session, cluster)
    out = []
    for e in entries[:500]:
        ok = None if e.exit_status is None else e.exit_status == "OK" or e.exit_status.startswith("WARNINGS")
        if (show == "failed" and ok is not False) or (show == "running" and ok is not None):
            continue
        started = datetime.fromtimestamp(e.started_at_s, UTC)
        out.append(Task(e.upid, e.node_name, e.kind, e.vmid, names.get(e.vmid, ""), e.user, started, e.exit_status, ok, e.upid in upids))
    return sorted(out, key=lambda t: (t.ok is not None, -t.started_at.timestamp()))[:MOST]


def _asked(session: Session, cluster: Cluster) -> Sequence[TaskEntry]:
    # The connection goes back to the pool: Proxmox may let us wait.
    session.expunge(cluster)
    session.close()
    try:
        with clusters.connection(cluster, READ_S) as proxmox:
            return proxmox.cluster_tasks()
    except ProxmoxUnreachable as exc:
        raise ClusterAway(exc.detail, cluster=cluster.name) from exc


def log(session: Session, actor: Actor, cluster_id: int, upid: str) -> list[str]:
    """Return the last lines of a task's log. Raises NotFound, ClusterAway, errors.Proxmox*."""
    actor.need(Permission.VIEW_ALL)
    cluster = clusters.get(session, cluster_id)
    if not UPID.fullmatch(upid):
        raise NotFound(kind="task")
    session.expunge(cluster)
    session.close()
    try:
        with clusters.connection(cluster, READ_S) as proxmox:
            return proxmox.task_log(upid_node(upid), upid, limit=LOG_LINES)
    except ProxmoxNotFound:
        raise NotFound(kind="task") from None
    except ProxmoxUnreachable as exc:
        raise ClusterAway(exc.detail, cluster=cluster.name) from exc
