"""Runs: the only writer of their states, and what people do with them (approve, discard, cancel, read)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import String, and_, cast, delete, exists, func, or_, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, joinedload

from app.domain.permissions import Permission
from app.domain.run_activity import working
from app.domain.run_state import ACTIVE, FINAL, QUEUED, RUNNING, RunKind, RunState, can_move
from app.domain.server_status import Severity
from app.domain.tasks import TaskName
from app.errors import Forbidden, NotFound, RunStateConflict
from app.log import get_logger
from app.models import PlanChange, Run, RunEvent, RunLog, Server, SlotHolder
from app.schemas.page import Page, decode_cursor, encode_cursor, like
from app.services import approvals, audit, bulk_results, notifications, workspaces
from app.services.actor import Actor
from app.services.batch import Batch
from app.services.uow import UnitOfWork

log = get_logger(__name__)
CANCEL_CHANNEL = "run_cancel"
WHOLE_LOG = 32 << 20


@dataclass(frozen=True)
class RunFilter:
    """`state` is a state, or one of open, waiting, running, failed; `server` a server's name, or a part of one."""

    state: str | None = None
    mine: bool = False
    server: str | None = None
    kind: RunKind | None = None


GROUPS: dict[str, frozenset[RunState]] = {
    "open": frozenset(RunState) - FINAL,
    "waiting": QUEUED | {RunState.PENDING},
    "running": RUNNING,
    "failed": frozenset({RunState.ERRORED}),
}


# ---------------------------------------------------------------- reading
def visible(query: Any, actor: Actor) -> Any:
    """Narrow a query over runs to what the actor may see: one's own, those on one's own servers, or all."""
    if actor.can(Permission.VIEW_ALL):
        return query
    own = exists().where(
        Server.workspace_id == Run.workspace_id, Server.owner_id == actor.user_id, Run.targets.op("?")(Server.slug)
    )
    return query.where(or_(Run.created_by_id == actor.user_id, own))


def get(session: Session, actor: Actor, run_id: int) -> Run:
    """Return a run with its creator and workspace. Raises NotFound."""
    query = visible(select(Run).where(Run.id == run_id), actor)
    run: Run | None = session.scalar(query.options(joinedload(Run.created_by), joinedload(Run.workspace), joinedload(Run.approved_by)))
    if run is None:
        raise NotFound(kind="run", name=str(run_id))
    return run


def by_task(session: Session, actor: Actor, task_id: UUID) -> Run | None:
    """Return the run behind a task id, if there is one and the actor may see it."""
    run: Run | None = session.scalar(visible(select(Run).where(Run.task_id == task_id), actor))
    return run


def list_page(session: Session, actor: Actor, wanted: RunFilter, limit: int = 50, cursor: str | None = None) -> Page[Run]:
    """Return runs, newest first, with their creators."""
    query = visible(select(Run), actor).options(joinedload(Run.created_by))
    if wanted.state:
        states = GROUPS.get(wanted.state) or {s for s in RunState if s.value == wanted.state}
        query = query.where(Run.state.in_(states))
    if wanted.mine:
        query = query.where(Run.created_by_id == actor.user_id)
    if wanted.kind:
        query = query.where(Run.kind == wanted.kind)
    if wanted.server:
        query = query.where(cast(Run.names, String).ilike(like(wanted.server)))
    after = decode_cursor(cursor, int)
    if after:
        query = query.where(Run.id < after[0])
    rows = session.scalars(query.order_by(Run.id.desc()).limit(limit + 1)).all()
    more = len(rows) > limit
    return Page(rows[:limit], encode_cursor(rows[limit - 1].id) if more else None)


def counts(session: Session, actor: Actor) -> dict[str, int]:
    """Return how many runs are in each state."""
    query = visible(select(Run.state, func.count()), actor).group_by(Run.state)
    return {state.value: n for state, n in session.execute(query)}


def changes(session: Session, run: Run) -> list[PlanChange]:
    """Return the newest plan's changes, by name."""
    newest = select(func.max(PlanChange.fence)).where(PlanChange.run_id == run.id).scalar_subquery()
    query = select(PlanChange).where(PlanChange.run_id == run.id, PlanChange.fence == newest).order_by(PlanChange.id)
    return list(session.scalars(query))


def events(session: Session, run: Run) -> list[RunEvent]:
    """Return everything that happened to the run, oldest first."""
    return list(session.scalars(select(RunEvent).where(RunEvent.run_id == run.id).order_by(RunEvent.id)))


def log_text(session: Session, run: Run, offset: int = 0, limit: int = 1 << 20) -> tuple[str, int]:
    """Return the log from a byte offset on, at most about `limit` bytes, and the offset behind it."""
    pieces = session.execute(
        select(RunLog.log_offset, RunLog.length, RunLog.text)
        .where(RunLog.run_id == run.id, RunLog.log_offset + RunLog.length > offset)
        .order_by(RunLog.log_offset)
        .limit(2000)
    )
    out, end = bytearray(), offset
    for start, length, content in pieces:
        if len(out) >= limit:
            break
        data = content.encode()
        out += data[max(offset - start, 0) :]
        end = start + length
    return bytes(out).decode("utf-8", "replace"), end


def whole_log(session: Session, run: Run, most: int = WHOLE_LOG) -> tuple[str, bool]:
    """Return the log as one text, at most `most` bytes of it, and whether that is all."""
    parts, offset = [], 0
    while offset < run.log_bytes and offset < most:
        text, end = log_text(session, run, offset)
        if end <= offset:
            break
        parts.append(text)
        offset = end
    return "".join(parts), offset >= run.log_bytes


# ---------------------------------------------------------------- events
def audience(session: Session, run: Run) -> str:
    """Who may see this run's events: its requester and its servers' owners, beside those who see everything."""
    return _owners(_concerned(session, run))


def _owners(user_ids: Iterable[int]) -> str:
    return "owner:" + ",".join(str(user_id) for user_id in sorted(user_ids))


def facts(run: Run) -> dict[str, Any]:
    """What a `run` event carries."""
    return {
        "id": run.id, "task_id": str(run.task_id), "workspace": run.workspace_id, "version": run.version, "state": run.state.value,
        "kind": run.kind.value,
        "names": run.names[:5], "count": len(run.names), "done": run.progress_done, "total": run.progress_total,
        "log_bytes": run.log_bytes, "waiting_for": run.waiting_for, "stalled": run.stalled_at is not None, "ended": run.finished_at is not None,
        "activity": dict(list(working(run.activity).items())[:5]),
    }  # fmt: skip


def add_event(uow: UnitOfWork, run: Run, key: str, name: str, **detail: Any) -> bool:
    """Append to the run's timeline; False when this very event is there already."""
    row = uow.session.execute(
        insert(RunEvent)
        .values(run_id=run.id, event_key=key, fence=run.fence, name=name, detail=detail)
        .on_conflict_do_nothing()
        .returning(RunEvent.id)
    ).first()
    return row is not None


def touch(uow: UnitOfWork, run: Run) -> None:
    """Raise the version and tell browsers."""
    run.version += 1
    uow.publish("run", audience(uow.session, run), facts(run))


# ---------------------------------------------------------------- transitions
def begin(rows: Batch, run: Run, by: str) -> None:
    """Queue the first run of a workspace that the same batch makes: nothing else can be active there.

    What `promote` would come to, without looking: people wait for the answer to this request.
    """
    run.state = RunState.PLAN_QUEUED
    # PostgreSQL's word for the moment this transaction began.
    run.bell_at = "now"  # type: ignore[assignment]
    rows.add(run)
    for key, name, detail in (("requested", "requested", {"by": by}), (f"{run.state.value}:{run.fence}", run.state.value, {})):
        rows.put(RunEvent, {"run_id": run.id, "event_key": key, "fence": run.fence, "name": name, "detail": detail})


def announce(uow: UnitOfWork, run: Run, owner_ids: Iterable[int]) -> None:
    """Ring for a run that `begin` queued, and tell browsers."""
    uow.ring(TaskName.RUN, [str(run.task_id)], run.task_id)
    uow.publish("run", _owners({run.created_by_id, *owner_ids}), facts(run))


def locked(uow: UnitOfWork, run_id: int) -> Run:
    """Return the run's row under FOR UPDATE. Raises NotFound."""
    run = uow.session.scalar(
        select(Run).where(Run.id == run_id).with_for_update(key_share=True).execution_options(populate_existing=True)
    )
    if run is None:
        raise NotFound(kind="run", name=str(run_id))
    return run


def transition(uow: UnitOfWork, run: Run, new: RunState, key: str | None = None, **detail: Any) -> bool:
    """Move a run that is locked by this transaction; the only writer of `run.state`.

    Idempotent: when the event `key` (default: state and fence) is there already, nothing happens and False is returned.
    Raises RunStateConflict when the table has no such transition.
    """
    key = key or f"{new.value}:{run.fence}"
    old = run.state
    if old == new and uow.session.scalar(select(RunEvent.id).where(RunEvent.run_id == run.id, RunEvent.event_key == key)):
        return False
    if not can_move(old, new):
        raise RunStateConflict(state=old.value, wanted=new.value)
    run.state = new
    run.waiting_for = run.stalled_at = None
    run.activity = {}
    now = uow.session.scalar(select(func.clock_timestamp()))
    if new == RunState.PLANNING and run.started_at is None:
        run.started_at = now
    elif new == RunState.PLANNED:
        run.planned_at = now
    elif new == RunState.APPLYING and run.apply_started_at is None:
        run.apply_started_at = now
    if new in RUNNING:
        run.progressed_at = now
    if new in QUEUED:
        run.bell_at = now
        uow.ring(TaskName.RUN, [str(run.task_id)], run.task_id)
    if not add_event(uow, run, key, new.value, **detail):
        # Under the same runner it has been there before (`planned`, when what is left goes beyond what was approved).
        add_event(uow, run, f"{key}:{run.version}", new.value, **detail)
    if new in FINAL:
        run.finished_at = now
        _finish(uow, run)
    elif new == RunState.PLANNED and run.guard is not None:
        ask(uow, run)
    touch(uow, run)
    log.info("run_transitioned", run_id=run.id, old=old.value, new=new.value, fence=run.fence)
    return True


def _concerned(session: Session, run: Run) -> set[int]:
    owners = session.scalars(
        select(Server.owner_id).where(Server.workspace_id == run.workspace_id, Server.slug.in_(run.targets)).distinct()
    )
    return {run.created_by_id, *owners}


def ask(uow: UnitOfWork, run: Run) -> None:
    """Tell everybody who may approve that a plan waits, and those it concerns that it waits for others.

    Again is harmless: each of them is told once of the same plan.
    """
    concerned = _concerned(uow.session, run)
    approvers = approvals.people(uow.session, run, concerned)
    for user_ids, key, code, severity in (
        (approvers, "planned", "run_planned", Severity.WARNING),
        (concerned - approvers, "waits", "run_waits", Severity.INFO),
    ):
        notifications.add(
            uow, user_ids, f"run:{run.id}:{key}:{run.fence}", code,
            {"servers": run.names, "kind": run.kind.value, "run": run.id}, severity, f"/runs/{run.id}",
            own_user_id=run.created_by_id, run_id=run.id,
        )  # fmt: skip


_END: dict[RunState, tuple[str, Severity]] = {
    RunState.APPLIED: ("run_applied", Severity.SUCCESS),
    RunState.PLANNED_AND_FINISHED: ("run_no_changes", Severity.INFO),
    RunState.ERRORED: ("run_errored", Severity.ERROR),
    RunState.CANCELED: ("run_canceled", Severity.WARNING),
    RunState.DISCARDED: ("run_discarded", Severity.INFO),
}


def _finish(uow: UnitOfWork, run: Run) -> None:
    """What every end brings: slots and servers freed, one notification per recipient, the next run begun."""
    uow.session.execute(delete(SlotHolder).where(SlotHolder.run_id == run.id))
    for server in uow.session.scalars(select(Server).where(Server.busy_run_id == run.id).order_by(Server.id).with_for_update(key_share=True)):
        server.busy_run_id = None
        server.version += 1
    if run.safe_change_id is not None:
        uow.ring(TaskName.SAFE_CHANGE, [run.safe_change_id], run.safe_change_id)
    elif run.bulk_id is None:
        code, severity = _END[run.state]
        notifications.add(
            uow, _concerned(uow.session, run), f"run:{run.id}:end", code,
            {"servers": run.names, "kind": run.kind.value, "run": run.id, "error": run.error},
            severity, f"/runs/{run.id}", own_user_id=run.created_by_id, run_id=run.id,
        )  # fmt: skip
    uow.session.flush()
    promote(uow, run.workspace_id)
    _ring_next_for_slots(uow)
    if run.bulk_id is not None:
        # Last: nobody waits for this lock while others of the bulk wait for what this end frees.
        bulk_results.tell_end(uow, run.bulk_id)


def _ring_next_for_slots(uow: UnitOfWork) -> None:
    """Slots may be free now: ring for the run that waits longest for some."""
    waiting = uow.session.scalar(
        select(Run).where(Run.state == RunState.APPLY_QUEUED, Run.waiting_for.is_not(None)).order_by(Run.id).limit(1).with_for_update(key_share=True, skip_locked=True)
    )
    if waiting is not None:
        uow.ring(TaskName.RUN, [str(waiting.task_id)], waiting.task_id)


def hold_line(uow: UnitOfWork, workspace_id: int) -> None:
    """Let nobody else begin a run of the workspace before this transaction ends."""
    uow.session.execute(text("select pg_advisory_xact_lock(77002, :w)"), {"w": workspace_id})


def promote(uow: UnitOfWork, workspace_id: int) -> Run | None:
    """Begin the workspace's oldest waiting run when no other is active, nobody has locked it and no action works on its servers."""
    hold_line(uow, workspace_id)
    active = uow.session.scalar(select(Run).where(Run.workspace_id == workspace_id, Run.state.in_(ACTIVE)))
    oldest = select(Run.id).where(Run.workspace_id == workspace_id, Run.state == RunState.PENDING).order_by(Run.id).limit(1)
    # Whoever has locked that run now (a cancel) will want the line next: nobody waits for both. He promotes, or the sweeper.
    waiting = uow.session.scalar(
        select(Run).where(Run.id == oldest.scalar_subquery(), Run.state == RunState.PENDING).with_for_update(key_share=True, skip_locked=True)
    )
    if waiting is None:
        return None
    blocker = {"code": "waiting_for_run", "args": {"run": active.id}} if active else _person(uow, waiting) or _busy_action(uow, waiting)
    if blocker:
        if waiting.waiting_for != blocker:
            waiting.waiting_for = blocker
            touch(uow, waiting)
        return None
    transition(uow, waiting, RunState.PLAN_QUEUED)
    claim_servers(uow, waiting)
    return waiting


def _person(uow: UnitOfWork, run: Run) -> dict[str, Any] | None:
    held = workspaces.person_lock(uow.session, run.workspace_id)
    # One line of bounded length: lists of runs show it too.
    return {"code": "waiting_for_unlock", "args": {"reason": " ".join(held.reason.split())[:200], "by": held.by}} if held else None


def _busy_action(uow: UnitOfWork, run: Run) -> dict[str, Any] | None:
    busy = uow.session.scalar(
        select(Server)
        .where(
            Server.workspace_id == run.workspace_id, Server.slug.in_(run.targets),
            or_(Server.busy_action_id.is_not(None), and_(Server.safe_change_id.is_not(None), Server.safe_change_id.is_distinct_from(run.safe_change_id))),
        )
        .limit(1)
    )  # fmt: skip
    if busy is None:
        return None
    if busy.busy_action_id is None:
        return {"code": "waiting_for_safe_change", "args": {"server": busy.name}}
    return {"code": "waiting_for_action", "args": {"server": busy.name, "action": busy.busy_action_id}}


def claim_servers(uow: UnitOfWork, run: Run) -> None:
    """Mark the run's servers as worked on by it."""
    for server in uow.session.scalars(
        select(Server).where(Server.workspace_id == run.workspace_id, Server.slug.in_(run.targets), Server.deleted_at.is_(None))
        .order_by(Server.id).with_for_update(key_share=True)
    ):  # fmt: skip
        server.busy_run_id = run.id
        server.version += 1


# ---------------------------------------------------------------- what people do
def _may_change(actor: Actor, run: Run) -> None:
    if run.created_by_id != actor.user_id and not actor.can(Permission.MANAGE_ALL):
        raise Forbidden(permission=Permission.MANAGE_ALL.value)


def _seen_and_locked(uow: UnitOfWork, actor: Actor, run_id: int) -> Run:
    get(uow.session, actor, run_id)
    return locked(uow, run_id)


def approve(uow: UnitOfWork, actor: Actor, run_id: int, comment: str = "") -> Run:
    """Let a waiting plan be applied. Raises RunStateConflict, Forbidden, NotFound.

    Who may is a matter of what stopped it and of the project's rule at this moment.
    """
    run = _seen_and_locked(uow, actor, run_id)
    if run.state != RunState.PLANNED:
        raise RunStateConflict(state=run.state.value, wanted="apply")
    approvals.decision(uow.session, run).check(actor)
    run.approved_at = uow.session.scalar(select(func.clock_timestamp()))
    run.approved_by_id = actor.user_id
    run.comment = comment or run.comment
    audit.record(uow, actor, "run.apply", "run", run.id, ", ".join(run.names[:5]), comment=comment)
    transition(uow, run, RunState.APPLY_QUEUED, by=actor.username, comment=comment)
    return run


def discard(uow: UnitOfWork, actor: Actor, run_id: int, comment: str = "") -> Run:
    """Throw a waiting plan away; nothing was changed. Who may approve it may do this too. Raises RunStateConflict, Forbidden."""
    from app.services import run_settlement  # noqa: PLC0415 - settlement uses this module's transition

    run = _seen_and_locked(uow, actor, run_id)
    if run.state != RunState.PLANNED or approvals.decision(uow.session, run).refusal(actor.user_id, actor.role):
        _may_change(actor, run)
    if run.state not in (RunState.PLANNED, RunState.PENDING):
        raise RunStateConflict(state=run.state.value, wanted="discard")
    run.comment = comment or run.comment
    run_settlement.drop_unmade(uow, run)
    audit.record(uow, actor, "run.discard", "run", run.id, ", ".join(run.names[:5]), comment=comment)
    transition(uow, run, RunState.DISCARDED, by=actor.username, comment=comment)
    return run


def cancel(uow: UnitOfWork, actor: Actor, run_id: int) -> Run:
    """Ask a run to stop. One nobody has begun ends at once; a running one finishes the servers it has begun.

    Raises RunStateConflict when it has ended.
    """
    from app.services import run_settlement  # noqa: PLC0415

    run = _seen_and_locked(uow, actor, run_id)
    _may_change(actor, run)
    if run.state in FINAL:
        raise RunStateConflict(state=run.state.value, wanted="cancel")
    if run.cancel_requested_at is None:
        run.cancel_requested_at = uow.session.scalar(select(func.clock_timestamp()))
        run.cancel_requested_by_id = actor.user_id
        add_event(uow, run, "cancel_requested", "cancel_requested", by=actor.username)
        audit.record(uow, actor, "run.cancel", "run", run.id, ", ".join(run.names[:5]))
    if run.state in RUNNING:
        uow.session.execute(text("select pg_notify(:channel, :run)"), {"channel": CANCEL_CHANNEL, "run": str(run.id)})
        touch(uow, run)
    else:
        run_settlement.drop_unmade(uow, run)
        transition(uow, run, RunState.CANCELED, by=actor.username)
    return run


def stop(uow: UnitOfWork, actor: Actor, run_id: int) -> Run:
    """Have the Terraform of a run killed whose cancel takes too long; what there is is taken in, unfinished.

    Raises Forbidden, and RunStateConflict unless a cancel was asked for and the run still works.
    """
    actor.need(Permission.STOP_NOW)
    run = _seen_and_locked(uow, actor, run_id)
    _may_change(actor, run)
    if run.state not in RUNNING or run.cancel_requested_at is None:
        raise RunStateConflict(state=run.state.value, wanted="stop")
    if run.stop_requested_at is None:
        run.stop_requested_at = uow.session.scalar(select(func.clock_timestamp()))
        add_event(uow, run, "stop_requested", "stop_requested", by=actor.username)
        audit.record(uow, actor, "run.stop", "run", run.id, ", ".join(run.names[:5]))
    uow.session.execute(text("select pg_notify(:channel, :run)"), {"channel": CANCEL_CHANNEL, "run": str(run.id)})
    touch(uow, run)
    return run


def open_runs(session: Session, server: Server) -> list[Run]:
    """Return the runs that still concern a server, oldest first."""
    query = select(Run).where(
        Run.workspace_id == server.workspace_id, Run.state.not_in(FINAL), Run.targets.contains([server.slug])
    )
    return list(session.scalars(query.order_by(Run.id)))


def of_servers(session: Session, ids: Iterable[int]) -> dict[int, Run]:
    """Return runs by id."""
    wanted = [i for i in ids if i]
    return {r.id: r for r in session.scalars(select(Run).where(Run.id.in_(wanted)))} if wanted else {}


def blocked_by(session: Session, run: Run) -> list[Run]:
    """Return the runs before this one in its workspace's line."""
    query = select(Run).where(
        Run.workspace_id == run.workspace_id, or_(Run.state.in_(ACTIVE), and_(Run.state == RunState.PENDING, Run.id < run.id)), Run.id != run.id
    )
    return list(session.scalars(query.order_by(Run.id)))
