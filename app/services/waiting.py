"""Why a run waits: its place in the line, who is before it, and when it may begin, judged by what past runs took."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from app.adapters import broker
from app.config import get_settings
from app.domain.run_state import QUEUED, RUNNING, RunKind, RunState
from app.models import Run, SlotHolder
from app.services import clock, pause, runs
from app.services.actor import Actor

PAST = 50  # runs that a median is made of
ENOUGH = 3
SMALL, LARGE = 1, 10  # a batch takes longer than one server: compared with its like


@dataclass(frozen=True)
class Waiting:
    """`position` 1 is next; `blocker` is the run it waits for, `owner` who asked for that; None: nobody, or not known."""

    code: str
    args: Mapping[str, Any] = field(default_factory=dict)
    position: int = 1
    blocker: int | None = None
    blocker_visible: bool = False
    owner: str | None = None
    expected_at: datetime | None = None


def explain(session: Session, actor: Actor, run: Run) -> Waiting | None:
    """Return why the run waits; None when it does not, or waits for a person's decision."""
    if run.state in QUEUED | {RunState.PENDING} and pause.paused(session):
        return Waiting("waiting_for_resume")
    if run.state == RunState.PENDING:
        return _in_workspace(session, actor, run)
    return _for_worker(session, actor, run) if run.state in QUEUED else None


def _in_workspace(session: Session, actor: Actor, run: Run) -> Waiting:
    before = runs.blocked_by(session, run)
    first = before[0] if before else None
    reason = run.waiting_for or ({"code": "waiting_for_run", "args": {"run": first.id}} if first else {"code": "waiting_to_begin"})
    expected = _end_of_all(session, before) if before else None
    return _told(session, actor, reason, len(before) or 1, first, expected)


def _for_worker(session: Session, actor: Actor, run: Run) -> Waiting:
    ahead = session.scalar(select(func.count()).select_from(Run).where(Run.state.in_(QUEUED), Run.id < run.id)) or 0
    if run.waiting_for:
        # Slots: whoever holds some of that kind and began first.
        holder = session.scalar(
            select(Run).join(SlotHolder, SlotHolder.run_id == Run.id).where(SlotHolder.resource.like(_kind(run.waiting_for)), Run.id != run.id)
            .order_by(Run.id).limit(1)
        )  # fmt: skip
        return _told(session, actor, run.waiting_for, ahead + 1, holder, _end(session, holder) if holder else None)
    if broker.away():
        return Waiting("waiting_for_broker", position=ahead + 1)
    working = list(session.scalars(select(Run).where(Run.state.in_(RUNNING)).order_by(Run.id).limit(200)))
    if len(working) < get_settings().terraform_workers:
        return Waiting("waiting_to_begin", position=ahead + 1)
    ends = sorted(end for found in working if (end := _end(session, found)))
    expected = ends[min(ahead, len(ends) - 1)] if ends else None
    return _told(session, actor, {"code": "waiting_for_worker", "args": {"busy": len(working)}}, ahead + 1, working[0], expected)


def _kind(reason: Mapping[str, Any]) -> str:
    return str(reason["code"]).removeprefix("waiting_for_").removesuffix("_slot") + ":%"


def _told(
    session: Session, actor: Actor, reason: Mapping[str, Any], position: int, blocker: Run | None, expected: datetime | None
) -> Waiting:
    if blocker is None:
        return Waiting(reason["code"], reason.get("args") or {}, position, expected_at=expected)
    seen = session.scalar(runs.visible(select(Run.id).where(Run.id == blocker.id), actor)) is not None
    owner = session.scalar(select(Run).where(Run.id == blocker.id).options(joinedload(Run.created_by)))
    return Waiting(
        reason["code"], reason.get("args") or {}, position, blocker.id, seen, owner.created_by.username if owner else None, expected
    )


# ---------------------------------------------------------------- how long things take
@dataclass(frozen=True)
class Usual:
    """What `runs` past runs of a kind and size took in the middle."""

    seconds: float
    runs: int


def usual(session: Session, kind: RunKind, servers: int) -> Usual | None:
    """Return what such a run took, without the time it waited for people; None when too few are known."""
    took = func.extract("epoch", Run.planned_at - Run.started_at) + func.extract("epoch", Run.finished_at - Run.apply_started_at)
    alike = (Run.progress_total <= SMALL) if servers <= SMALL else Run.progress_total.between(SMALL + 1, LARGE) if servers <= LARGE else Run.progress_total > LARGE
    past = (
        select(took.label("took"))
        .where(Run.state == RunState.APPLIED, Run.kind == kind, alike, Run.apply_started_at.is_not(None), Run.planned_at.is_not(None))
        .order_by(Run.id.desc()).limit(PAST).subquery()
    )  # fmt: skip
    count, middle = session.execute(select(func.count(), func.percentile_cont(0.5).within_group(past.c.took)).select_from(past)).one()
    return Usual(float(middle), count) if count >= ENOUGH else None


def median_s(session: Session, kind: RunKind, servers: int) -> float | None:
    """Return the seconds of `usual` alone."""
    found = usual(session, kind, servers)
    return found.seconds if found else None


def _end(session: Session, run: Run) -> datetime | None:
    """When a run that works now should end; None for one that waits for a person, or of whose like too little is known."""
    if run.state == RunState.PLANNED:
        return None
    usual = median_s(session, run.kind, run.progress_total)
    if usual is None:
        return None
    now = clock.now(session)
    return max((run.started_at or now) + timedelta(seconds=usual), now)


def _end_of_all(session: Session, before: Sequence[Run]) -> datetime | None:
    """When the last of these, one after the other, should have ended."""
    end = _end(session, before[0])
    for run in before[1:]:
        usual = median_s(session, run.kind, run.progress_total)
        end = end + timedelta(seconds=usual) if end and usual is not None else None
    return end
