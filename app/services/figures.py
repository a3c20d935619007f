"""What rows, queues and workers say now, for `/metrics`. Nothing here grows with the history but the runs' durations."""

from typing import Any

from sqlalchemy import Integer, case, cast, func, select
from sqlalchemy.orm import Session

from app.adapters import broker
from app.adapters import figures as counted
from app.domain.action_state import ActionState
from app.domain.figures import Durations, Gauges, Labels
from app.domain.run_state import FINAL, QUEUED
from app.domain.tasks import Queue
from app.models import Action, Cluster, Delivery, Network, Notification, Outbox, Reservation, Run, RunEvent, Server
from app.services import networks

RUN_BUCKETS = (5, 10, 30, 60, 120, 300, 600, 1800, 3600)


def workers() -> list[str] | None:
    """Return the names of the workers that gave a sign of life; None when that cannot be told now."""
    found = counted.workers()
    return None if found is None else sorted(found)


def read(session: Session) -> list[Gauges | Durations]:
    """Return the figures; a queue of which nothing is known has none."""
    lengths: dict[Labels, float] = {(queue.value,): length for queue in Queue if (length := broker.queue_length(queue)) is not None}
    there = workers()
    return [
        Gauges("tpm_runs", "Runs by state.", ("state",), _by(session, Run.state)),
        Gauges("tpm_actions", "Actions by state.", ("state",), _by(session, Action.state)),
        Gauges("tpm_servers", "Servers by status.", ("status",), _by(session, Server.status, Server.deleted_at.is_(None))),
        Gauges("tpm_outbox_rows", "Messages and events not yet sent.", (), _one(session, select(func.count()).select_from(Outbox))),
        Gauges("tpm_notifications_unread", "Unread notifications.", (), _one(session, select(func.count()).where(Notification.read_at.is_(None)))),
        Gauges("tpm_deliveries", "Notifications on their way to mailboxes and webhooks, by state.", ("state",), _by(session, Delivery.state)),
        Gauges("tpm_queue_length", "Messages that wait in a queue.", ("queue",), lengths),
        Gauges("tpm_queue_oldest_seconds", "How long what waits for a queue's workers waits by now.", ("queue",), _oldest(session)),
        Gauges("tpm_workers_up", "Workers that gave a sign of life within 20 seconds.", (), {} if there is None else {(): len(there)}),
        Gauges("tpm_clusters_online", "Whether a cluster answers.", ("cluster",), _clusters(session)),
        Gauges("tpm_reservations", "VMIDs and addresses held by servers, or resting before they are given out again.", ("kind", "state"), _reservations(session)),
        Gauges("tpm_reservations_left", "VMIDs of a cluster and addresses of a network that can still be given out.", ("kind", "of"), _left(session)),
        _durations(session),
    ]


def _one(session: Session, query: Any) -> dict[Labels, float]:
    return {(): float(session.scalar(query) or 0)}


def _by(session: Session, column: Any, *where: Any) -> dict[Labels, float]:
    return {(str(value),): float(n) for value, n in session.execute(select(column, func.count()).where(*where).group_by(column))}


def _oldest(session: Session) -> dict[Labels, float]:
    """From rows, since messages carry no time: a bell may be lost, what it rang for is not."""
    now = func.clock_timestamp()
    since = select(func.min(RunEvent.at)).join(Run, Run.id == RunEvent.run_id).where(Run.state.in_(QUEUED), RunEvent.name == Run.state, RunEvent.fence == Run.fence)
    waits = {
        Queue.TERRAFORM: since.scalar_subquery(),
        Queue.PROXMOX: select(func.min(Action.created_at)).where(Action.state == ActionState.QUEUED).scalar_subquery(),
        Queue.DEFAULT: select(func.min(Outbox.created_at)).scalar_subquery(),
    }
    row = session.execute(select(*(func.extract("epoch", now - waits[queue]) for queue in Queue))).one()
    return {(queue.value,): max(float(age or 0), 0.0) for queue, age in zip(Queue, row, strict=True)}


def _clusters(session: Session) -> dict[Labels, float]:
    rows = session.execute(select(Cluster.name, Cluster.status).where(Cluster.enabled))
    return {(name,): float(status == "online") for name, status in rows}


def _reservations(session: Session) -> dict[Labels, float]:
    resting = Reservation.server_id.is_(None)
    rows = session.execute(select(Reservation.kind, resting, func.count()).group_by(Reservation.kind, resting))
    return {(kind, "resting" if rests else "held"): float(n) for kind, rests, n in rows}


def _left(session: Session) -> dict[Labels, float]:
    number = cast(Reservation.value, Integer)
    inside = case((Reservation.kind == "vmid", number.between(Cluster.vmid_low, Cluster.vmid_high)), else_=False)
    taken = func.count(Reservation.id).filter(inside)
    rows = session.execute(
        select(Cluster.name, Cluster.vmid_high - Cluster.vmid_low + 1 - taken)
        .outerjoin(Reservation, (Reservation.cluster_id == Cluster.id) & (Reservation.kind == "vmid"))
        .where(Cluster.enabled).group_by(Cluster.id)
    )  # fmt: skip
    left: dict[Labels, float] = {("vmid", name): float(n) for name, n in rows}
    pools = session.scalars(select(Network).order_by(Network.name).limit(200)).all()
    usages = networks.usages(session, pools)
    left |= {("ip", pool.name): float(usages[pool.id].free) for pool in pools}
    return left


def _durations(session: Session) -> Durations:
    seconds = func.extract("epoch", Run.finished_at - Run.created_at)
    within = [func.count().filter(seconds <= bucket) for bucket in RUN_BUCKETS]
    rows = session.execute(
        select(Run.kind, Run.state, func.count(), func.sum(seconds), *within).where(Run.state.in_(FINAL), Run.finished_at.is_not(None)).group_by(Run.kind, Run.state)
    )
    values: dict[Labels, tuple[list[tuple[str, float]], float]] = {
        (str(kind), str(state)): ([*((f"{bucket}.0", float(n)) for bucket, n in zip(RUN_BUCKETS, counts, strict=True)), ("+Inf", float(all_))], float(total or 0))
        for kind, state, all_, total, *counts in rows
    }
    return Durations("tpm_run_seconds", "From the request to the end of runs.", ("kind", "state"), values)
