"""Whatever comes in whatever order: a state machine over real rows, with a model of what must become of each run beside it.

Bells come late, twice or never; runners die, hang and wake up with an old fence; people press everything; the sweeper
ticks; Redis is flushed. After every step the rows are what the model says, and what must never be is not there.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import func, select, update

from app.domain.permissions import Role
from app.domain.plan_bounds import Planned
from app.domain.run_state import ACTIVE, FINAL, MAX_RESUMES, QUEUED, RUNNING, ApplyMode, RunKind, RunState, can_move
from app.errors import AppError, Fenced, RunStateConflict
from app.models import Cluster, Notification, Project, Run, RunEvent, RunLease, RunLog, Server, SlotHolder, StateVersion, User, Workspace
from app.services import run_execution, runs, states, sweeper
from app.services import settings as runtime
from app.services.actor import Actor
from app.services.run_execution import LogPiece
from app.services.uow import UnitOfWork, unit_of_work
from tests.integration import rows
from tests.integration.conftest import emptied

S = RunState
WORKSPACES, CLONES_AT_A_TIME = 2, 1
some = st.integers(0, 1 << 16)


@dataclass
class Model:
    """What a run must be like."""

    id: int
    task_id: Any
    workspace: int
    kind: RunKind
    state: RunState = S.PENDING
    fence: int = 0
    resumes: int = 0
    lease_dead: bool = False
    cancel: bool = False
    old: bool = False  # its plan has waited longer than plans may
    pieces: int = 0
    path: list[RunState] = field(default_factory=lambda: [S.PENDING])


@dataclass(frozen=True)
class Runner:
    """One that was started once; whether it still may write is the question."""

    run_id: int
    fence: int


class RunTable(RuleBasedStateMachine):
    """`store` is the tests' own client of Redis."""

    store: "redis.Redis"

    @initialize()
    def empty(self) -> None:
        emptied()
        self.model: dict[int, Model] = {}
        self.runners: list[Runner] = []
        self.slots: set[int] = set()
        self.serials: Counter[int] = Counter()
        self.highest: dict[int, int] = {}
        with unit_of_work() as uow:
            people = [User(username=name, role=role, password_hash="x") for name, role in (("dora", Role.DEVELOPER), ("olga", Role.OPERATOR))]  # noqa: S106
            uow.session.add_all([*people, Project(name="default"), Cluster(name="lab", endpoint="https://192.0.2.1:8006", auth_id="a@pve!b", secret=b"x")])
            runtime.write_value(uow.session, runtime.RUNTIME_KEY, {"slots_per_node": CLONES_AT_A_TIME})
        self.dora, self.olga = (Actor.of(person, "") for person in people)
        # A server's owner is told too: here somebody else than who asks.
        self.workspaces = [rows.workspace(people[1], f"web{n}").id for n in range(WORKSPACES)]
        with unit_of_work() as uow:
            uow.session.execute(update(Server).values(disks=[{"storage": "local", "size_gib": 1}]))
            uow.session.execute(update(Workspace).values(state_ever=False))

    # ------------------------------------------------------------ the model's own rules
    def to(self, run: Model, state: RunState) -> None:
        run.path.append(state)
        run.state = state
        if state in FINAL:
            self.slots.discard(run.id)
            self.next(run.workspace)

    def next(self, workspace: int) -> None:
        line = [r for r in self.model.values() if r.workspace == workspace]
        waiting = [r for r in line if r.state == S.PENDING]
        if waiting and not any(r.state in ACTIVE for r in line):
            self.to(min(waiting, key=lambda r: r.id), S.PLAN_QUEUED)

    def takes_slot(self, run: Model) -> bool:
        if run.kind != RunKind.CREATE:
            return True
        if len(self.slots - {run.id}) >= CLONES_AT_A_TIME:
            return False
        self.slots.add(run.id)
        return True

    def pick(self, number: int) -> Model:
        # Mostly of those that are not over: what is over is soon the most.
        among = [r for r in self.model.values() if r.state not in FINAL] if number % 4 else []
        return (among or list(self.model.values()))[(number >> 2) % len(among or self.model)]

    def runner(self, number: int) -> tuple[Runner, Model, bool]:
        # Mostly one of the last three: of one run, often.
        among = self.runners[-3:] if number % 4 else self.runners
        one = among[(number >> 2) % len(among)]
        run = self.model[one.run_id]
        return one, run, run.fence == one.fence and run.state in RUNNING

    def attempt(self, work: Any, *args: Any) -> Any:
        """Do something in a transaction of its own; returns the answer or the refusal."""
        try:
            with unit_of_work() as uow:
                return work(uow, *args)
        except AppError as exc:
            return exc

    # ------------------------------------------------------------ requests and bells
    @rule(number=some, kind=st.sampled_from([RunKind.CREATE, RunKind.CHANGE]), mode=st.sampled_from(ApplyMode))
    def request(self, number: int, kind: RunKind, mode: ApplyMode) -> None:
        workspace = self.workspaces[number % WORKSPACES]
        with unit_of_work() as uow:
            name = f"web{number % WORKSPACES}"
            run = Run(
                task_id=uuid4(), workspace_id=workspace, created_by_id=self.dora.user_id, kind=kind, apply_mode=mode,
                intent={"servers": {}}, targets=[name], names=[name],
            )  # fmt: skip
            uow.session.add(run)
            uow.session.flush()
            runs.add_event(uow, run, "requested", "requested")
            runs.promote(uow, workspace)
        self.model[run.id] = Model(run.id, run.task_id, workspace, kind)
        self.next(workspace)

    @precondition(lambda self: self.model)
    @rule(number=some)
    def bell(self, number: int) -> None:
        """The first, a doubled, a late or a forgotten one: the same call."""
        self.ring(self.pick(number))

    def ring(self, run: Model) -> None:
        claim = self.attempt(run_execution.claim, run.task_id)
        if run.state in QUEUED and (run.state == S.PLAN_QUEUED or self.takes_slot(run)):
            run.fence, run.lease_dead = run.fence + 1, False
            self.to(run, S.PLANNING if run.state == S.PLAN_QUEUED else S.APPLYING)
            assert (claim.fence, claim.resumed) == (run.fence, False)
        elif run.state in RUNNING and run.lease_dead:
            run.fence, run.resumes, run.lease_dead = run.fence + 1, run.resumes + 1, False
            if run.resumes > MAX_RESUMES:
                self.to(run, S.ERRORED)
                assert claim is None
                return
            self.to(run, run.state)
            assert (claim.fence, claim.resumed) == (run.fence, True)
        else:
            assert claim is None
            return
        self.runners.append(Runner(run.id, run.fence))

    # ------------------------------------------------------------ runners, living and dead
    @rule(number=some, kind=st.sampled_from([RunKind.CREATE, RunKind.CHANGE]))
    def all_goes_well_up_to_the_apply(self, number: int, kind: RunKind) -> None:
        self.request(number, kind, ApplyMode.AUTO)
        run = list(self.model.values())[-1]
        self.ring(run)
        if run.state == S.PLANNING:
            self.plan(self.runners[-1], run, True, ask=False)

    @precondition(lambda self: self.runners)
    @rule(number=some)
    def lease_lapses(self, number: int) -> None:
        self.lapse(self.runner(number)[0])

    def lapse(self, one: Runner) -> None:
        run = self.model[one.run_id]
        with unit_of_work() as uow:
            long_ago = func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, 60)
            uow.session.execute(update(RunLease).where(RunLease.run_id == one.run_id, RunLease.fence == one.fence).values(renewed_at=long_ago))
        run.lease_dead = run.lease_dead or one.fence == run.fence

    @precondition(lambda self: any(r.state in RUNNING for r in self.model.values()))
    @rule(number=some)
    def another_runner_takes_over(self, number: int) -> None:
        among = [r for r in self.model.values() if r.state in RUNNING]
        run = among[number % len(among)]
        self.lapse(Runner(run.id, run.fence))
        self.ring(run)

    @precondition(lambda self: self.runners)
    @rule(number=some, text=st.sampled_from(["one line\n", "두 줄\n", ""]))
    def runner_logs(self, number: int, text: str) -> None:
        one, run, may = self.runner(number)
        piece = LogPiece("apply", run.pieces * 100, text, len(text.encode()))
        for _ in range(2):  # the answer to the first was lost
            answer = self.attempt(run_execution.append_log, one.run_id, one.fence, piece)
            assert isinstance(answer, Fenced) is not may
        run.pieces += may and text != ""

    @precondition(lambda self: self.runners)
    @rule(number=some)
    def runner_saves_its_state(self, number: int) -> None:
        one, run, may = self.runner(number)
        serial = self.serials[run.workspace] + 1

        def save(uow: UnitOfWork) -> bool:
            run_execution.guard(uow, one.run_id, one.fence)
            return states.save(uow, run.workspace, one.run_id, one.fence, rows.state(serial, web={"of": one.fence}))

        for taken in (True, False):
            answer = self.attempt(save)
            assert answer is taken if may else isinstance(answer, Fenced)
        self.serials[run.workspace] += may

    @precondition(lambda self: self.runners)
    @rule(number=some, ask=st.booleans())
    def runner_plans(self, number: int, ask: bool) -> None:
        """Terraform's plan is there: it may go on alone, or a person is asked."""
        self.plan(*self.runner(number), ask)

    def plan(self, one: Runner, run: Model, may: bool, ask: bool) -> None:

        def decide(uow: UnitOfWork) -> str:
            row = run_execution.guard(uow, one.run_id, one.fence)
            plan = [Planned(f"server[{row.targets[0]}]", row.targets[0], row.targets[0], "update", None, [])]
            row = run_execution.store_plan(uow, one.run_id, one.fence, plan, b"plan", "0" * 64, None)
            if ask:
                run_execution.wait_for_person(uow, row, {"code": "asked_to_confirm", "args": {}})
                return "wait"
            return "go" if run_execution.go_on(uow, row, one.fence) else "slots"

        answer = self.attempt(decide)
        if not may:
            assert isinstance(answer, Fenced)
        elif ask:
            assert answer == "wait"
            self.slots.discard(run.id)
            run.old = False
            self.to(run, S.PLANNED)
        elif run.state == S.APPLYING:
            assert answer == "go"
        else:
            self.to(run, S.PLANNED)
            taken = self.takes_slot(run)
            assert answer == ("go" if taken else "slots")
            self.to(run, S.APPLYING if taken else S.APPLY_QUEUED)

    @precondition(lambda self: self.runners)
    @rule(number=some, end=st.sampled_from(sorted(FINAL)))
    def runner_ends(self, number: int, end: RunState) -> None:
        one, run, may = self.runner(number)
        repeated = run.fence == one.fence and run.state == end  # its own answer was lost
        for again in (False, True):
            answer = self.attempt(run_execution.end, one.run_id, one.fence, end, {})
            if not may and not repeated:
                assert isinstance(answer, Fenced)
            elif not repeated and not can_move(run.state, end):
                assert isinstance(answer, RunStateConflict), again
            else:
                assert answer.state == end
        if may and can_move(run.state, end):
            self.to(run, end)

    # ------------------------------------------------------------ people
    @precondition(lambda self: self.model)
    @rule(number=some)
    def approve(self, number: int) -> None:
        run = self.pick(number)
        answer = self.attempt(runs.approve, self.olga, run.id)
        assert isinstance(answer, RunStateConflict) is (run.state != S.PLANNED)
        if run.state == S.PLANNED:
            self.to(run, S.APPLY_QUEUED)

    @precondition(lambda self: self.model)
    @rule(number=some)
    def discard(self, number: int) -> None:
        run = self.pick(number)
        answer = self.attempt(runs.discard, self.dora, run.id)
        assert isinstance(answer, RunStateConflict) is (run.state not in (S.PLANNED, S.PENDING))
        if run.state in (S.PLANNED, S.PENDING):
            self.to(run, S.DISCARDED)

    @precondition(lambda self: self.model)
    @rule(number=some)
    def cancel(self, number: int) -> None:
        run = self.pick(number)
        answer = self.attempt(runs.cancel, self.dora, run.id)
        assert isinstance(answer, RunStateConflict) is (run.state in FINAL)
        if run.state in RUNNING:
            run.cancel = True
        elif run.state not in FINAL:
            self.to(run, S.CANCELED)

    @precondition(lambda self: self.model)
    @rule(number=some)
    def stop(self, number: int) -> None:
        run = self.pick(number)
        answer = self.attempt(runs.stop, self.olga, run.id)
        assert isinstance(answer, RunStateConflict) is not (run.state in RUNNING and run.cancel)

    # ------------------------------------------------------------ the sweeper, time and Redis
    @precondition(lambda self: self.model)
    @rule(number=some)
    def plan_grows_old(self, number: int) -> None:
        run = self.pick(number)
        with unit_of_work() as uow:
            week_ago = func.clock_timestamp() - func.make_interval(0, 0, 1)
            uow.session.execute(update(Run).where(Run.id == run.id).values(planned_at=week_ago, bell_at=week_ago))
        run.old = True

    @rule()
    def sweep(self) -> None:
        sweeper.tick()
        for workspace in self.workspaces:
            self.next(workspace)
        for run in self.model.values():
            if run.state == S.PLANNED and run.old:
                self.to(run, S.DISCARDED)

    @rule()
    def flush_redis(self) -> None:
        self.store.flushdb()

    # ------------------------------------------------------------ what must always hold
    @invariant()
    def rows_are_what_the_model_says(self) -> None:
        if not hasattr(self, "model"):
            return
        with unit_of_work() as uow:
            found = {run.id: run for run in uow.session.scalars(select(Run))}
            assert {i: (r.state, r.fence, r.resumes, r.cancel_requested_at is not None) for i, r in found.items() if r.state not in FINAL} == {
                i: (m.state, m.fence, m.resumes, m.cancel) for i, m in self.model.items() if m.state not in FINAL
            }  # fmt: skip
            assert {i: (r.state, r.fence) for i, r in found.items()} == {i: (m.state, m.fence) for i, m in self.model.items()}
        active = Counter(run.workspace_id for run in found.values() if run.state in ACTIVE)
        assert all(count == 1 for count in active.values()), "one active run a workspace"
        for run in found.values():
            assert run.fence >= self.highest.get(run.id, 0), "a fence never goes back"
            self.highest[run.id] = run.fence
            assert (run.finished_at is not None) is (run.state in FINAL)

    @invariant()
    def each_end_was_told_once(self) -> None:
        if not hasattr(self, "model"):
            return
        with unit_of_work() as uow:
            events = uow.session.execute(select(RunEvent.run_id, RunEvent.name).order_by(RunEvent.id)).all()
            told = Counter(uow.session.execute(select(Notification.event_key, Notification.user_id)).all())
        paths: dict[int, list[RunState]] = {i: [S.PENDING] for i in self.model}
        for run_id, name in events:
            if name in set(RunState):
                paths[run_id].append(RunState(name))
        assert paths == {i: m.path for i, m in self.model.items()}, "the timeline has every move"
        assert all(can_move(old, new) for path in paths.values() for old, new in zip(path, path[1:], strict=False))
        ended = [i for i, m in self.model.items() if m.state in FINAL]
        wanted = {(f"run:{i}:end", user): 1 for i in ended for user in (self.dora.user_id, self.olga.user_id)}
        assert {k: n for k, n in told.items() if k[0].endswith(":end")} == wanted

    @invariant()
    def nothing_of_an_old_fence_was_written(self) -> None:
        if not hasattr(self, "model"):
            return
        with unit_of_work() as uow:
            pieces = Counter(uow.session.scalars(select(RunLog.run_id)))
            sizes = dict(uow.session.execute(select(Run.id, Run.log_bytes)).all())
            logged = dict(uow.session.execute(select(RunLog.run_id, func.sum(RunLog.length)).group_by(RunLog.run_id)).all())
            serials = Counter(uow.session.scalars(select(StateVersion.workspace_id)))
        assert pieces == Counter({i: m.pieces for i, m in self.model.items() if m.pieces})
        assert sizes == {i: logged.get(i, 0) for i in self.model}
        assert serials == Counter({w: n for w, n in self.serials.items() if n})

    @invariant()
    def slots_are_held_by_who_works(self) -> None:
        if not hasattr(self, "model"):
            return
        with unit_of_work() as uow:
            held = list(uow.session.execute(select(SlotHolder.run_id, SlotHolder.fence)).all())
        assert {run_id for run_id, _ in held} == self.slots
        assert all(self.model[i].state == S.APPLYING and self.model[i].fence == fence for i, fence in held)


@pytest.mark.slow
def test_no_order_of_messages_deaths_and_people_breaks_the_run_table(store: "redis.Redis") -> None:
    machine = type("RunTableHere", (RunTable,), {"store": store})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40, stateful_step_count=50, deadline=None, database=None, print_blob=True,
            # Each attempt at a shorter example costs seconds here.
            phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
