"""One sweeper for everything nobody moved on: the rules named in domain/run_state.MOVERS, and what else could leak.

It ticks every 3 s. One that has itself been away (a database outage, a suspended machine) declares nobody dead until a
full lease has passed.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Float, Select, and_, bindparam, exists, func, or_, select, text
from sqlalchemy.orm import aliased

from app.adapters import broker, figures
from app.domain.run_activity import working
from app.domain.run_state import ACTIVE, FINAL, LEASE_DEAD_S, QUEUED, RUNNING, RunKind, RunState
from app.domain.server_status import ServerStatus
from app.domain.tasks import Queue, TaskName
from app.log import get_logger
from app.models import (
    CapacitySample,
    Cluster,
    Delivery,
    Guest,
    IdempotencyKey,
    Reservation,
    Run,
    RunLease,
    Server,
    SlotHolder,
)
from app.services import (
    actions,
    capacity,
    clock,
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


def tick() -> None:
    """Run every rule that has something to do; a second sweeper at the same time does nothing."""
    outbox.sweep()
    with unit_of_work() as uow:
        if not uow.session.scalar(text("select pg_try_advisory_xact_lock(:key, 0)"), {"key": LOCK_KEY}):
            return
        patient = _own_absence(uow)
        figures.count(figures.SWEEPS)
        rules = _due(uow, paused=pause.paused(uow.session), patient=patient)
    for rule in rules:
        with unit_of_work() as uow:
            rule(uow)


def _own_absence(uow: UnitOfWork) -> bool:
    """Note this tick; True while nobody may be declared dead."""
    now = clock.now(uow.session)
    last = settings.read_value(uow.session, TICK_KEY)
    until = datetime.fromisoformat(last["patient_until"]) if "patient_until" in last else now
    if "at" in last and now - datetime.fromisoformat(last["at"]) > timedelta(seconds=AWAY_S):
        until = now + timedelta(seconds=LEASE_DEAD_S)
    settings.write_value(uow.session, TICK_KEY, {"at": now.isoformat(), "patient_until": until.isoformat()})
    return bool(now < until)


def _startable() -> Select[Any, Any]:
    active = aliased(Run)
    free = ~exists().where(active.workspace_id == Run.workspace_id, active.state.in_(ACTIVE))
    return select(Run.workspace_id, func.min(Run.id)).where(Run.state == RunState.PENDING, free).group_by(Run.workspace_id)


def promote_pending(uow: UnitOfWork) -> None:
    """Begin waiting runs whose workspace is free (their predecessor's end did not, or an action has ended)."""
    for workspace_id, _ in uow.session.execute(_startable().order_by(func.min(Run.id)).limit(200)).all():
        runs.promote(uow, workspace_id)


def _unheard() -> Select[Any]:
    return select(Run).where(Run.state.in_(QUEUED), Run.bell_at < clock.later(-BELL_S))


def ring_queued(uow: UnitOfWork) -> None:
    """Ring again for runs whose bell was not answered: lost, or no slot was free then; never more bells than runs."""
    waiting = uow.session.scalar(select(func.count()).select_from(Run).where(Run.state.in_(QUEUED))) or 0
    bells = broker.queue_length(Queue.TERRAFORM)
    if bells is not None and bells >= waiting:
        return
    rows = uow.session.scalars(_unheard().order_by(Run.id).limit(50).with_for_update(key_share=True, skip_locked=True))
    for run in rows:
        run.bell_at = clock.now(uow.session)
        uow.ring(TaskName.RUN, [str(run.task_id)], run.task_id)


def _dead() -> Select[Any]:
    return (
        select(Run)
        .outerjoin(RunLease, and_(RunLease.run_id == Run.id, RunLease.fence == Run.fence))
        .where(Run.state.in_(RUNNING), func.coalesce(RunLease.renewed_at, Run.created_at) < clock.later(-LEASE_DEAD_S))
        .where(func.coalesce(Run.bell_at, Run.created_at) < clock.later(-BELL_S))
    )


def resume_dead(uow: UnitOfWork) -> None:
    """Ring for runs whose runner no longer renews its lease; the claim decides."""
    rows = uow.session.scalars(_dead().order_by(Run.id).limit(50).with_for_update(key_share=True, skip_locked=True, of=Run))
    for run in rows:
        run.bell_at = clock.now(uow.session)
        runs.add_event(uow, run, f"runner_lost:{run.fence}", "runner_lost")
        log.warning("runner_lost", run_id=run.id, fence=run.fence)
        uow.ring(TaskName.RUN, [str(run.task_id)], run.task_id)


def _still(limit_s: Any) -> Select[Any]:
    return select(Run).where(Run.state.in_(RUNNING), Run.stalled_at.is_(None), func.coalesce(Run.progressed_at, Run.started_at) < clock.later(-limit_s))


def mark_stalled(uow: UnitOfWork) -> None:
    """Show runs of which nothing moves: neither a new line of Terraform nor a clone's percentage."""
    still = _still(settings.get(uow.session).stall_after_s)
    for run in uow.session.scalars(still.order_by(Run.id).limit(50).with_for_update(key_share=True, skip_locked=True)):
        run.stalled_at = func.clock_timestamp()
        where = dict(list(working(run.activity).items())[:5])
        runs.add_event(uow, run, f"stalled:{run.progressed_at and run.progressed_at.timestamp()}", "stalled", where=where, state=run.state.value)
        runs.touch(uow, run)
        log.warning("run_stalled", run_id=run.id, state=run.state.value, where=where)


def _undecided(limit_s: Any) -> Select[Any]:
    return select(Run).where(Run.state == RunState.PLANNED, Run.planned_at < clock.later(-limit_s))


def expire_planned(uow: UnitOfWork) -> None:
    """Discard plans nobody decided about."""
    undecided = _undecided(settings.get(uow.session).plan_expiry_s)
    for run in uow.session.scalars(undecided.limit(50).with_for_update(key_share=True, skip_locked=True)):
        run_settlement.drop_unmade(uow, run)
        runs.transition(uow, run, RunState.DISCARDED, reason="expired")


def _unmade() -> Select[Any]:
    guest = exists().where(Guest.cluster_id == Server.cluster_id, Guest.vmid == Server.vmid)
    seen_since = func.make_interval(0, 0, 0, 0, 0, 0, UNMADE_S)
    return (
        select(Server)
        .join(Run, Run.id == Server.run_id)
        .join(Cluster, Cluster.id == Server.cluster_id)
        .where(
            Server.status == ServerStatus.FAILED, Server.in_state.is_(False), Server.deleted_at.is_(None), Server.busy_run_id.is_(None),
            Run.kind == RunKind.CREATE, Run.state.in_(FINAL), Cluster.polled_at > Run.finished_at + seen_since, ~guest,
        )
    )  # fmt: skip


def forget_unmade(uow: UnitOfWork) -> None:
    """Take servers off the list of which a run could not tell at its end whether they were made, once Proxmox shows that they were not."""
    rows = uow.session.scalars(_unmade().order_by(Server.id).limit(50).with_for_update(key_share=True, skip_locked=True, of=Server)).all()
    for server in rows:
        log.info("server_never_made", server_id=server.id, run_id=server.run_id)
    run_settlement.remove(uow, list(rows), ever_made=True)


_ENDED = select(Run.id).where(Run.state.in_(FINAL))


def _leaked_slots() -> Select[Any]:
    return select(SlotHolder).where(SlotHolder.run_id.in_(_ENDED))


def _leaked_servers() -> Select[Any]:
    return select(Server).where(Server.busy_run_id.in_(_ENDED))


def free_leftovers(uow: UnitOfWork) -> None:
    """Give back what ended runs still hold."""
    for holder in uow.session.scalars(_leaked_slots().with_for_update(skip_locked=True)):
        log.error("slot_leaked", run_id=holder.run_id, resource=holder.resource)
        uow.session.delete(holder)
    for server in uow.session.scalars(_leaked_servers().with_for_update(key_share=True, skip_locked=True)):
        log.error("server_left_busy", server_id=server.id, run_id=server.busy_run_id)
        server.busy_run_id = None
        run_settlement.tell(uow, server)


@dataclass(frozen=True)
class Rule:
    """What there may be to do, and what is done then."""

    some: Any  # a condition: whether there is anything
    do: Callable[[UnitOfWork], object]
    # While runs are paused time stands still for them; what ended long ago is still tidied up.
    while_paused: bool = False


RULES = (
    # Counted: to find out whether there is one, PostgreSQL would walk through all ended runs of each workspace.
    Rule(select(func.count()).select_from(_startable().subquery()).scalar_subquery() > 0, promote_pending),
    Rule(_unheard().exists(), ring_queued),
    Rule(_still(bindparam("stall_after_s", type_=Float)).exists(), mark_stalled),
    Rule(_undecided(bindparam("plan_expiry_s", type_=Float)).exists(), expire_planned),
    Rule(_unmade().exists(), forget_unmade),
    Rule(safe_change_execution.due().exists(), safe_change_execution.sweep),
    Rule(_dead().exists(), resume_dead),
    Rule(actions.stale().exists(), actions.settle_stale),
    Rule(or_(_leaked_slots().exists(), _leaked_servers().exists()), free_leftovers, while_paused=True),
    Rule(or_(deliveries.due().exists(), select(Delivery).where(deliveries.over()).exists()), deliveries.sweep, while_paused=True),
    Rule(select(Reservation).where(reservations.over()).exists(), reservations.expire, while_paused=True),
    Rule(select(IdempotencyKey).where(idempotency.old()).exists(), idempotency.forget_old, while_paused=True),
    Rule(state_history.is_due(), state_history.prune, while_paused=True),
    Rule(select(CapacitySample).where(capacity.old()).exists(), capacity.forget_old, while_paused=True),
)


def _due(uow: UnitOfWork, *, paused: bool, patient: bool) -> list[Callable[[UnitOfWork], object]]:
    """Return what is to be done now. Most ticks find nothing, so all of it is asked in one statement."""
    found = uow.session.execute(_question(paused, patient), asdict(settings.get(uow.session))).one()
    return [rule.do for rule, some in zip(_rules(paused, patient), found, strict=True) if some]


def _rules(paused: bool, patient: bool) -> list[Rule]:
    return [r for r in RULES if (r.while_paused or not paused) and not (patient and r.do is resume_dead)]


@cache
def _question(paused: bool, patient: bool) -> Select[Any]:
    return select(*(rule.some for rule in _rules(paused, patient)))
