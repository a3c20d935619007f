"""An action that was perhaps sent: finding its task in the node's list."""

import time

from sqlalchemy import func, select

from app.adapters.proxmox.client import ProxmoxClient
from app.adapters.proxmox.types import TaskEntry
from app.domain.action_state import TASK_TYPES, ActionKind
from app.errors import ProxmoxUnreachable
from app.extensions import db
from app.models import Action

# Clocks are compared through the node's own Date header, which has whole seconds.
TOLERANCE_S, TOLERANCE_BLIND_S = 3, 120
PATIENCE_S = 8.0


def find(proxmox: ProxmoxClient, node: str, vmid: int, action_id: int, auth_id: str) -> str | None:
    """Return the UPID of the task that our call began, None when there is none. Raises errors.Proxmox*."""
    entries = proxmox.node_tasks(node, vmid)
    with db.engine.connect() as conn:
        action = conn.execute(
            select(Action.kind, func.extract("epoch", func.clock_timestamp() - Action.sent_at).label("age_s"))
            .where(Action.id == action_id)
        ).one()  # fmt: skip
        known = set(conn.scalars(select(Action.upid).where(Action.upid.in_([e.upid for e in entries]))))
    node_now = proxmox.clock_s()
    since_s = (node_now or time.time()) - float(action.age_s or 0) - (TOLERANCE_S if node_now else TOLERANCE_BLIND_S)
    # The oldest one that no action has: only one was sent.
    fresh = [e for e in entries if e.upid not in known and _ours(e, action.kind, auth_id, since_s)]
    return min(fresh, key=lambda e: e.started_at_s).upid if fresh else None


def find_patiently(proxmox: ProxmoxClient, node: str, vmid: int, action_id: int, auth_id: str) -> str | None:
    """Look for the task of a call whose answer was lost just now, for as long as it may take to show up."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            upid = find(proxmox, node, vmid, action_id, auth_id)
        except ProxmoxUnreachable:
            upid = None
        if upid is not None or time.monotonic() > end:
            return upid
        time.sleep(0.5)


def _ours(entry: TaskEntry, kind: ActionKind, auth_id: str, since_s: float) -> bool:
    return (
        entry.kind == TASK_TYPES[kind]
        and entry.user.partition("!")[0] == auth_id.partition("!")[0]
        and entry.started_at_s >= since_s
    )
