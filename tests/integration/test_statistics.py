"""Figures of the whole: computed by a task, kept in Redis, computed from PostgreSQL when they are not there."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import redis
from sqlalchemy import func, update

from app.adapters import redis_client
from app.adapters.broker import celery
from app.domain.run_state import RunKind, RunState
from app.domain.tasks import TaskName
from app.models import Run, User
from app.services import statistics
from app.services.statistics import Part
from app.services.uow import unit_of_work
from tests.integration import rows

Make = Callable[..., Any]


def ended(who: User, name: str, state: RunState, took_s: float = 10, waited_s: float = 2, ago: timedelta = timedelta(hours=1)) -> Run:
    run = rows.run(rows.workspace(who, name), who, state, kind=RunKind.CREATE)
    with unit_of_work() as uow:
        then = func.clock_timestamp() - ago
        started = then - timedelta(seconds=took_s)
        uow.session.execute(update(Run).where(Run.id == run.id).values(finished_at=then, started_at=started, created_at=started - timedelta(seconds=waited_s)))
    return run


@pytest.fixture
def history(dora: User, make_user: Make) -> None:
    """Four of dora's that ended, one of them long ago, one that runs and one that waits for a person; one of somebody else's."""
    for name, state, took in (("a", RunState.APPLIED, 10), ("b", RunState.APPLIED, 30), ("c", RunState.ERRORED, 5), ("d", RunState.CANCELED, 1)):
        ended(dora, name, state, took)
    ended(dora, "e", RunState.APPLIED, 999, ago=timedelta(days=45))
    rows.run(rows.workspace(dora, "f"), dora, RunState.APPLYING)
    rows.run(rows.workspace(dora, "g"), dora, RunState.PLANNED)
    ended(make_user("developer", "egon"), "h", RunState.APPLIED, 50, ago=timedelta(days=3))


@pytest.mark.usefixtures("history")
def test_the_task_keeps_everybodys_figures_and_whoever_sees_everything_reads_them(client_for: Make, make_user: Make, store: "redis.Redis") -> None:
    assert set(statistics.refresh()) == set(Part)
    assert {key for key in store.scan_iter("stat:*")} == {"stat:completed", "stat:running", "stat:recent", "stat:capacity"}
    assert all(0 < int(store.ttl(key)) <= 30 for key in store.scan_iter("stat:*"))  # type: ignore[arg-type]  # not asynchronous
    told = client_for(make_user("operator")).get("/api/statistics").json
    assert set(told["source"].values()) == {"redis"} and set(told["computed_at"]) == {part.value for part in Part}
    done = told["completed"]
    assert done["runs"] == {"total": 5, "succeeded": 3, "failed": 1, "given_up": 1, "success_rate": 0.75}
    assert done["runs_last_day"]["total"] == 4
    assert done["run_duration_s"] == {"min": 10, "median": 30, "p95": 48, "max": 50}
    assert done["queue_wait_s"] == {"min": 2, "median": 2, "p95": 2, "max": 2}
    assert (told["running"]["running"], told["running"]["waiting_for_approval"]) == (1, 1)
    assert [run["servers"] for run in told["running"]["runs"]] == [["f"], ["g"]]
    assert [run["servers"][0] for run in told["recent"]["runs"]][-2:] == ["h", "e"]


@pytest.mark.usefixtures("history")
def test_without_kept_figures_postgresql_answers_and_says_so(client_for: Make, make_user: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_for(make_user("operator"))
    first, again = client.get("/api/statistics/recent_runnings").json, client.get("/api/statistics/recent_runnings").json
    assert first["source"] == {"running": "postgresql", "recent": "postgresql"} and again["source"] == {"running": "redis", "recent": "redis"}
    assert {k: v for k, v in first.items() if k != "source"} == {k: v for k, v in again.items() if k != "source"}
    gone = redis.Redis(port=1, socket_connect_timeout=0.2, retry=None)
    monkeypatch.setattr(redis_client.cache, "_client", lambda: gone)
    monkeypatch.setattr(redis_client.cache, "_down_until", 0.0)  # put back as it was, too
    without = client.get("/api/statistics").json
    assert set(without["source"].values()) == {"postgresql"} and without["running"] == first["running"]
    assert statistics.refresh() == []


@pytest.mark.usefixtures("history")
def test_who_does_not_see_everything_gets_the_figures_of_what_he_sees(client_for: Make, dora: User, make_user: Make) -> None:
    statistics.refresh()
    hers = client_for(dora).get("/api/statistics").json
    assert hers["completed"]["runs"]["total"] == 4 and hers["completed"]["run_duration_s"]["max"] == 30
    assert "egon" not in str(hers)
    nobodys = client_for(make_user("developer")).get("/api/statistics").json
    assert nobodys["completed"]["runs"] == {"total": 0, "succeeded": 0, "failed": 0, "given_up": 0, "success_rate": None}
    assert nobodys["completed"]["run_duration_s"]["median"] is None and nobodys["running"]["runs"] == []


def test_browsers_are_told_when_figures_changed_and_only_then(dora: User, told: Callable[[], list[tuple[str, str, dict[str, Any]]]]) -> None:
    rows.cluster()
    statistics.refresh()
    assert statistics.refresh() == []
    ended(dora, "new", RunState.APPLIED)
    assert set(statistics.refresh()) == {Part.COMPLETED, Part.RECENT}
    last = [data for audience, kind, data in told() if (audience, kind) == ("all", "statistics")][-1]
    assert set(last["changed"]) == {"completed", "recent"}


def test_a_run_that_ended_is_in_the_figures_at_once(dora: User, client_for: Make, make_user: Make) -> None:
    client = client_for(make_user("operator"))
    assert client.get("/api/statistics").json["completed"]["runs"]["total"] == 0
    run = ended(dora, "new", RunState.APPLIED)
    with unit_of_work() as uow:
        uow.publish("run", f"owner:{dora.id}", {"id": run.id, "ended": True})
    assert client.get("/api/statistics").json["completed"]["runs"]["total"] == 1


def test_beat_rings_for_them_every_ten_seconds() -> None:
    entry = celery.conf.beat_schedule["statistics"]
    assert (entry["task"], entry["schedule"]) == (TaskName.STATISTICS.value, 10.0)
