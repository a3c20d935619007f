"""The sweeper does what the table of states says: every rule named there exists, is run, and moves a row in its time and not before."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from app.adapters import broker
from app.domain.run_state import FINAL, LEASE_DEAD_S, MOVERS, RunState
from app.domain.tasks import Queue, TaskName
from app.extensions import db
from app.models import IdempotencyKey, Reservation, Run, RunEvent, RunLease, User
from app.runner import patience
from app.services import run_execution, settings, sweeper
from app.services.uow import unit_of_work
from tests.integration import rows
from tests.integration.conftest import until

SWEPT = sorted(set(RunState) - FINAL)


@pytest.fixture
def in_state(dora: User) -> Callable[[RunState], Run]:
    """A run in this state with a live runner, if it has one, and nothing before it."""

    def make(state: RunState) -> Run:
        run = rows.run(rows.workspace(dora, state.value.replace("_", "-")), dora, state)
        rows.lease(run, 0)
        aged(run, 0)
        return run

    return make


def aged(run: Run, seconds: float) -> None:
    """Everything that is known of the run happened so long ago."""
    then = func.clock_timestamp() - timedelta(seconds=seconds)
    with unit_of_work() as uow:
        uow.session.execute(update(Run).where(Run.id == run.id).values(created_at=then, bell_at=then, planned_at=then))
        uow.session.execute(update(RunLease).where(RunLease.run_id == run.id).values(renewed_at=then))


def moved(run: Run) -> bool:
    """Sweep once; True when the run was moved on, or rung for."""

    def shown() -> tuple[RunState, int]:
        with unit_of_work() as uow:
            return uow.session.get_one(Run, run.id).state, broker.queue_length(Queue.TERRAFORM) or 0

    before = shown()
    sweeper.tick()
    return shown() != before


def lost(run: Run) -> bool:
    with unit_of_work() as uow:
        return uow.session.scalar(select(RunEvent.id).where(RunEvent.run_id == run.id, RunEvent.name == "runner_lost")) is not None


def last_tick(**values: datetime) -> None:
    with unit_of_work() as uow:
        settings.write_value(uow.session, sweeper.TICK_KEY, {name: at.isoformat() for name, at in values.items()})


def clock() -> datetime:
    with unit_of_work() as uow:
        return uow.session.scalars(select(func.clock_timestamp())).one()


# ---------------------------------------------------------------- the table
def test_the_times_of_the_table_are_those_of_the_rules() -> None:
    after = {mover.rule: mover.after_s for mover in MOVERS.values() if mover.rule}
    period = broker.celery.conf.beat_schedule["sweeper"]
    assert period["task"] == TaskName.SWEEP.value
    assert after == {
        "promote_pending": 10, "ring_queued": sweeper.BELL_S, "resume_dead": LEASE_DEAD_S, "expire_planned": settings.RuntimeSettings().plan_expiry_s,
    }  # fmt: skip
    assert period["schedule"] * 2 < sweeper.AWAY_S <= 10, "a workspace that is free is looked at within the 10 s, a late tick is no absence"
    assert all(callable(getattr(sweeper, rule)) for rule in after)


@pytest.mark.parametrize("state", SWEPT)
def test_a_rule_moves_its_state_when_it_is_old_enough(in_state: Callable[[RunState], Run], state: RunState) -> None:
    run = in_state(state)
    aged(run, (MOVERS[state].after_s or 0) + 1)
    assert moved(run)
    assert not moved(run), "once is enough"


@pytest.mark.parametrize("state", [state for state in SWEPT if state != RunState.PENDING])
def test_no_rule_moves_it_before(in_state: Callable[[RunState], Run], state: RunState) -> None:
    run = in_state(state)
    aged(run, (MOVERS[state].after_s or 0) - 4)
    assert not moved(run)


def test_what_waits_begins_when_its_workspace_is_free_and_not_before(dora: User) -> None:
    workspace = rows.workspace(dora)
    active, waiting = rows.run(workspace, dora, RunState.APPLYING), rows.run(workspace, dora, RunState.PENDING, 0)
    rows.lease(active, 0)
    aged(waiting, 3600)
    assert not moved(waiting)
    with unit_of_work() as uow:
        uow.session.execute(update(Run).where(Run.id == active.id).values(state=RunState.ERRORED))
    assert moved(waiting)


@pytest.mark.parametrize("state", sorted(FINAL))
def test_nobody_moves_an_end(in_state: Callable[[RunState], Run], state: RunState) -> None:
    run = in_state(state)
    aged(run, 30 * 86_400)
    assert not moved(run)


@pytest.mark.parametrize("rung_s", [1, 9])
def test_a_dead_run_that_was_rung_for_just_now_is_not_rung_again(in_state: Callable[[RunState], Run], rung_s: float) -> None:
    run = in_state(RunState.APPLYING)
    aged(run, 60)
    with unit_of_work() as uow:
        uow.session.execute(update(Run).values(bell_at=func.clock_timestamp() - timedelta(seconds=rung_s)))
    assert not moved(run)


def test_a_queue_as_long_as_the_line_is_not_made_longer(in_state: Callable[[RunState], Run]) -> None:
    run = in_state(RunState.PLAN_QUEUED)
    aged(run, 60)
    broker.ring([broker.Bell(TaskName.RUN, [str(run.task_id)], run.task_id)])
    assert not moved(run)


def test_a_lease_that_was_never_written_counts_from_the_request(dora: User) -> None:
    run = rows.run(rows.workspace(dora), dora, RunState.PLANNING)
    aged(run, 5)
    assert not moved(run)
    aged(run, LEASE_DEAD_S + 1)
    assert moved(run) and lost(run)


# ---------------------------------------------------------------- a sweeper that was away itself
def test_after_an_absence_nobody_is_dead_before_a_full_lease(in_state: Callable[[RunState], Run]) -> None:
    run = in_state(RunState.APPLYING)
    aged(run, 300)
    last_tick(at=clock() - timedelta(seconds=60))
    assert not moved(run), "its runner could not renew either"
    last_tick(at=clock(), patient_until=clock() + timedelta(seconds=5))
    assert not moved(run), "still within the patience"
    last_tick(at=clock(), patient_until=clock() - timedelta(seconds=1))
    assert moved(run) and lost(run)


def test_its_patience_is_one_lease_long(in_state: Callable[[RunState], Run]) -> None:
    run, away = in_state(RunState.APPLYING), clock()
    last_tick(at=away - timedelta(seconds=sweeper.AWAY_S + 1))
    assert not moved(run)
    with unit_of_work() as uow:
        until = datetime.fromisoformat(settings.read_value(uow.session, sweeper.TICK_KEY)["patient_until"])
    assert timedelta(seconds=LEASE_DEAD_S) <= until - away < timedelta(seconds=LEASE_DEAD_S + 30)


def test_ticks_that_come_in_time_wait_for_nothing(in_state: Callable[[RunState], Run]) -> None:
    run = in_state(RunState.APPLYING)
    aged(run, LEASE_DEAD_S + 1)
    last_tick(at=clock() - timedelta(seconds=sweeper.AWAY_S - 4))
    assert moved(run)


def test_after_an_absence_everything_else_goes_on_at_once(in_state: Callable[[RunState], Run]) -> None:
    run = in_state(RunState.PLAN_QUEUED)
    aged(run, 60)
    last_tick(at=clock() - timedelta(hours=1))
    assert moved(run)


def test_a_runner_that_renews_again_after_the_outage_keeps_its_run(in_state: Callable[[RunState], Run]) -> None:
    run = in_state(RunState.APPLYING)
    aged(run, 300)
    last_tick(at=clock() - timedelta(seconds=300))
    assert not moved(run)
    rows.lease(run, 0)
    last_tick(at=clock(), patient_until=clock() - timedelta(seconds=1))
    assert not moved(run)
    with unit_of_work() as uow:
        assert run_execution.claim(uow, run.task_id) is None


# ---------------------------------------------------------------- processes that are stopped in the middle of a transaction
def swept(run: Run) -> bool:
    """Sweep once; True when the run's runner is known to be lost."""
    sweeper.tick()
    return lost(run)


def test_a_runner_that_hangs_with_its_run_locked_loses_the_lock_and_the_run(in_state: Callable[[RunState], Run]) -> None:
    run = in_state(RunState.APPLYING)
    aged(run, LEASE_DEAD_S + 1)
    with Session(db.engine) as hung:
        hung.scalars(select(Run).where(Run.id == run.id).with_for_update()).one()
        assert not swept(run)
        until(lambda: swept(run))
        # It hears of it as of a lost connection, and looks whether the run is still its own.
        with pytest.raises(patience.LOST):
            hung.execute(select(1))


def test_a_sweeper_that_hangs_does_not_keep_the_others_from_sweeping(in_state: Callable[[RunState], Run]) -> None:
    run = in_state(RunState.APPLYING)
    aged(run, LEASE_DEAD_S + 1)
    with Session(db.engine) as hung:
        assert hung.scalar(text("select pg_try_advisory_xact_lock(:key, 0)"), {"key": sweeper.LOCK_KEY})
        assert not swept(run)
        until(lambda: swept(run))
        with pytest.raises(patience.LOST):
            hung.execute(select(1))


# ---------------------------------------------------------------- what is over
def test_a_tick_gives_back_and_forgets_what_is_over_and_nothing_else(dora: User) -> None:
    place = rows.workspace(dora)
    with unit_of_work() as uow:
        ago = func.clock_timestamp() - text("interval '400 days'")
        uow.session.add_all([
            Reservation(cluster_id=place.cluster_id, kind="ip", scope="x", value=value, server_id=None, quarantined_until=until)
            for value, until in (("10.0.0.1", ago), ("10.0.0.2", None))
        ])
        uow.session.add_all([
            IdempotencyKey(user_id=dora.id, route="r", key=key, body_hash="", created_at=at) for key, at in (("old", ago), ("new", func.clock_timestamp()))
        ])
    sweeper.tick()
    with unit_of_work() as uow:
        assert list(uow.session.scalars(select(Reservation.value).where(Reservation.scope == "x"))) == ["10.0.0.2"]
        assert list(uow.session.scalars(select(IdempotencyKey.key))) == ["new"]
