"""One sweeper for everything nobody moved on: the rules named in domain/run_state.MOVERS, and what else could leak.

It ticks every 3 s. One that has itself been away (a database outage, a suspended machine) declares nobody dead until a
full lease has passed.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import and_, exists, func, select, text
from sqlalchemy.orm import aliased

from app.adapters import broker, figures
from app.domain.run_activity import working
from app.domain.run_state import ACTIVE, FINAL, LEASE_DEAD_S, QUEUED, RUNNING, RunKind, RunState
from app.domain.server_status import ServerStatus
from app.domain.tasks import Queue, TaskName
from app.log import get_logger
from app.models import Cluster, Guest, Run, RunLease, Server, SlotHolder
from app.services import (
    actions,
    capacity,
    deliveries,
    idempotency,
    outbox,
    pause,
    reservations,
    run_settlement,
    runs,
    safe_change_execution,
    settings,
    state_history,
)
from app.services.uow import UnitOfWork, unit_of_work

log = get_logger(__name__)
TICK_KEY = "sweeper.last_tick"
AWAY_S = 10
BELL_S = 10
UNMADE_S = 30  # a request that was on its way at the run's end has become a guest by then, or never will
LOCK_KEY = 77_000


def _ago(seconds: float) -> object:
    return func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def tick() -> None:
    """Run every rule once; a second sweeper at the same time does nothing."""
    outbox.sweep()
    with unit_of_work() as uow:
        if not uow.session.scalar(text("select pg_try_advisory_xact_lock(:key, 0)"), {"key": LOCK_KEY}):
            return
        patient_until = _own_absence(uow)
        figures.count(figures.SWEEPS)
        now = uow.session.scalars(select(func.clock_timestamp())).one()
        paused = pause.paused(uow.session)
    rules: list[Callable[[UnitOfWork], None]] = [free_leftovers, deliveries.sweep]
    # While runs are paused time stands still for them; what ended long ago is still tidied up.
    if not paused:
        rules = [promote_pending, ring_queued, mark_stalled, expire_planned, forget_unmade, safe_change_execution.sweep, *rules]
    if not paused and now >= patient_until:
        rules.append(resume_dead)
    for rule in rules:
        with unit_of_work() as uow:
            rule(uow)
    if not paused:
        actions.settle_stale()


def _own_absence(uow: UnitOfWork) -> datetime:
    """Note this tick; returns until when nobody may be declared dead."""
    now = uow.session.scalars(select(func.clock_timestamp())).one()
    last = settings.read_value(uow.session, TICK_KEY)
    until = datetime.fromisoformat(last["patient_until"]) if "patient_until" in last else now
    if "at" in last and now - datetime.fromisoformat(last["at"]) > timedelta(seconds=AWAY_S):
        until = now + timedelta(seconds=LEASE_DEAD_S)
    settings.write_value(uow.session, TICK_KEY, {"at": now.isoformat(), "patient_until": until.isoformat()})
    return until


def promote_pending(uow: UnitOfWork) -> None:
    """Begin waiting runs whose workspace is free (their predecessor's end did not, or an action has ended)."""
    active = aliased(Run)
    free = ~exists().where(active.workspace_id == Run.workspace_id, active.state.in_(ACTIVE))
    waiting = select(Run.workspace_id, func.min(Run.id)).where(Run.state == RunState.PENDING, free).group_by(Run.workspace_id)
    for workspace_id, _ in uow.session.execute(waiting.order_by(func.min(Run.id)).limit(200)).all():
        runs.promote(uow, workspace_id)


def ring_queued(uow: UnitOfWork) -> None:
    """Ring again for runs whose bell was not answered: lost, or no slot was free then; never more bells than runs."""
    waiting = uow.session.scalar(select(func.count()).select_from(Run).where(Run.state.in_(QUEUED))) or 0
    bells = broker.queue_length(Queue.TERRAFORM)
    if bells is not None and bells >= waiting:
        return
    rows = uow.session.scalars(
        select(Run).where(Run.state.in_(QUEUED), Run.bell_at < _ago(BELL_S)).order_by(Run.id).limit(50).with_for_update(key_share=True, skip_locked=True)
    )
    for run in rows:
        run.bell_at = uow.session.scalar(select(func.clock_timestamp()))
        uow.ring(TaskName.RUN, [str(run.task_id)], run.task_id)


def resume_dead(uow: UnitOfWork) -> None:
    """Ring for runs whose runner no longer renews its lease; the claim decides."""
    rows = uow.session.scalars(
        select(Run)
        .outerjoin(RunLease, and_(RunLease.run_id == Run.id, RunLease.fence == Run.fence))
        .where(Run.state.in_(RUNNING), func.coalesce(RunLease.renewed_at, Run.created_at) < _ago(LEASE_DEAD_S))
        .where(func.coalesce(Run.bell_at, Run.created_at) < _ago(BELL_S))
        .order_by(Run.id)
        .limit(50)
        .with_for_update(key_share=True, skip_locked=True, of=Run)
    )
    for run in rows:
        run.bell_at = uow.session.scalar(select(func.clock_timestamp()))
        runs.add_event(uow, run, f"runner_lost:{run.fence}", "runner_lost")
        log.warning("runner_lost", run_id=run.id, fence=run.fence)
        uow.ring(TaskName.RUN, [str(run.task_id)], run.task_id)


def mark_stalled(uow: UnitOfWork) -> None:
    """Show runs of which nothing moves: neither a new line of Terraform nor a clone's percentage."""
    limit_s = settings.get(uow.session).stall_after_s
    rows = uow.session.scalars(
        select(Run)
        .where(Run.state.in_(RUNNING), Run.stalled_at.is_(None), func.coalesce(Run.progressed_at, Run.started_at) < _ago(limit_s))
        .order_by(Run.id).limit(50).with_for_update(key_share=True, skip_locked=True)
    )  # fmt: skip
    for run in rows:
        run.stalled_at = func.clock_timestamp()
        where = dict(list(working(run.activity).items())[:5])
        runs.add_event(uow, run, f"stalled:{run.progressed_at and run.progressed_at.timestamp()}", "stalled", where=where, state=run.state.value)
        runs.touch(uow, run)
        log.warning("run_stalled", run_id=run.id, state=run.state.value, where=where)


def expire_planned(uow: UnitOfWork) -> None:
    """Discard plans nobody decided about."""
    limit_s = settings.get(uow.session).plan_expiry_s
    rows = uow.session.scalars(
        select(Run).where(Run.state == RunState.PLANNED, Run.planned_at < _ago(limit_s)).limit(50).with_for_update(key_share=True, skip_locked=True)
    )
    for run in rows:
        run_settlement.drop_unmade(uow, run)
        runs.transition(uow, run, RunState.DISCARDED, reason="expired")


def forget_unmade(uow: UnitOfWork) -> None:
    """Take servers off the list of which a run could not tell at its end whether they were made, once Proxmox shows that they were not."""
    guest = exists().where(Guest.cluster_id == Server.cluster_id, Guest.vmid == Server.vmid)
    seen_since = func.make_interval(0, 0, 0, 0, 0, 0, UNMADE_S)
    rows = uow.session.scalars(
        select(Server)
        .join(Run, Run.id == Server.run_id)
        .join(Cluster, Cluster.id == Server.cluster_id)
        .where(
            Server.status == ServerStatus.FAILED, Server.in_state.is_(False), Server.deleted_at.is_(None), Server.busy_run_id.is_(None),
            Run.kind == RunKind.CREATE, Run.state.in_(FINAL), Cluster.polled_at > Run.finished_at + seen_since, ~guest,
        )
        .order_by(Server.id).limit(50).with_for_update(key_share=True, skip_locked=True, of=Server)
    ).all()  # fmt: skip
    for server in rows:
        log.info("server_never_made", server_id=server.id, run_id=server.run_id)
    run_settlement.remove(uow, list(rows), ever_made=True)


def free_leftovers(uow: UnitOfWork) -> None:
    """Give back what ended runs still hold, reservations after quarantine, old keys and old states."""
    ended = select(Run.id).where(Run.state.in_(FINAL))
    for holder in uow.session.scalars(select(SlotHolder).where(SlotHolder.run_id.in_(ended)).with_for_update(skip_locked=True)):
        log.error("slot_leaked", run_id=holder.run_id, resource=holder.resource)
        uow.session.delete(holder)
    for server in uow.session.scalars(select(Server).where(Server.busy_run_id.in_(ended)).with_for_update(key_share=True, skip_locked=True)):
        log.error("server_left_busy", server_id=server.id, run_id=server.busy_run_id)
        server.busy_run_id = None
        run_settlement.tell(uow, server)
    reservations.expire(uow)
    idempotency.forget_old(uow)
    state_history.prune(uow)
    capacity.forget_old(uow)
