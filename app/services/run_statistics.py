"""How runs went, day by day: results, and how long they took."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from app.adapters.redis_client import cache
from app.domain.permissions import Permission
from app.domain.run_state import GOOD, RunKind, RunState
from app.models import Run
from app.services import kept, runs
from app.services.actor import Actor

COUNT = 30


@dataclass(frozen=True)
class Day:
    """`p50_s` and `p95_s` are those of runs that made servers; None on a day without one."""

    day: date
    done: int
    failed: int
    given_up: int
    p50_s: float | None
    p95_s: float | None

    @property
    def ended(self) -> int:
        return self.done + self.failed + self.given_up


def days(session: Session, actor: Actor) -> Sequence[Day]:
    """Return the last days up to today, those without a run too; forgotten when one ends, and after a minute."""
    key = kept.statistics("days", None if actor.can(Permission.VIEW_ALL) else actor.user_id)
    found = cache.get_or_compute(key, kept.DAYS_TTL_S, lambda: [asdict(d) | {"day": d.day.isoformat()} for d in _days(session, actor)])
    return [Day(**{**d, "day": date.fromisoformat(d["day"])}) for d in found.value]


def results() -> tuple[ColumnElement[int], ColumnElement[int], ColumnElement[int]]:
    """Return what to select for how many runs were done, failed and given up."""
    ended = (Run.state.in_(GOOD), Run.state == RunState.ERRORED, Run.state.in_((RunState.CANCELED, RunState.DISCARDED)))
    done, failed, given_up = (func.count().filter(kind) for kind in ended)
    return done, failed, given_up


def _days(session: Session, actor: Actor) -> Sequence[Day]:
    today = func.date_trunc("day", func.clock_timestamp())
    first = today - func.make_interval(0, 0, 0, COUNT - 1)
    day = func.date_trunc("day", Run.finished_at).label("day")
    took = func.extract("epoch", Run.finished_at - Run.created_at)
    made = (Run.state == RunState.APPLIED) & (Run.kind == RunKind.CREATE)
    query = runs.visible(
        select(
            day, *results(),
            func.percentile_cont(0.5).within_group(took).filter(made), func.percentile_cont(0.95).within_group(took).filter(made),
        ).where(Run.finished_at >= first).group_by(day), actor,
    )  # fmt: skip
    found = {row[0]: row[1:] for row in session.execute(query)}
    every = session.scalars(select(func.generate_series(first, today, func.make_interval(0, 0, 0, 1))))
    return [Day(at.date(), *found.get(at, (0, 0, 0, None, None))) for at in every]
