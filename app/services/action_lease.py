"""Holding an action: the claim, the lease, and writes that only its holder may make."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from app.config import get_settings
from app.domain.action_state import ActionKind, ActionState
from app.errors import Fenced
from app.extensions import db
from app.models import Action, Cluster, Server
from app.services import actions, pause

# A worker's thread waits so long for a task; then the sweeper's next bell goes on, so that fifty slow shutdowns do
# not hold every thread.
PATIENCE_S, PATIENCE_CROWDED_S = 20.0, 4.0


@dataclass(frozen=True)
class Job:
    """What a claim hands over; `sent_at` without `upid` means in doubt."""

    action_id: int
    task_id: UUID
    fence: int
    kind: ActionKind
    arguments: dict[str, Any]
    server_id: int
    workspace_id: int
    vmid: int
    node: str
    marker: str
    cluster: Cluster
    upid: str | None
    sent_at: datetime | None
    age_s: float
    patience_s: float
    origin: dict[str, str]


def claim(task_id: UUID) -> Job | None:
    """Take an open action that nobody holds; None when somebody does, and while runs are paused."""
    dead = func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, actions.LEASE_DEAD_S)
    with Session(db.engine, expire_on_commit=False) as session, session.begin():
        if pause.paused(session):
            return None
        action = session.scalars(
            update(Action)
            .where(Action.task_id == task_id, Action.state.in_(actions.OPEN), or_(Action.lease_at.is_(None), Action.lease_at < dead))
            .values(
                fence=Action.fence + 1, lease_at=func.clock_timestamp(), state=ActionState.RUNNING,
                started_at=func.coalesce(Action.started_at, func.clock_timestamp()), version=Action.version + 1,
            )
            .returning(Action)
        ).one_or_none()  # fmt: skip
        if action is None:
            return None
        server = session.get_one(Server, action.server_id)
        cluster = session.get_one(Cluster, server.cluster_id)
        crowded = (
            session.scalar(select(func.count()).select_from(Action).where(Action.state.in_(actions.OPEN))) or 0
        ) > get_settings().action_threads // 2
        began = action.sent_at or action.started_at
        age_s = session.scalar(select(func.extract("epoch", func.clock_timestamp() - began))) if began else 0
        return Job(
            action.id, task_id, action.fence, action.kind, action.arguments, server.id, server.workspace_id, server.vmid,
            server.node_name, server.marker, cluster, action.upid, action.sent_at, float(age_s or 0),
            PATIENCE_CROWDED_S if crowded else PATIENCE_S, dict(action.origin or {}),
        )  # fmt: skip


def write(job: Job, **values: Any) -> None:
    """Write under the fence, and renew the lease. Raises Fenced when somebody else holds the action now."""
    with db.engine.begin() as conn:
        done = conn.execute(
            update(Action)
            .where(Action.id == job.action_id, Action.fence == job.fence, Action.state == ActionState.RUNNING)
            .values(lease_at=func.clock_timestamp(), **values)
        )
    if done.rowcount != 1:
        raise Fenced(f"action {job.action_id}")


def hand_over(job: Job) -> None:
    """Let go of an action that goes on by itself: the sweeper's next bell looks at it again."""
    with db.engine.begin() as conn:
        conn.execute(
            update(Action)
            .where(Action.id == job.action_id, Action.fence == job.fence, Action.state == ActionState.RUNNING)
            .values(lease_at=None, bell_at=func.clock_timestamp())
        )
