"""Anything in any order: bells, claims, plans, cancels, decisions, dead runners, sweeps, beside a model of what must come of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import func, select, text

from app.domain.run_state import ACTIVE, FINAL, MAX_RESUMES, QUEUED, RUNNING, TRANSITIONS, RunState
from app.errors import Fenced, RunStateConflict
from app.extensions import db
from app.models import Notification, Run, RunEvent, RunLease, Server, SlotHolder, User, Workspace
from app.services import run_execution, runs, sweeper
from app.services.actor import Actor
from app.services.run_execution import LogPiece, Planned
from app.services.uow import unit_of_work
from tests.integration import rows

S = RunState


@dataclass
class Model:
    """What a run must be."""

    workspace: int
    state: RunState
    fence: int = 0
    fresh: bool = False
    resumes: int = 0
    asked: bool = False  # to cancel


class RunMachine(RuleBasedStateMachine):
    """Two workspaces and whatever happens to their runs."""

    admin: User

    def __init__(self) -> None:
        super().__init__()
        db.session.remove()  # what the last one read holds locks
        with unit_of_work() as uow:
            uow.session.execute(text('truncate workspace, server, run, notification, outbox restart identity cascade'))
        self.spaces: list[Workspace] = [rows.workspace(self.admin, name) for name in ("one", "two")]
        self.runs: dict[int, Model] = {}
        self.tasks: dict[int, Any] = {}
        self.fences: dict[int, list[int]] = {}
        self.actor = Actor.of(self.admin, "192.0.2.1")

    # ---- helpers
    def some(self, number: int) -> int:
        return sorted(self.runs)[number % len(self.runs)]

    def line(self, workspace: int) -> None:
        """The oldest waiting run begins when nothing is active."""
        mine = {k: m for k, m in self.runs.items() if m.workspace == workspace}
        if not any(m.state in ACTIVE for m in mine.values()):
            waiting = [k for k, m in sorted(mine.items()) if m.state == S.PENDING]
            if waiting:
                self.runs[waiting[0]].state = S.PLAN_QUEUED

    def ended(self, run_id: int, state: RunState) -> None:
        self.runs[run_id].state = state
        self.line(self.runs[run_id].workspace)

    # ---- what people and messages do
    @rule(which=st.integers(0, 1))
    def request(self, which: int) -> None:
        space = self.spaces[which]
        run = rows.run(space, self.admin, S.PENDING, 0)
        with unit_of_work() as uow:
            runs.promote(uow, space.id)
        self.runs[run.id], self.tasks[run.id], self.fences[run.id] = Model(space.id, S.PENDING), run.task_id, []
        self.line(space.id)

    @precondition(lambda self: self.runs)
    @rule(number=st.integers(0, 50), times=st.integers(1, 3))
    def bell(self, number: int, times: int) -> None:
        """A message comes: late, early, or several times."""
        run_id = self.some(number)
        for _ in range(times):
            model = self.runs[run_id]
            with unit_of_work() as uow:
                claim = run_execution.claim(uow, self.tasks[run_id])
            free = model.state in QUEUED or (model.state in RUNNING and not model.fresh)
            if not free:
                assert claim is None
                continue
            if model.state in RUNNING:
                model.resumes += 1
                if model.resumes > MAX_RESUMES:
                    model.fence += 1
                    assert claim is None
                    self.ended(run_id, S.ERRORED)
                    continue
            assert claim is not None and claim.resumed == (model.state in RUNNING)
            model.state = {S.PLAN_QUEUED: S.PLANNING, S.APPLY_QUEUED: S.APPLYING}.get(model.state, model.state)
            assert claim.fence > model.fence
            model.fence, model.fresh = claim.fence, True
            self.fences[run_id].append(claim.fence)

    @precondition(lambda self: any(m.state in RUNNING for m in self.runs.values()))
    @rule(number=st.integers(0, 50))
    def the_runner_dies(self, number: int) -> None:
        running = sorted(k for k, m in self.runs.items() if m.state in RUNNING)
        run_id = running[number % len(running)]
        db.session.rollback()
        rows.lease(db.session.get_one(Run, run_id), age_s=60)
        self.runs[run_id].fresh = False

    # ---- what runners do, also those that should be dead
    def _as_runner(self, number: int, old: bool, work: Callable[[Any, int, int], None]) -> tuple[int, bool]:
        run_id = self.some(number)
        model = self.runs[run_id]
        fence = self.fences[run_id][0] if old and self.fences[run_id] else model.fence
        may = fence == model.fence and model.state in RUNNING
        try:
            with unit_of_work() as uow:
                work(uow, run_id, fence)
        except Fenced:
            assert not may
            return run_id, False
        except RunStateConflict:
            assert may
            return run_id, False
        assert may
        return run_id, True

    @precondition(lambda self: self.runs)
    @rule(number=st.integers(0, 50), old=st.booleans())
    def a_line_is_logged(self, number: int, old: bool) -> None:
        self._as_runner(number, old, lambda uow, run_id, fence: run_execution.append_log(uow, run_id, fence, LogPiece("plan", 0, "hello\n", 6)))

    @precondition(lambda self: self.runs)
    @rule(number=st.integers(0, 50), old=st.booleans(), ask=st.booleans())
    def a_plan_is_made(self, number: int, old: bool, ask: bool) -> None:
        def work(uow: Any, run_id: int, fence: int) -> None:
            change = Planned("a", "one", "one", "update")
            run = run_execution.store_plan(uow, run_id, fence, [change], b"plan", "0" * 64, 1)
            if ask:
                run_execution.wait_for_person(uow, run, {"code": "does_more", "args": {"server": "one", "action": "update"}})
            else:
                run_execution.go_on(uow, run, fence)

        run_id, done = self._as_runner(number, old, work)
        if done:
            self.runs[run_id].state = S.PLANNED if ask else S.APPLYING

    @precondition(lambda self: self.runs)
    @rule(number=st.integers(0, 50), old=st.booleans(), state=st.sampled_from([S.APPLIED, S.ERRORED, S.CANCELED, S.PLANNED_AND_FINISHED]))
    def a_runner_ends_it(self, number: int, old: bool, state: RunState) -> None:
        run_id = self.some(number)
        model = self.runs[run_id]
        fence = self.fences[run_id][0] if old and self.fences[run_id] else model.fence
        allowed = model.state in RUNNING and fence == model.fence and state in TRANSITIONS[model.state]
        # The answer to the commit was lost: the runner says it once more, to itself the same.
        for _ in range(2):
            repeated = model.state == state and fence == model.fence
            try:
                with unit_of_work() as uow:
                    run_execution.end(uow, run_id, fence, state, {})
            except (Fenced, RunStateConflict):
                assert not allowed and not repeated
                return
            assert allowed or repeated
            if model.state != state:
                self.ended(run_id, state)
            allowed = False

    # ---- what people decide
    def _decide(self, number: int, act: Callable[..., Any], may: Callable[[Model], bool], then: Callable[[int, Model], None]) -> None:
        run_id = self.some(number)
        model = self.runs[run_id]
        try:
            with unit_of_work() as uow:
                act(uow, self.actor, run_id)
        except RunStateConflict:
            assert not may(model)
            return
        assert may(model)
        then(run_id, model)

    @precondition(lambda self: self.runs)
    @rule(number=st.integers(0, 50))
    def approve(self, number: int) -> None:
        self._decide(number, runs.approve, lambda m: m.state == S.PLANNED, lambda _id, m: setattr(m, "state", S.APPLY_QUEUED))

    @precondition(lambda self: self.runs)
    @rule(number=st.integers(0, 50))
    def discard(self, number: int) -> None:
        self._decide(number, runs.discard, lambda m: m.state in (S.PLANNED, S.PENDING), lambda run_id, _m: self.ended(run_id, S.DISCARDED))

    @precondition(lambda self: self.runs)
    @rule(number=st.integers(0, 50))
    def cancel(self, number: int) -> None:
        def then(run_id: int, model: Model) -> None:
            model.asked = True
            if model.state not in RUNNING:
                self.ended(run_id, S.CANCELED)

        self._decide(number, runs.cancel, lambda m: m.state not in FINAL, then)

    @precondition(lambda self: self.runs)
    @rule(number=st.integers(0, 50))
    def stop(self, number: int) -> None:
        self._decide(number, runs.stop, lambda m: m.state in RUNNING and m.asked, lambda _id, _m: None)

    @rule(which=st.sampled_from([sweeper.promote_pending, sweeper.ring_queued, sweeper.resume_dead, sweeper.mark_stalled, sweeper.expire_planned,
                                 sweeper.forget_unmade, sweeper.free_leftovers]), times=st.integers(1, 2))  # fmt: skip
    def sweep(self, which: Callable[[Any], None], times: int) -> None:
        """Two sweepers, or one twice: nothing moves that was where it should be."""
        for _ in range(times):
            with unit_of_work() as uow:
                which(uow)

    # ---- what must always be true
    @invariant()
    def rows_are_what_the_model_says(self) -> None:
        db.session.rollback()
        for run in db.session.scalars(select(Run).execution_options(populate_existing=True)):
            model = self.runs[run.id]
            assert (run.state, run.fence) == (model.state, model.fence), run.id

    @invariant()
    def a_workspace_has_one_active_run_and_its_servers_are_busy_with_that(self) -> None:
        for space in self.spaces:
            active = [k for k, m in self.runs.items() if m.workspace == space.id and m.state in ACTIVE]
            assert len(active) <= 1
            busy = db.session.scalars(select(Server.busy_run_id).where(Server.workspace_id == space.id)).one()
            assert busy in {None, *active}

    @invariant()
    def an_end_is_told_once(self) -> None:
        for run_id, model in self.runs.items():
            ends = db.session.scalar(select(func.count()).select_from(RunEvent).where(RunEvent.run_id == run_id, RunEvent.name.in_(FINAL)))
            told = db.session.scalar(select(func.count()).select_from(Notification).where(Notification.event_key == f"run:{run_id}:end"))
            assert (ends, told) == ((1, 1) if model.state in FINAL else (0, 0)), run_id

    @invariant()
    def nothing_is_held_by_what_has_ended(self) -> None:
        held = select(func.count()).select_from(SlotHolder).join(Run, Run.id == SlotHolder.run_id).where(Run.state.in_(FINAL))
        assert db.session.scalar(held) == 0
        newest = select(RunLease.run_id, func.max(RunLease.fence)).group_by(RunLease.run_id)
        assert all(fence <= self.runs[run_id].fence for run_id, fence in db.session.execute(newest))


def test_any_order_of_events_leads_to_what_the_table_of_states_allows(make_user: Callable[..., Any]) -> None:
    machine = type("Machine", (RunMachine,), {"admin": make_user("administrator", "root")})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    )


@pytest.mark.parametrize("rule_", [sweeper.promote_pending, sweeper.ring_queued, sweeper.resume_dead])
def test_sweeping_twice_at_once_moves_a_run_once(make_user: Callable[..., Any], rule_: Callable[[Any], None]) -> None:
    admin: User = make_user("administrator", "root")
    workspace = rows.workspace(admin)
    run = rows.run(workspace, admin, {sweeper.promote_pending: S.PENDING, sweeper.ring_queued: S.PLAN_QUEUED}.get(rule_, S.APPLYING))
    with unit_of_work() as uow:
        uow.session.get_one(Run, run.id).bell_at = func.clock_timestamp() - text("interval '1 minute'")
    if rule_ is sweeper.resume_dead:
        rows.lease(run, age_s=60)
    with unit_of_work() as first:
        rule_(first)
        with unit_of_work() as second:
            second.session.execute(text("set local lock_timeout = '2s'"))
            if rule_ is not sweeper.promote_pending:  # that one waits for its line, and then finds nothing
                rule_(second)
    rung = db.session.scalar(select(func.count()).select_from(RunEvent).where(RunEvent.run_id == run.id))
    assert rung in (0, 1)
