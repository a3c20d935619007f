"""Figures of the whole: what was done and how long it took, what runs, what ended last, what room there is.

A task computes everybody's every ten seconds and keeps them in Redis; whoever asks when they are not there computes
them from PostgreSQL. Who does not see everything gets the figures of what he sees.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from app.adapters.redis_client import Source, cache
from app.domain.action_state import ActionState
from app.domain.permissions import Permission
from app.domain.run_state import QUEUED, RUNNING, RunState
from app.extensions import db
from app.models import Action, Run, Server
from app.schemas.plain import plain
from app.services import capacity, clock, kept, runs
from app.services.actor import Actor
from app.services.run_statistics import results
from app.streaming import events

WINDOW = timedelta(days=30)
RECENT = 20
OPEN = 100  # of running work that is listed; it is counted in full


class Part(StrEnum):
    COMPLETED = "completed"
    RUNNING = "running"
    RECENT = "recent"
    CAPACITY = "capacity"


@dataclass(frozen=True)
class Figures:
    """One part of the statistics, when it was computed and where it was found."""

    data: Mapping[str, Any]
    at: str
    source: Source


def read(session: Session, actor: Actor, part: Part) -> Figures:
    """Return a part as this reader sees it; at most half a minute old."""
    user_id = None if part == Part.CAPACITY or actor.can(Permission.VIEW_ALL) else actor.user_id
    found = cache.get_or_compute(kept.statistics(part, user_id), kept.STATISTICS_TTL_S, lambda: _now(session, part, actor if user_id is not None else None))
    return Figures(found.value["data"], found.value["at"], found.source)


def refresh() -> list[Part]:
    """Compute everybody's figures anew and keep them; tells browsers and returns which changed."""
    changed = []
    with Session(db.engine) as session:
        for part in Part:
            key = kept.statistics(part, None)
            before, now = cache.get(key), _now(session, part, None)
            if cache.set(key, now, kept.STATISTICS_TTL_S) and (before is None or before["data"] != now["data"]):
                changed.append(part)
    if changed:
        events.append([events.Event("statistics", "all", {"changed": [part.value for part in changed]})])
    return changed


def _now(session: Session, part: Part, actor: Actor | None) -> dict[str, Any]:
    made: Mapping[Part, Callable[[Session, Actor | None], dict[str, Any]]] = {
        Part.COMPLETED: _completed, Part.RUNNING: _running, Part.RECENT: _recent, Part.CAPACITY: lambda s, _: _capacity(s),
    }  # fmt: skip
    return {"at": plain(clock.now(session)), "data": made[part](session, actor)}


# ---------------------------------------------------------------- parts
def _completed(session: Session, actor: Actor | None) -> dict[str, Any]:
    now = func.clock_timestamp()
    ended = _seen(select(*results()).where(Run.finished_at > now - WINDOW), actor)
    day = _seen(select(*results()).where(Run.finished_at > now - timedelta(days=1)), actor)
    took, waited = _seconds(Run.started_at, Run.finished_at), _seconds(Run.created_at, Run.started_at)
    applied = select(*_spread(took)).where(Run.finished_at > now - WINDOW, Run.state == RunState.APPLIED, Run.approved_at.is_(None))
    queue = select(*_spread(waited)).where(Run.started_at > now - WINDOW)
    actions = select(
        func.count(), func.count().filter(Action.state == ActionState.FAILED), *_spread(_seconds(Action.started_at, Action.finished_at))
    ).where(Action.finished_at > now - WINDOW)
    total, failed, *spread = session.execute(_seen_actions(actions, actor)).one()
    return {
        "days": WINDOW.days, "runs": _results(session, ended), "runs_last_day": _results(session, day),
        # Without the time a person took to decide: runs that nobody was asked about.
        "run_duration_s": _named(session.execute(_seen(applied, actor)).one()),
        "queue_wait_s": _named(session.execute(_seen(queue, actor)).one()),
        "actions": {"total": total, "failed": failed, "duration_s": _named(spread)},
    }  # fmt: skip


def _running(session: Session, actor: Actor | None) -> dict[str, Any]:
    counted = select(Run.state, func.count()).where(Run.finished_at.is_(None)).group_by(Run.state)
    states = {state.value: n for state, n in session.execute(_seen(counted, actor))}
    query = select(Run).where(Run.finished_at.is_(None)).options(joinedload(Run.created_by)).order_by(Run.id).limit(OPEN)
    actions = select(Action.state, func.count()).where(Action.finished_at.is_(None)).group_by(Action.state)
    acting = {state.value: n for state, n in session.execute(_seen_actions(actions, actor))}
    return {
        "running": sum(states.get(s, 0) for s in RUNNING), "queued": sum(states.get(s, 0) for s in (RunState.PENDING, *QUEUED)),
        "waiting_for_approval": states.get(RunState.PLANNED, 0), "actions_running": acting.get(ActionState.RUNNING, 0),
        "actions_queued": acting.get(ActionState.QUEUED, 0), "runs": [_run(run) for run in session.scalars(_seen(query, actor))],
    }  # fmt: skip


def _recent(session: Session, actor: Actor | None) -> dict[str, Any]:
    query = select(Run).where(Run.finished_at.is_not(None)).options(joinedload(Run.created_by)).order_by(Run.finished_at.desc(), Run.id.desc()).limit(RECENT)
    return {"runs": [_run(run) for run in session.scalars(_seen(query, actor))]}


def _capacity(session: Session) -> dict[str, Any]:
    return {"clusters": [
        {
            "name": room.cluster, "away": room.away,
            "nodes": [{**asdict(n), "over": n.over} for n in room.nodes], "storages": [{**asdict(s), "over": s.over} for s in room.storages],
        }
        for room in capacity.now(session)
    ]}  # fmt: skip


# ---------------------------------------------------------------- how
def _seen(query: Any, actor: Actor | None) -> Any:
    return runs.visible(query, actor) if actor else query


def _seen_actions(query: Any, actor: Actor | None) -> Any:
    return query.join(Server, Server.id == Action.server_id).where(Server.owner_id == actor.user_id) if actor else query


def _results(session: Session, query: Any) -> dict[str, Any]:
    succeeded, failed, given_up = session.execute(query).one()
    decided = succeeded + failed
    return {
        "total": decided + given_up, "succeeded": succeeded, "failed": failed, "given_up": given_up,
        "success_rate": round(succeeded / decided, 4) if decided else None,
    }  # fmt: skip


def _seconds(begun: Any, ended: Any) -> Any:
    return func.extract("epoch", ended - begun)


def _spread(seconds: Any) -> list[Any]:
    return [func.min(seconds), func.percentile_cont(0.5).within_group(seconds), func.percentile_cont(0.95).within_group(seconds), func.max(seconds)]


def _named(row: Any) -> dict[str, float | None]:
    return {name: None if value is None else round(float(value), 3) for name, value in zip(("min", "median", "p95", "max"), row, strict=True)}


def _run(run: Run) -> dict[str, Any]:
    return {
        "id": run.id, "task_id": str(run.task_id), "kind": run.kind.value, "state": run.state.value, "servers": run.names, "created_by": run.created_by.username,
        "progress": {"done": run.progress_done, "total": run.progress_total}, "error": (run.error or {}).get("code"),
        **{name: at and plain(at) for name, at in (("created_at", run.created_at), ("started_at", run.started_at), ("finished_at", run.finished_at))},
    }  # fmt: skip
