"""The steps of a run with their times, and what has become of its servers."""

from datetime import UTC, datetime, timedelta
from typing import Any

from app.domain.run_state import RunKind, RunState
from app.models import Run
from app.services.run_steps import parts, steps

START = datetime(2026, 1, 1, tzinfo=UTC)


def run(state: RunState, **more: Any) -> Run:
    at = {k: START + timedelta(seconds=v) for k, v in more.items() if k.endswith("_at")}
    rest = {k: v for k, v in more.items() if k not in at}
    return Run(state=state, kind=RunKind.CREATE, created_at=START, activity={}, targets=["a", "b"], names=["web-a", "web-b"], **at, **rest)


def told(of: Run) -> list[tuple[str, float | None, bool]]:
    """Name, seconds (none while it lasts or is ahead) and whether the run broke there."""
    return [(s.name.value, (s.ended - s.begun).total_seconds() if s.begun and s.ended else None, s.failed) for s in steps(of)]


def test_a_run_that_waits_has_everything_ahead() -> None:
    assert told(run(RunState.PENDING)) == [("waiting", None, False), ("planning", None, False), ("applying", None, False)]
    assert [bool(s.begun) for s in steps(run(RunState.PENDING))] == [True, False, False]


def test_an_applied_run_has_the_time_of_each_step() -> None:
    done = run(RunState.APPLIED, started_at=2, planned_at=5, apply_started_at=6, finished_at=16)
    assert told(done) == [("waiting", 2, False), ("planning", 3, False), ("applying", 10, False)]


def test_a_decision_is_a_step_of_its_own() -> None:
    waits = run(RunState.PLANNED, started_at=1, planned_at=3)
    assert told(waits) == [("waiting", 1, False), ("planning", 2, False), ("confirming", None, False), ("applying", None, False)]
    approved = run(RunState.APPLYING, started_at=1, planned_at=3, approved_at=63, apply_started_at=64)
    assert told(approved) == [("waiting", 1, False), ("planning", 2, False), ("confirming", 60, False), ("applying", None, False)]


def test_a_failed_run_ends_where_it_broke() -> None:
    broken = run(RunState.ERRORED, started_at=1, finished_at=4)
    assert told(broken) == [("waiting", 1, False), ("planning", 3, True)]


def test_each_server_is_where_it_is() -> None:
    def states(of: Run) -> list[tuple[str, str]]:
        return [(p.name, p.state) for p in parts(of)]

    assert states(run(RunState.PLANNING)) == [("web-a", "waiting"), ("web-b", "waiting")]
    at_work = run(RunState.APPLYING)
    at_work.activity = {"a": {"step": "done"}, "b": {"step": "clone", "percent": 62}}
    assert states(at_work) == [("web-a", "done"), ("web-b", "working")] and parts(at_work)[1].percent == 62
    assert states(run(RunState.ERRORED, result={"done": [], "servers": ["web-a"], "missing": ["web-b"]})) == [("web-a", "failed"), ("web-b", "missing")]
    assert states(run(RunState.APPLIED, result={"done": ["web-a", "web-b"]})) == [("web-a", "done"), ("web-b", "done")]
