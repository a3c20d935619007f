"""Several at the same moment: one wins, the others are told so, and nothing is done or held twice."""

import threading
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import Connection, delete, func, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.domain.run_state import FINAL, RunKind, RunState
from app.domain.tasks import Queue, TaskName
from app.errors import AppError, Invalid, RunStateConflict
from app.adapters import broker
from app.extensions import db
from app.models import (
    AuditEvent, Cluster, Network, Notification, Outbox, Project, Reservation, Run, RunEvent, RunLease, Server, SlotHolder, User, Workspace,
)  # fmt: skip
from app.services import outbox, run_execution, runs, servers, settings, sweeper, users
from app.services.actor import Actor
from app.services.run_steps import parts
from app.services.uow import UnitOfWork, unit_of_work
from app.tasks.runs import execute_run
from tests.integration import rows
from tests.stack import eventually

Make = Callable[..., Any]
Work = Callable[[UnitOfWork], Any]


@pytest.fixture
def together(app: Flask) -> Callable[[Sequence[Work]], list[Any]]:
    """`together([work, ...])`: each in a thread and transaction of its own, begun at one moment; answers or refusals in order."""

    def run_all(works: Sequence[Work]) -> list[Any]:
        start, answers = threading.Barrier(len(works)), [None] * len(works)

        def one(index: int) -> None:
            with app.app_context():
                db.session.connection()
                db.session.rollback()
                start.wait(30)
                try:
                    with unit_of_work() as uow:
                        answers[index] = works[index](uow)
                except AppError as exc:
                    answers[index] = exc

        threads = [threading.Thread(target=one, args=(n,)) for n in range(len(works))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        return answers

    return run_all


Together = Callable[[Sequence[Work]], list[Any]]


def now(run: Run) -> Run:
    with unit_of_work() as uow:
        return uow.session.get_one(Run, run.id)


def happened(run: Run, *names: str) -> list[str]:
    with unit_of_work() as uow:
        found = uow.session.scalars(select(RunEvent.name).where(RunEvent.run_id == run.id).order_by(RunEvent.id))
        return [name for name in found if not names or name in names]


def ends(run: Run) -> list[str]:
    return happened(run, *(state.value for state in FINAL))


def told_of(run: Run) -> list[int]:
    """Who was told of the run's end, once for each time."""
    with unit_of_work() as uow:
        key = f"run:{run.id}:end"
        return sorted(uow.session.scalars(select(Notification.user_id).where(Notification.event_key == key)))


# ---------------------------------------------------------------- claims
@pytest.mark.parametrize("state", [RunState.PLAN_QUEUED, RunState.APPLY_QUEUED])
def test_of_eight_workers_that_hear_one_bell_one_begins(dora: User, together: Together, state: RunState) -> None:
    for number in range(15):
        run = rows.run(rows.workspace(dora, f"web{number}"), dora, state, fence=3)
        claims = together([lambda uow, of=run: run_execution.claim(uow, of.task_id)] * 8)
        [won] = [c for c in claims if c is not None]
        assert (won.run_id, won.fence, won.resumed, now(run).fence) == (run.id, 4, False, 4)
        with unit_of_work() as uow:
            assert list(uow.session.scalars(select(RunLease.fence).where(RunLease.run_id == run.id))) == [4]
        assert happened(run) == [{"plan_queued": "planning", "apply_queued": "applying"}[state.value]]


@pytest.mark.parametrize("state", [RunState.PLANNING, RunState.APPLYING])
def test_of_eight_that_find_a_dead_runner_one_takes_over(dora: User, together: Together, state: RunState) -> None:
    for number in range(15):
        run = rows.run(rows.workspace(dora, f"web{number}"), dora, state, fence=3)
        rows.lease(run, 60)
        claims = together([lambda uow, of=run: run_execution.claim(uow, of.task_id)] * 8)
        assert [(c.fence, c.resumed) for c in claims if c is not None] == [(4, True)]
        assert (now(run).fence, now(run).resumes) == (4, 1)


def test_the_last_clone_slots_go_to_one_of_two_runs(dora: User, together: Together) -> None:
    with unit_of_work() as uow:
        settings.write_value(uow.session, settings.RUNTIME_KEY, {"slots_per_node": 1})
    for number in range(10):
        pair = [rows.run(rows.workspace(dora, f"web{number}-{n}"), dora, RunState.APPLY_QUEUED) for n in range(2)]
        with unit_of_work() as uow:
            uow.session.execute(update(Run).values(kind=RunKind.CREATE))
            uow.session.execute(update(Server).values(disks=[{"storage": "local", "size_gib": 1}]))
        claims = together([lambda uow, of=run: run_execution.claim(uow, of.task_id) for run in pair])
        [won] = [c for c in claims if c is not None]
        with unit_of_work() as uow:
            assert set(uow.session.scalars(select(SlotHolder.run_id))) == {won.run_id}
            [left] = uow.session.scalars(select(Run).where(Run.state == RunState.APPLY_QUEUED)).all()
            assert (left.waiting_for or {})["code"] == "waiting_for_node_slot"
            run_execution.end(uow, won.run_id, won.fence, RunState.APPLIED, {})
        with unit_of_work() as uow:
            assert run_execution.claim(uow, left.task_id) is not None, "what the other gave back"
            run_execution.end(uow, left.id, left.fence + 1, RunState.APPLIED, {})


def test_a_run_that_asks_in_the_middle_of_its_apply_says_so_and_holds_no_slots(dora: User) -> None:
    """What is left goes beyond what was approved: the same runner has been at `planned` before."""
    run = rows.run(rows.workspace(dora), dora, RunState.PLANNING)
    with unit_of_work() as uow:
        uow.session.execute(update(Run).values(kind=RunKind.CREATE))
        uow.session.execute(update(Server).values(disks=[{"storage": "local", "size_gib": 1}]))
    with unit_of_work() as uow:
        assert run_execution.go_on(uow, run_execution.guard(uow, run.id, run.fence), run.fence)
        assert uow.session.scalar(select(func.count()).select_from(SlotHolder)) == 3
    with unit_of_work() as uow:
        run_execution.wait_for_person(uow, run_execution.guard(uow, run.id, run.fence), {"code": "beyond_approved", "args": {}})
    assert happened(run) == ["planned", "applying", "planned"]
    with unit_of_work() as uow:
        assert uow.session.scalar(select(func.count()).select_from(SlotHolder)) == 0


def test_a_piece_of_log_without_text_leaves_room_for_the_next(dora: User) -> None:
    run = rows.run(rows.workspace(dora), dora, RunState.APPLYING)
    for start, words in enumerate(["", "one\n", "", "two\n"]):
        with unit_of_work() as uow:
            run_execution.append_log(uow, run.id, run.fence, run_execution.LogPiece("apply", start, words))
    with unit_of_work() as uow:
        assert runs.log_text(uow.session, uow.session.get_one(Run, run.id)) == ("one\ntwo\n", 8)


def test_a_count_of_finished_servers_and_which_they_are_come_together_whatever_a_late_look_says(dora: User) -> None:
    run = rows.run(rows.workspace(dora), dora, RunState.APPLYING)

    def seen() -> list[str]:
        with unit_of_work() as uow:
            one = uow.session.get_one(Run, run.id)
            assert one.progress_done == [p.state for p in parts(one)].count("done")
            return [p.state for p in parts(one)]

    with unit_of_work() as uow:
        run_execution.append_log(uow, run.id, run.fence, run_execution.LogPiece("apply", 0, "made\n", done=frozenset(run.targets[:1]), total=1))
    assert seen() == ["done"]
    with unit_of_work() as uow:  # what was asked of Proxmox before
        run_execution.set_activity(uow, run.id, run.fence, {run.targets[0]: {"step": "clone", "percent": 90}})
    assert seen() == ["done"]


# ---------------------------------------------------------------- people against people, and against the end
def test_of_an_approval_and_a_discard_at_once_one_counts(dora: User, olga: User, together: Together) -> None:
    for number in range(15):
        run = rows.run(rows.workspace(dora, f"web{number}"), dora, RunState.PLANNED)
        answers = together([
            lambda uow, of=run: runs.approve(uow, Actor.of(olga, ""), of.id).state,
            lambda uow, of=run: runs.discard(uow, Actor.of(dora, ""), of.id).state,
        ])  # fmt: skip
        [won] = [a for a in answers if not isinstance(a, AppError)]
        [late] = [a for a in answers if isinstance(a, AppError)]
        assert isinstance(late, RunStateConflict) and late.args_["state"] == won == now(run).state
        assert happened(run) == [won.value]
        with unit_of_work() as uow:
            audited = list(uow.session.scalars(select(AuditEvent.action).where(AuditEvent.object_id == str(run.id))))
        assert audited == [{"apply_queued": "run.apply", "discarded": "run.discard"}[won.value]]
        assert told_of(run) == ([dora.id] if won == RunState.DISCARDED else [])


def test_a_cancel_against_the_final_commit_changes_no_end(dora: User, olga: User, together: Together) -> None:
    for number in range(25):
        run = rows.run(rows.workspace(dora, f"web{number}"), dora, RunState.APPLYING)
        rows.lease(run, 0)
        ended, canceled = together([
            lambda uow, of=run: run_execution.end(uow, of.id, of.fence, RunState.APPLIED, {}).state,
            lambda uow, of=run: runs.cancel(uow, Actor.of(olga, ""), of.id).state,
        ])  # fmt: skip
        assert ended == now(run).state == RunState.APPLIED
        assert ends(run) == ["applied"] and told_of(run) == [dora.id]
        if isinstance(canceled, AppError):
            assert isinstance(canceled, RunStateConflict) and canceled.args_["state"] == "applied"


def test_a_cancel_against_the_claim_ends_the_run_or_reaches_its_runner(dora: User, together: Together) -> None:
    for number in range(15):
        run = rows.run(rows.workspace(dora, f"web{number}"), dora, RunState.PLAN_QUEUED, fence=0)
        claim, _ = together([
            lambda uow, of=run: run_execution.claim(uow, of.task_id),
            lambda uow, of=run: runs.cancel(uow, Actor.of(dora, ""), of.id),
        ])  # fmt: skip
        after = now(run)
        if claim is None:
            assert (after.state, ends(run)) == (RunState.CANCELED, ["canceled"])
        else:
            assert (after.state, ends(run)) == (RunState.PLANNING, []) and after.cancel_requested_at is not None


def test_the_end_of_one_run_and_a_new_request_begin_one_next_run(dora: User, together: Together) -> None:
    for number in range(15):
        workspace = rows.workspace(dora, f"web{number}")
        first, waits = rows.run(workspace, dora, RunState.APPLYING), rows.run(workspace, dora, RunState.PENDING, 0)

        def ask(uow: UnitOfWork, of: Workspace = workspace) -> None:
            uow.session.add(Run(task_id=UUID(int=of.id), workspace_id=of.id, created_by_id=dora.id, kind=RunKind.CHANGE, intent={}, targets=[], names=[]))
            uow.session.flush()
            runs.promote(uow, of.id)

        together([lambda uow, of=first: run_execution.end(uow, of.id, of.fence, RunState.ERRORED, {}).id, ask])
        with unit_of_work() as uow:
            states = list(uow.session.scalars(select(Run.state).where(Run.workspace_id == workspace.id).order_by(Run.id)))
        assert states == [RunState.ERRORED, RunState.PLAN_QUEUED, RunState.PENDING], waits.id


# ---------------------------------------------------------------- the last of something
@pytest.fixture
def actor(dora: User, cluster: Cluster) -> Actor:
    with unit_of_work() as uow:
        uow.session.add(Project(name="default"))
    return Actor.of(dora, "")


def small(cluster: Cluster, addresses: int) -> None:
    """A network called `tiny` with so many addresses."""
    with unit_of_work() as uow:
        uow.session.add(Network(
            cluster_id=cluster.id, name="tiny", bridge="vmbr1", vlan=77, cidr="10.77.0.0/24", gateway="10.77.0.1",
            range_low="10.77.0.10", range_high=f"10.77.0.{9 + addresses}", dns_servers=[],
        ))  # fmt: skip


def batch(actor: Actor, name: str, network: str | None) -> Work:
    body = {"name": name, "template": "debian-12", "memory_mib": 512, "count": 2} | ({"networks": [{"network": network}]} if network else {})
    return lambda uow: servers.create(uow, actor, body).run.id


def leaves_as_it_was() -> None:
    """Remove what the round made."""
    with unit_of_work() as uow:
        for table in (Reservation, SlotHolder, Server, RunEvent, Run, Workspace):
            uow.session.execute(delete(table))


@pytest.mark.parametrize("scarce", ["addresses", "vmids"])
def test_of_two_batches_for_the_last_ones_one_is_made_and_the_other_refused(
    actor: Actor, cluster: Cluster, together: Together, scarce: str
) -> None:
    if scarce == "addresses":
        small(cluster, 2)
    else:
        with unit_of_work() as uow:
            uow.session.execute(update(Cluster).values(vmid_low=8000, vmid_high=8001))
    code = {"addresses": ("networks.0.network", "addresses_exhausted"), "vmids": ("count", "vmids_exhausted")}[scarce]
    for _ in range(20):
        answers = together([batch(actor, name, "tiny" if scarce == "addresses" else None) for name in ("left", "right")])
        [made] = [a for a in answers if not isinstance(a, AppError)]
        [refused] = [a for a in answers if isinstance(a, AppError)]
        assert isinstance(refused, Invalid), refused
        assert [(e.field, e.code) for e in refused.errors] == [code]
        with unit_of_work() as uow:
            assert list(uow.session.scalars(select(Run.id))) == [made]
            own = set(uow.session.scalars(select(Server.id)))
            assert len(own) == 2 and set(uow.session.scalars(select(Reservation.server_id))) == own
            assert uow.session.scalar(select(func.count()).select_from(Reservation)) == 4
        leaves_as_it_was()


def test_a_crowd_gets_the_lowest_numbers_and_nobody_loses_his_to_another(actor: Actor, cluster: Cluster, together: Together) -> None:
    small(cluster, 100)
    body = {"template": "debian-12", "memory_mib": 512, "networks": [{"network": "tiny"}]}
    for number in range(5):
        together([lambda uow, n=n, r=number: servers.create(uow, actor, body | {"name": f"crowd-{r}-{n}"}) for n in range(12)])
    with unit_of_work() as uow:
        ids = sorted(uow.session.scalars(select(Run.id)))
        vmids = sorted(uow.session.scalars(select(Server.vmid)))
        addresses = set(uow.session.scalars(select(Reservation.value).where(Reservation.kind == "ip")))
    # Each look draws an id: who had looked twice would have left a gap.
    assert len(ids) == 60 and ids == list(range(ids[0], ids[0] + 60))
    assert vmids == list(range(vmids[0], vmids[0] + 60))
    assert addresses == {f"10.77.0.{n}" for n in range(10, 70)}


def test_a_number_is_seen_to_be_taken_that_was_free_when_the_statement_began(cluster: Cluster) -> None:
    # The statement waits in its middle until the other transaction has committed.
    look = text("""
with waited as materialized (select pg_advisory_xact_lock(4711)), seen as materialized (
    select exists (select 1 from reservation where value = '4711') as before from waited
) select before, reserved_by_now(:cluster, 'vmid', '', '4711') from seen
""")
    answers: list[Any] = []
    engine = db.engine

    def ask() -> None:
        with engine.connect() as conn:
            answers.append(tuple(conn.execute(look, {"cluster": cluster.id}).one()))

    asks = threading.Thread(target=ask)
    with engine.connect() as door, door.begin(), Session(engine) as taker:
        door.execute(text("select pg_advisory_xact_lock(4711)"))
        asks.start()
        eventually(lambda: _waits(door), what="the statement waits")
        taker.add(Reservation(cluster_id=cluster.id, kind="vmid", scope="", value="4711"))
        taker.commit()
    asks.join(30)
    assert answers == [(False, True)]


def _waits(conn: Connection) -> bool:
    return bool(conn.scalar(text("select exists (select 1 from pg_locks where locktype = 'advisory' and objid = 4711 and not granted)")))


# ---------------------------------------------------------------- two beats
def bells() -> int:
    return broker.queue_length(Queue.TERRAFORM) or 0


@pytest.fixture
def trouble(dora: User) -> dict[str, Run]:
    """One run for each rule of the sweeper, and things that ended runs still hold."""
    made = {
        state: rows.run(rows.workspace(dora, f"web-{n}"), dora, RunState(state))
        for n, state in enumerate(["pending", "plan_queued", "planning", "planned", "apply_queued", "applying", "applied"])
    }
    for state in ("planning", "applying"):
        rows.lease(made[state], 60)
    long_ago = func.clock_timestamp() - func.make_interval(0, 0, 0, 2)
    with unit_of_work() as uow:
        uow.session.execute(update(Run).values(bell_at=long_ago, planned_at=long_ago, progressed_at=long_ago, started_at=long_ago))
        uow.session.add(SlotHolder(run_id=made["applied"].id, fence=1, resource="node:1:pve1", taken=1))
        uow.session.execute(update(Server).where(Server.workspace_id == made["applied"].workspace_id).values(busy_run_id=made["applied"].id))
    return made


EFFECTS = {
    "pending": ["plan_queued"], "plan_queued": [], "planning": ["stalled", "runner_lost"], "planned": ["discarded"],
    "apply_queued": [], "applying": ["stalled", "runner_lost"], "applied": [],
}  # fmt: skip


def swept_once(trouble: dict[str, Run]) -> None:
    assert {state: sorted(happened(run)) for state, run in trouble.items()} == {s: sorted(e) for s, e in EFFECTS.items()}
    # Of the one that begins, the two that wait and the two whose runner is dead.
    assert bells() == 5
    assert len(told_of(trouble["planned"])) == 1
    with unit_of_work() as uow:
        assert uow.session.scalar(select(func.count()).select_from(SlotHolder)) == 0
        assert uow.session.scalar(select(func.count()).select_from(Outbox)) == 0
        busy = select(Server.busy_run_id).where(Server.busy_run_id.is_not(None))
        assert list(uow.session.scalars(busy)) == [trouble["pending"].id]


def test_two_beats_one_after_the_other_do_nothing_twice(trouble: dict[str, Run]) -> None:
    for _ in range(3):
        sweeper.tick()
        swept_once(trouble)


def test_two_sweepers_at_the_same_moment_do_nothing_twice(trouble: dict[str, Run], together: Together) -> None:
    assert together([lambda uow: sweeper.tick()] * 4) == [None] * 4
    swept_once(trouble)


def test_two_sweepers_that_pass_the_door_together_do_nothing_twice(trouble: dict[str, Run], together: Together) -> None:
    """The door is shut for a moment only: the rules themselves must bear company."""
    for rule in (sweeper.promote_pending, sweeper.ring_queued, sweeper.resume_dead, sweeper.mark_stalled, sweeper.expire_planned, sweeper.free_leftovers):
        assert together([rule] * 4) == [None] * 4
    swept_once(trouble)


def test_an_outbox_row_that_two_sweepers_see_is_sent_and_forgotten(dora: User, together: Together) -> None:
    run = rows.run(rows.workspace(dora), dora, RunState.PLAN_QUEUED)
    with unit_of_work() as uow:
        payload = {"task": TaskName.RUN.value, "args": [str(run.task_id)], "task_id": str(run.task_id)}
        uow.session.add(Outbox(kind="bell", payload=payload, created_at=func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 1)))
    together([lambda uow: outbox.sweep()] * 4)
    # Twice is allowed, a second bell loses its claim; never is not.
    assert bells() >= 1
    with unit_of_work() as uow:
        assert uow.session.scalar(select(func.count()).select_from(Outbox)) == 0


# ---------------------------------------------------------------- bells that come late, twice, in another order, or never
def test_a_bell_for_what_is_not_to_be_begun_changes_nothing(dora: User) -> None:
    workspace = rows.workspace(dora)
    others = [rows.run(workspace, dora, state, fence=2) for state in (*FINAL, RunState.PENDING)]
    live = rows.run(rows.workspace(dora, "live"), dora, RunState.APPLYING, fence=2)
    rows.lease(live, 0)
    waits = rows.run(rows.workspace(dora, "asked"), dora, RunState.PLANNED, fence=2)
    for _ in range(2):
        for run in (*others, live, waits):
            execute_run.run(str(run.task_id))
        execute_run.run(str(UUID(int=4711)))
    for run in (*others, live, waits):
        assert (now(run).state, now(run).fence, happened(run)) == (run.state, 2, [])


def test_bells_in_the_wrong_order_begin_the_runs_in_the_right_one(dora: User) -> None:
    workspace = rows.workspace(dora)
    first, second = rows.run(workspace, dora, RunState.PLAN_QUEUED, 0), rows.run(workspace, dora, RunState.PENDING, 0)

    def ring(run: Run) -> int | None:
        with unit_of_work() as uow:
            claim = run_execution.claim(uow, run.task_id)
        return claim.fence if claim else None

    assert [ring(second), ring(first), ring(second), ring(first)] == [None, 1, None, None]
    with unit_of_work() as uow:
        run_execution.end(uow, first.id, 1, RunState.ERRORED, {})
    assert [ring(first), ring(second), ring(second)] == [None, 1, None]


def test_a_run_whose_bell_was_lost_with_all_of_redis_is_rung_again(dora: User, store: Any) -> None:
    run = rows.run(rows.workspace(dora), dora, RunState.PENDING, 0)
    with unit_of_work() as uow:
        runs.promote(uow, run.workspace_id)
    assert bells() == 1
    store.flushdb()
    sweeper.tick()
    assert bells() == 0, "not before its time"
    with unit_of_work() as uow:
        uow.session.execute(update(Run).values(bell_at=func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, 11)))
    sweeper.tick()
    sweeper.tick()
    assert bells() == 1
    assert now(run).state == RunState.PLAN_QUEUED


# ---------------------------------------------------------------- somebody who is not there any more
def test_a_run_of_a_deactivated_user_does_not_begin(dora: User, make_user: Make) -> None:
    anna = Actor.of(make_user("administrator"), "")
    run = rows.run(rows.workspace(dora), dora, RunState.PLAN_QUEUED, 0)
    with unit_of_work() as uow:
        users.deactivate(uow, anna, dora.id)
    with unit_of_work() as uow:
        assert run_execution.claim(uow, run.task_id) is None
    after = now(run)
    assert (after.state, after.fence, (after.error or {})["code"]) == (RunState.ERRORED, 0, "requester_inactive")
    assert (after.error or {})["args"] == {"user": "dora"} and ends(run) == ["errored"]


def test_a_plan_that_somebody_else_approved_is_applied_without_its_requester(dora: User, olga: User) -> None:
    run = rows.run(rows.workspace(dora), dora, RunState.PLANNED)
    with unit_of_work() as uow:
        runs.approve(uow, Actor.of(olga, ""), run.id)
        uow.session.execute(update(User).where(User.id == dora.id).values(active=False))
    with unit_of_work() as uow:
        assert run_execution.claim(uow, run.task_id) is not None


def test_a_create_that_is_refused_so_gives_back_what_it_reserved(actor: Actor) -> None:
    with unit_of_work() as uow:
        run = servers.create(uow, actor, {"name": "late", "template": "debian-12", "memory_mib": 512, "count": 2}).run
        uow.session.execute(update(User).values(active=False))
    with unit_of_work() as uow:
        assert run_execution.claim(uow, run.task_id) is None
        assert uow.session.scalar(select(func.count()).select_from(Reservation)) == 0
        assert list(uow.session.scalars(select(Server.id).where(Server.deleted_at.is_(None)))) == []


@pytest.mark.parametrize("table", [User, Project])
def test_a_user_and_a_project_that_runs_belong_to_cannot_be_removed(dora: User, table: type[User] | type[Project]) -> None:
    rows.run(rows.workspace(dora), dora)
    with pytest.raises(IntegrityError), unit_of_work() as uow:
        uow.session.execute(delete(table))
