"""Two and more at the same moment, on threads with connections of their own: exactly one of them gets it."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select, update

from app.domain.run_state import RunState
from app.domain.tasks import TaskName
from app.errors import AppError, Fenced, Invalid, RunStateConflict
from app.extensions import db
from app.models import Cluster, Network, Notification, Project, Reservation, Run, RunEvent, User
from app.services import run_execution, runs, servers, sweeper
from app.services.actor import Actor
from app.services.uow import unit_of_work
from tests.integration import rows


@pytest.fixture
def admin(make_user: Callable[..., Any]) -> User:
    user: User = make_user("administrator", "root")
    return user


def at_once(app: Flask, works: Sequence[Callable[[Any], Any]]) -> list[Any]:
    """Do all of them in transactions that begin together; returns what each returned or raised."""
    gate, out = threading.Barrier(len(works)), [None] * len(works)

    def work(number: int) -> None:
        with app.app_context():
            gate.wait()
            try:
                with unit_of_work() as uow:
                    out[number] = works[number](uow)
            except AppError as exc:
                out[number] = exc  # type: ignore[call-overload]  # a list of anything
            finally:
                db.session.remove()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    db.session.rollback()
    return out


@pytest.mark.parametrize("attempt", range(10))
def test_of_eight_claimers_one_gets_the_run(app: Flask, admin: User, attempt: int) -> None:
    run = rows.run(rows.workspace(admin), admin, RunState.PLAN_QUEUED, attempt)
    claims = at_once(app, [lambda uow: run_execution.claim(uow, run.task_id)] * 8)
    [one] = [c for c in claims if c is not None]
    assert one.fence == attempt + 1
    assert db.session.scalar(select(func.count()).select_from(RunEvent).where(RunEvent.name == "planning")) == 1


@pytest.mark.parametrize("attempt", range(5))
def test_of_eight_who_take_over_a_dead_run_one_does(app: Flask, admin: User, attempt: int) -> None:
    run = rows.run(rows.workspace(admin), admin, RunState.APPLYING)
    rows.lease(run, age_s=60)
    claims = at_once(app, [lambda uow: run_execution.claim(uow, run.task_id)] * 8)
    assert [c.resumed for c in claims if c is not None] == [True]
    assert db.session.scalars(select(Run.resumes)).one() == 1, attempt


@pytest.mark.parametrize("attempt", range(5))
def test_a_cancel_and_the_final_commit_end_a_run_once(app: Flask, admin: User, attempt: int) -> None:
    run = rows.run(rows.workspace(admin), admin, RunState.APPLYING)
    rows.lease(run, age_s=0)
    cancel, end = at_once(app, [
        lambda uow: runs.cancel(uow, Actor.of(admin), run.id).state,
        lambda uow: run_execution.end(uow, run.id, run.fence, RunState.APPLIED, {}).state,
    ])  # fmt: skip
    assert end == RunState.APPLIED, "what is done is done"
    assert cancel == RunState.APPLYING or isinstance(cancel, RunStateConflict), attempt
    assert db.session.scalars(select(Run.state)).one() == RunState.APPLIED
    told = db.session.scalar(select(func.count()).select_from(Notification).where(Notification.event_key == f"run:{run.id}:end"))
    assert told == 1


@pytest.mark.parametrize("attempt", range(5))
def test_approve_and_discard_at_once_are_one_decision(app: Flask, admin: User, attempt: int) -> None:
    run = rows.run(rows.workspace(admin), admin, RunState.PLANNED)
    actor = Actor.of(admin)
    approved, discarded = at_once(app, [lambda uow: runs.approve(uow, actor, run.id).state, lambda uow: runs.discard(uow, actor, run.id).state])
    assert sorted(isinstance(x, RunStateConflict) for x in (approved, discarded)) == [False, True], attempt
    assert db.session.scalars(select(Run.state)).one() in (approved, discarded)


def test_an_old_runner_and_a_new_one_never_both_write(app: Flask, admin: User) -> None:
    run = rows.run(rows.workspace(admin), admin, RunState.APPLYING)
    rows.lease(run, age_s=60)
    with unit_of_work() as uow:
        claim = run_execution.claim(uow, run.task_id)
    assert claim is not None
    old, new = at_once(app, [
        lambda uow: run_execution.end(uow, run.id, claim.fence - 1, RunState.ERRORED, {}, {"code": "old"}).state,
        lambda uow: run_execution.end(uow, run.id, claim.fence, RunState.APPLIED, {}).state,
    ])  # fmt: skip
    assert isinstance(old, Fenced) and new == RunState.APPLIED
    assert db.session.scalars(select(Run.error)).one() is None


def test_two_clocks_and_two_sweepers_ring_a_run_once(app: Flask, admin: User) -> None:
    run = rows.run(rows.workspace(admin), admin, RunState.PLAN_QUEUED)
    with unit_of_work() as uow:
        uow.session.execute(update(Run).values(bell_at=func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 1)))
    rung: list[Any] = []

    def sweep(uow: Any) -> None:
        ring = uow.ring
        uow.ring = lambda name, args, task_id: (rung.append(name), ring(name, args, task_id))
        sweeper.ring_queued(uow)

    at_once(app, [sweep, sweep])
    assert rung == [TaskName.RUN], run.id


@pytest.mark.parametrize("what", ["addresses", "vmids"])
def test_of_two_batches_that_want_the_last_ones_one_gets_them(app: Flask, admin: User, cluster: Cluster, what: str) -> None:
    with unit_of_work() as uow:
        uow.session.add(Project(name="default"))
        if what == "vmids":
            uow.session.execute(update(Cluster).values(vmid_low=5000, vmid_high=5003))
        for network in uow.session.scalars(select(Network)) if what == "addresses" else ():
            low = network.range_low.rpartition(".")
            network.range_high = f"{low[0]}.{int(low[2]) + 3}"
    bodies = [{"name": f"{what}-{who}", "template": "debian-12", "memory_mib": 512, "count": 3} for who in ("a", "b")]
    got = at_once(app, [lambda uow, body=body: servers.create(uow, Actor.of(admin), body).servers for body in bodies])  # type: ignore[misc]  # bound now
    [refused] = [g for g in got if isinstance(g, Invalid)]
    assert sorted(len(g) for g in got if not isinstance(g, Invalid)) == [3]
    assert {e.code for e in refused.errors} <= {"addresses_exhausted", "vmids_exhausted"}
    held = dict(db.session.execute(select(Reservation.kind, func.count()).group_by(Reservation.kind)).all())
    assert held == {"vmid": 3, "ip": 3}, "nothing is left of the refused one"
    assert cluster.id
