"""A run under its runner: claim, fence, log, plan, apply, end. Every write of a runner passes `guard` first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.adapters import crypto
from app.domain import plan_bounds
from app.domain.approval import ASKED, Rule
from app.domain.plan_bounds import Planned
from app.domain.run_activity import done_of, finished
from app.domain.run_state import GOOD, LEASE_DEAD_S, MAX_RESUMES, QUEUED, RUNNING, ApplyMode, RunKind, RunState
from app.domain.tasks import TaskName
from app.errors import Fenced
from app.models import PlanChange, Run, RunLease, RunLog, SavedPlan, StateVersion, User
from app.services import approvals, pause, run_settlement, runs, slots
from app.services.run_settlement import Ended, Seen
from app.services.uow import UnitOfWork


@dataclass(frozen=True)
class Claim:
    """A run claimed under a fence; `resumed` when a former runner held it."""

    run_id: int
    fence: int
    resumed: bool
    origin: dict[str, str] = field(default_factory=dict)
    task_id: str = ""


def claim(uow: UnitOfWork, task_id: UUID) -> Claim | None:
    """Claim a run: None when it is not free (a second delivery, a live runner, an end, no slot, runs are paused)."""
    run = uow.session.scalar(select(Run).where(Run.task_id == task_id).with_for_update(key_share=True))
    if run is None or run.state not in QUEUED | RUNNING or pause.paused(uow.session):
        return None
    resumed = run.state in RUNNING
    if resumed:
        # A second statement: a subselect in the first would read the snapshot from before the row lock.
        if lease_is_fresh(uow.session, run):
            return None
        run.resumes += 1
        if run.resumes > MAX_RESUMES:
            run.error = {"code": "resumed_too_often", "args": {"times": MAX_RESUMES}, "detail": ""}
            run.fence += 1
            run_settlement.settle_ended(uow, run, None)
            runs.transition(uow, run, RunState.ERRORED)
            return None
    elif why := unanswered(uow.session, run):
        run.error = {**why, "detail": ""}
        run_settlement.drop_unmade(uow, run)
        runs.transition(uow, run, RunState.ERRORED, error=run.error)
        return None
    elif run.state == RunState.APPLY_QUEUED and not slots.take(uow, run, run.fence + 1):
        runs.touch(uow, run)  # the page says what it waits for
        return None
    run.fence += 1
    if resumed:
        slots.move(uow, run, run.fence)
    uow.session.add(RunLease(run_id=run.id, fence=run.fence, renewed_at=func.clock_timestamp()))
    new = {RunState.PLAN_QUEUED: RunState.PLANNING, RunState.APPLY_QUEUED: RunState.APPLYING}.get(run.state, run.state)
    runs.transition(uow, run, new, resumed=resumed)
    return Claim(run.id, run.fence, resumed, dict(run.origin or {}), str(run.task_id))


def unanswered(session: Session, run: Run) -> dict[str, Any] | None:
    """Return why nobody answers for the run ({"code", "args"}): who approved it, or else asked for it, was deactivated."""
    user = session.get_one(User, run.approved_by_id or run.created_by_id, populate_existing=True)
    return None if user.active else {"code": "requester_inactive", "args": {"user": user.username}}


def lease_is_fresh(session: Session, run: Run) -> bool:
    """True while the run's present runner was heard of within LEASE_DEAD_S."""
    fresh = select(RunLease.fence).where(
        RunLease.run_id == run.id, RunLease.fence == run.fence,
        RunLease.renewed_at > func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, LEASE_DEAD_S),
    )  # fmt: skip
    return session.scalar(fresh) is not None


@dataclass(frozen=True)
class FormerLease:
    """Where a former runner of a run was; `given_up` when it said that it leaves."""

    pid: int
    pid_start: int | None
    boot_id: str | None
    host: str
    given_up: bool


def former_leases(uow: UnitOfWork, run_id: int, fence: int) -> list[FormerLease]:
    """Return the leases of the run's former runners, oldest first."""
    rows = uow.session.scalars(
        select(RunLease).where(RunLease.run_id == run_id, RunLease.fence < fence, RunLease.pid.is_not(None)).order_by(RunLease.fence)
    )
    return [FormerLease(r.pid or 0, r.pid_start, r.boot_id, r.host, r.renewed_at.timestamp() <= 0) for r in rows]


def release(uow: UnitOfWork, claimed: Claim) -> None:
    """Let a claim lapse at once, when its runner could not be started: the sweeper rings again."""
    lease = uow.session.get(RunLease, (claimed.run_id, claimed.fence))
    if lease is not None:
        lease.renewed_at = func.to_timestamp(0)


def lost(uow: UnitOfWork, claimed: Claim) -> bool:
    """The runner of a claim is dead for sure: let another one begin at once. False when the run needs none."""
    run = runs.locked(uow, claimed.run_id)
    if run.fence != claimed.fence or run.state not in RUNNING:
        return False
    runs.add_event(uow, run, f"runner_lost:{run.fence}", "runner_lost")
    release(uow, claimed)
    run.bell_at = uow.session.scalar(select(func.clock_timestamp()))
    uow.ring(TaskName.RUN, [str(run.task_id)], run.task_id)
    return True


def leave(uow: UnitOfWork, claimed: Claim) -> None:
    """Give a run up so that another runner goes on at once; that is no failure and does not count as one."""
    run = guard(uow, claimed.run_id, claimed.fence)
    run.resumes -= 1
    runs.add_event(uow, run, f"left:{claimed.fence}", "left")
    release(uow, claimed)


def guard(uow: UnitOfWork, run_id: int, fence: int) -> Run:
    """Lock the run's row; the first statement of every writing transaction of a runner. Raises Fenced."""
    run = runs.locked(uow, run_id)
    if run.fence != fence or run.state not in RUNNING:
        raise Fenced(f"fence {fence} of run {run_id} is no longer ours ({run.state.value}, {run.fence})")
    return run


def note(uow: UnitOfWork, run_id: int, fence: int, name: str, **detail: Any) -> None:
    """Write one line of the run's timeline."""
    run = guard(uow, run_id, fence)
    runs.add_event(uow, run, f"{name}:{fence}:{detail.pop('key', '')}", name, **detail)


@dataclass(frozen=True)
class LogPiece:
    """Readable text made from the bytes of a phase's output that begin at `start`; counts of servers done so far.

    `of_fence` is the former runner's, when its unsaved output is taken in.
    """

    phase: str
    start: int
    text: str
    raw_length: int = 0
    of_fence: int | None = None
    done: frozenset[str] | None = None  # slugs of an apply that Terraform is finished with, those of before included
    total: int | None = None
    moved: bool = False  # it tells of something new, not just of waiting


def append_log(uow: UnitOfWork, run_id: int, fence: int, piece: LogPiece) -> dict[str, Any] | None:
    """Append to the run's log; returns what the `log` event should carry, None when the piece is there already."""
    run = guard(uow, run_id, fence)
    if not piece.text:
        return None  # it would stand at the offset of the next one
    length, lines = len(piece.text.encode()), piece.text.count("\n")
    added = uow.session.execute(
        insert(RunLog)
        .values(
            run_id=run_id, fence=piece.of_fence or fence, phase=piece.phase, start=piece.start, raw_length=piece.raw_length,
            log_offset=run.log_bytes, length=length,
            first_line=run.log_lines + 1, text=piece.text,
        )
        .on_conflict_do_nothing(index_elements=["run_id", "fence", "phase", "start"])
        .returning(RunLog.id)
    ).first()  # fmt: skip
    if added is None:
        return None
    offset = run.log_bytes
    run.log_bytes += length
    run.log_lines += lines
    if piece.moved:
        _moved(uow, run)
    if piece.done is not None and (piece.done != done_of(run.activity) or piece.total != run.progress_total):
        run.progress_done, run.progress_total = len(piece.done), piece.total or run.progress_total
        # With the count, not at the next look at Proxmox: a page that says "3 of 6" shows which.
        run.activity = run.activity | finished(piece.done)
        runs.touch(uow, run)
    return {"run": run_id, "offset": offset, "bytes": length, "lines": run.log_lines}


def set_activity(uow: UnitOfWork, run_id: int, fence: int, activity: Mapping[str, Any]) -> None:
    """Show what Proxmox works on for the run, by slug; a percentage that grows is movement."""
    run = guard(uow, run_id, fence)
    if any(now.get("percent") != (run.activity.get(slug) or {}).get("percent") for slug, now in activity.items()):
        _moved(uow, run)
    # A look may be older than what Terraform has said since.
    run.activity = dict(activity) | finished(done_of(run.activity))
    runs.touch(uow, run)


def _moved(uow: UnitOfWork, run: Run) -> None:
    run.progressed_at = func.clock_timestamp()
    if run.stalled_at is not None:
        runs.add_event(uow, run, f"moving:{run.stalled_at.timestamp()}", "moving")
        run.stalled_at = None
        runs.touch(uow, run)


def logged_until(uow: UnitOfWork, run_id: int, of_fence: int, phase: str) -> int:
    """Return how much of a phase's output stands in the log, in bytes of the output."""
    end = select(func.max(RunLog.start + RunLog.raw_length)).where(
        RunLog.run_id == run_id, RunLog.fence == of_fence, RunLog.phase == phase
    )
    return int(uow.session.scalar(end) or 0)


def allowed(kind: RunKind, adopting: bool) -> frozenset[str]:
    """Actions a run may do to the servers it named without a person."""
    own = {RunKind.CREATE: {"create"}, RunKind.CHANGE: {"update"}, RunKind.DELETE: {"delete"}, RunKind.ROLLBACK: set()}[kind]
    return frozenset(own | ({"import", "update"} if adopting and kind in (RunKind.CREATE, RunKind.CHANGE) else set()))


def verdict(run: Run, plan: Sequence[Planned], former: Sequence[Planned], adopting: bool, rule: Rule) -> dict[str, Any] | None:
    """Return why the plan needs a person ({"code", "args"}), or None when it may go on alone.

    `former` is the run's plan before this one. When a person approved it, a resume and a new plan of a newer state must
    stay within it; when it went on alone, what lies within it is nothing new to the project's policy either.
    """
    beyond = plan_bounds.beyond(plan, former)
    more = beyond if run.approved_at is not None else None
    if run.approved_at is not None and more is None:
        return None
    if run.kind == RunKind.ROLLBACK and more is None:
        return {"code": "state_rolled_back", "args": {}}
    may = allowed(run.kind, adopting)
    for change in plan:
        if change.slug not in run.targets:
            return {"code": "touches_unnamed", "args": {"server": change.name, "action": change.action}}
        if change.action not in may:
            return {"code": "destroys_unasked" if change.action in ("delete", "replace") else "does_more",
                    "args": {"server": change.name, "action": change.action}}  # fmt: skip
    if more is not None:
        return {"code": "beyond_approved", "args": {"server": more.name}}
    if run.apply_started_at is None or beyond is not None:
        if why := approvals.reason(rule, run.kind, [change.action for change in plan]):
            return why
    return None if run.apply_mode == ApplyMode.AUTO else {"code": ASKED, "args": {}}


def store_plan(
    uow: UnitOfWork, run_id: int, fence: int, plan: Sequence[Planned], body: bytes, sha256: str, serial: int | None
) -> Run:
    """Store the plan's changes and its file under the fence."""
    run = guard(uow, run_id, fence)
    for change in plan:
        uow.session.execute(
            insert(PlanChange)
            .values(
                run_id=run_id, fence=fence, address=change.address, slug=change.slug, name=change.name,
                action=change.action, reason=change.reason, attributes=list(change.attributes),
            )
            .on_conflict_do_update(
                index_elements=["run_id", "fence", "address"],
                set_={"action": change.action, "reason": change.reason, "attributes": list(change.attributes)},
            )
        )  # fmt: skip
    uow.session.execute(
        insert(SavedPlan)
        .values(run_id=run_id, fence=fence, sha256=sha256, body=crypto.seal(body), state_serial=serial)
        .on_conflict_do_update(
            index_elements=["run_id", "fence"], set_={"sha256": sha256, "body": crypto.seal(body), "state_serial": serial}
        )
    )
    tally = {"add": 0, "change": 0, "remove": 0, "import": 0}
    for change in plan:
        for key in {"create": ["add"], "update": ["change"], "delete": ["remove"], "replace": ["add", "remove"], "import": ["import"]}.get(change.action, []):
            tally[key] += 1
    run.plan_summary = tally
    run.progress_total = len(run.targets)
    run.progress_done = len(set(run.targets) - {c.slug for c in plan})
    return run


@dataclass(frozen=True)
class PlanFile:
    """A stored plan: `serial` is the state it was made from, `current_serial` the newest state's."""

    body: bytes
    sha256: str
    serial: int | None
    current_serial: int | None
    changes: list[Planned]


def approved_plan(uow: UnitOfWork, run: Run) -> PlanFile | None:
    """Return the newest stored plan of the run with its changes."""
    saved = uow.session.scalar(select(SavedPlan).where(SavedPlan.run_id == run.id).order_by(SavedPlan.fence.desc()).limit(1))
    if saved is None:
        return None
    current = uow.session.scalar(
        select(StateVersion.serial).where(StateVersion.workspace_id == run.workspace_id).order_by(StateVersion.id.desc()).limit(1)
    )
    rows = uow.session.scalars(select(PlanChange).where(PlanChange.run_id == run.id, PlanChange.fence == saved.fence))
    changes = [Planned(r.address, r.slug, r.name, r.action, r.reason, r.attributes) for r in rows]
    return PlanFile(crypto.unseal(saved.body), saved.sha256, saved.state_serial, current, changes)


def go_on(uow: UnitOfWork, run: Run, fence: int) -> bool:
    """From a plan that needs nobody straight to the apply; False when all slots are taken (the run waits then)."""
    if run.state == RunState.APPLYING:
        return True
    runs.transition(uow, run, RunState.PLANNED)
    if not slots.take(uow, run, fence):
        runs.transition(uow, run, RunState.APPLY_QUEUED)
        run.waiting_for = slots.reason(uow, run)
        runs.touch(uow, run)
        return False
    runs.transition(uow, run, RunState.APPLYING)
    return True


def wait_for_person(uow: UnitOfWork, run: Run, why: Mapping[str, Any]) -> None:
    """Stop at `planned` until somebody approves or discards; what others could use meanwhile is given back."""
    slots.give_back(uow, run)
    run.guard = dict(why)
    run.approved_at = None
    run.approved_by_id = None
    runs.transition(uow, run, RunState.PLANNED, guard=dict(why))


def end(
    uow: UnitOfWork, run_id: int, fence: int, state: RunState, seen: Mapping[str, Seen] | None, error: Mapping[str, Any] | None = None
) -> Run:
    """The last write of a runner: servers settled, the run's end, notifications, slots, the next run."""
    run = runs.locked(uow, run_id)
    if run.fence == fence and run.state == state:
        return run  # the answer to our commit was lost, the commit was not
    run = guard(uow, run_id, fence)
    if state in GOOD:
        run_settlement.settle_applied(uow, run, seen or {})
        run.progress_done = run.progress_total
        ended = Ended(list(run.names), [], list(run.names))
    else:
        ended = run_settlement.settle_ended(uow, run, seen)
    run.error = dict(error) if error else None
    run.result = {"servers": ended.there, "missing": ended.missing, "done": ended.done, "state": state.value}
    runs.transition(uow, run, state, error=run.error)
    return run
