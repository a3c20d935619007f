"""Work that starts by itself: asked for over the API, noted once however many beats there are, begun as its creator, settled from rows."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery.result import AsyncResult
from flask import Flask
from sqlalchemy import func, select, update

from app.adapters.broker import celery
from app.domain.action_state import ActionState
from app.domain.permissions import Role
from app.domain.run_state import RunState
from app.domain.server_status import ServerStatus
from app.models import Action, AuditEvent, Cluster, Execution, Notification, Run, Schedule, Server, User
from app.services import schedule_execution, schedule_ticks
from app.services.uow import unit_of_work
from tests.integration import rows

Client = Any
Make = Callable[..., Any]
API = "/api/schedules"
HOUR = timedelta(hours=1)


@pytest.fixture
def client(dora: User, client_for: Callable[..., Client]) -> Client:
    """Dora's, who has the server `web`, which is off."""
    rows.workspace(dora, "web")
    with unit_of_work() as uow:
        uow.session.execute(update(Server).values(status=ServerStatus.STOPPED, in_state=True))
    return client_for(dora)


def soon(**more: Any) -> dict[str, Any]:
    return {"name": "Wake up", "kind": "in", "in_s": 0, "work": {"action": "start", "servers": ["web"]}, **more}


def added(client: Client, **more: Any) -> int:
    answer = client.post(API, json=soon(**more))
    assert answer.status_code == 201, answer.json
    assert answer.headers["Location"] == f"{API}/{answer.json['id']}"
    return int(answer.json["id"])


def due(schedule_id: int, ago: timedelta = timedelta(seconds=1)) -> None:
    with unit_of_work() as uow:
        uow.session.execute(update(Schedule).where(Schedule.id == schedule_id).values(next_run_at=func.clock_timestamp() - ago))


def times(schedule_id: int) -> list[Execution]:
    with unit_of_work() as uow:
        return list(uow.session.scalars(select(Execution).where(Execution.schedule_id == schedule_id).order_by(Execution.id)))


def begin(schedule_id: int) -> Execution:
    """Let beat ring and a worker hear it; the latest time."""
    schedule_ticks.tick()
    for row in times(schedule_id):
        schedule_execution.execute(str(row.task_id))
    return times(schedule_id)[-1]


def end_actions(state: ActionState = ActionState.SUCCEEDED) -> None:
    """Let every open action end as its task would."""
    with unit_of_work() as uow:
        open_ = uow.session.scalars(select(Action).where(Action.finished_at.is_(None))).all()
        for action in open_:
            action.state, action.finished_at = state, datetime.now(UTC)
        uow.session.execute(update(Server).values(busy_action_id=None))


def actions() -> list[Action]:
    with unit_of_work() as uow:
        return list(uow.session.scalars(select(Action).order_by(Action.id)))


# ---------------------------------------------------------------- asking
def test_what_was_asked_for_is_there_with_its_next_five_times(client: Client) -> None:
    made = client.post(API, json={
        "name": "Nightly", "kind": "cron", "cron": "30 2 * * *", "timezone": "Europe/Berlin", "misfire": "skip", "overlap": "queue",
        "work": {"action": "snapshot_create", "servers": ["web"], "snapshot": {"prefix": "night", "keep": 3}},
    })  # fmt: skip
    assert made.status_code == 201
    shown = client.get(f"{API}/{made.json['id']}").json
    assert shown == made.json and shown in client.get(API).json["items"]
    assert len(shown["next_times"]) == 5 and shown["next_times"][0] == shown["next_run_at"] and sorted(shown["next_times"]) == shown["next_times"]
    assert (shown["cron"], shown["timezone"], shown["misfire"], shown["overlap"], shown["paused"]) == ("30 2 * * *", "Europe/Berlin", "skip", "queue", False)
    with unit_of_work() as uow:
        assert uow.session.scalars(select(AuditEvent.action).where(AuditEvent.object_type == "schedule")).all() == ["schedule.create"]


def test_a_time_without_an_offset_is_read_in_the_zone(client: Client) -> None:
    made = client.post(API, json=soon(kind="at", at="2036-07-04T18:00", in_s=None, timezone="Asia/Seoul"))
    assert made.json["next_run_at"].startswith("2036-07-04T09:00")


@pytest.mark.parametrize(
    ("more", "field", "code"),
    [
        ({"name": "  "}, "name", "missing"), ({"name": "x" * 81}, "name", "schedule_name"), ({"kind": "cron", "in_s": None, "cron": "61 * * * *"}, "cron", "schedule_cron"),
        ({"kind": "cron"}, "", "schedule_kind"), ({"kind": "every", "in_s": None, "every_s": 5}, "every_s", "greater_than_equal"), ({"kind": "hourly"}, "kind", "enum"),
        ({"kind": "at", "in_s": None, "at": "2001-01-01T00:00:00Z"}, "at", "schedule_past"), ({"kind": "at", "in_s": None, "at": "soon"}, "at", "datetime_from_date_parsing"),
        ({"timezone": "Mars/Olympus"}, "timezone", "schedule_timezone"), ({"work": {"action": "start"}}, "work", "schedule_work"), ({"work": {"action": "dance", "servers": ["web"]}}, "work.action", "enum"),
        ({"work": {"action": "start", "servers": ["web", "gone"]}}, "work.servers.1", "server_unknown"), ({"work": {"action": "tag", "servers": ["web"]}}, "work", "bulk_no_tags"),
        ({"work": {"action": "delete", "servers": ["web"]}}, "work.confirm", "confirm_name"), ({"work": {"server": {"name": "new"}}}, "work.server.template", "missing"),
        ({"surprise": 1}, "surprise", "extra_forbidden"),
    ],
)  # fmt: skip
def test_faults_are_told_at_their_fields(client: Client, more: dict[str, Any], field: str, code: str) -> None:
    answer = client.post(API, json=soon(**more))
    assert answer.status_code == 422
    assert (field, code) in [(f["field"], f.get("code")) for f in answer.json["errors"]], answer.json["errors"]


def test_the_same_key_makes_one_schedule(client: Client) -> None:
    first, again = (client.post(API, json=soon(), headers={"Idempotency-Key": "k"}) for _ in range(2))
    assert first.status_code == again.status_code == 201 and first.json == again.json
    assert client.post(API, json=soon(name="Other"), headers={"Idempotency-Key": "k"}).status_code == 422
    assert len(client.get(API).json["items"]) == 1


def test_whose_it_is_not_does_not_see_it_and_who_sees_all_may_not_change_it(client: Client, client_for: Make, make_user: Make) -> None:
    schedule_id = added(client)
    other, viewer, operator = (client_for(make_user(role)) for role in (Role.DEVELOPER, Role.VIEWER, Role.OPERATOR))
    assert other.get(f"{API}/{schedule_id}").status_code == other.delete(f"{API}/{schedule_id}").status_code == 404
    assert viewer.get(f"{API}/{schedule_id}").status_code == 200
    assert viewer.patch(f"{API}/{schedule_id}", json={"paused": True}).status_code == 403 and viewer.post(API, json=soon()).status_code == 403
    assert operator.patch(f"{API}/{schedule_id}", json={"paused": True}).json["paused"]
    assert other.post(API, json=soon()).status_code == 422  # dora's server is unknown to him


# ---------------------------------------------------------------- starting
def test_what_is_due_starts_as_its_creator_and_its_end_is_its_tasks_result(client: Client, dora: User) -> None:
    schedule_id = added(client)
    row = begin(schedule_id)
    [action] = [a for a in actions() if a.bulk_id == row.bulk_id]
    assert (action.kind.value, action.created_by_id, row.state) == ("start", dora.id, "running")
    assert client.get(f"/api/result/{row.task_id}").status_code == 202
    end_actions()
    schedule_ticks.tick()
    answer = client.get(f"/api/result/{row.task_id}")
    assert (answer.status_code, answer.json["status"], answer.json["servers"]) == (200, "succeeded", ["web"])
    assert AsyncResult(str(row.task_id), app=celery).get(timeout=5)["servers"] == ["web"]
    [told] = client.get(f"{API}/{schedule_id}/executions").json["items"]
    assert (told["status"], told["group_id"], told["by_hand"]) == ("succeeded", str(row.bulk_id), False)
    assert client.get(f"{API}/{schedule_id}").json["next_run_at"] is None
    assert client.get(f"/api/result/group/{row.bulk_id}").status_code == 200


def test_of_many_beats_and_many_bells_one_begins_it(client: Client, app: Flask) -> None:
    schedule_id = added(client, kind="every", every_s=3600, in_s=None)
    due(schedule_id)

    def at_once(work: Callable[[], None]) -> None:
        gate = threading.Barrier(8)

        def one() -> None:
            with app.app_context():
                gate.wait(10)
                work()

        threads = [threading.Thread(target=one) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

    at_once(schedule_ticks.tick)
    [row] = times(schedule_id)
    at_once(lambda: schedule_execution.execute(str(row.task_id)))
    assert len(actions()) == 1 and times(schedule_id)[0].state == "running"


def test_a_bell_that_nobody_heard_rings_again(client: Client) -> None:
    schedule_id = added(client)
    schedule_ticks.tick()
    [row] = times(schedule_id)
    with unit_of_work() as uow:
        uow.session.execute(update(Execution).values(bell_at=func.clock_timestamp() - HOUR))
    schedule_ticks.tick()
    assert times(schedule_id)[0].bell_at >= row.bell_at


def test_late_work_is_done_once_or_left_out_as_it_was_asked(client: Client) -> None:
    once, never = (added(client, kind="every", every_s=3600, in_s=None, misfire=m) for m in ("run_once", "skip"))
    for schedule_id in (once, never):
        due(schedule_id, ago=5 * HOUR)
    schedule_ticks.tick()
    assert [row.state for row in times(once)] == ["queued"]
    [left] = times(never)
    assert (left.state, left.error["code"]) == ("skipped", "schedule_missed")
    for schedule_id in (once, never):
        assert datetime.fromisoformat(client.get(f"{API}/{schedule_id}").json["next_run_at"]) > datetime.now(UTC)


def test_a_time_zone_that_is_known_no_longer_stops_its_own_schedule_and_no_other(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    lost, other = added(client, kind="cron", cron="0 18 * * *", timezone="Asia/Seoul", in_s=None), added(client, kind="every", every_s=3600, in_s=None)
    for schedule_id in (lost, other):
        due(schedule_id)
    monkeypatch.setattr("app.domain.schedule.zones", lambda: frozenset({"UTC"}))
    schedule_ticks.tick()
    [left], [done] = times(lost), times(other)
    assert (left.state, left.error["code"], done.state) == ("skipped", "schedule_zone_unknown", "queued")
    shown = client.get(f"{API}/{lost}").json
    assert (shown["next_run_at"], client.patch(f"{API}/{lost}", json={"paused": True}).status_code) == (None, 200)
    assert client.patch(f"{API}/{lost}", json={"paused": False}).json["next_run_at"] is None
    assert client.get(f"{API}/{lost}").status_code == 200


def test_work_that_still_runs_is_left_out_or_waits_for_its_end(client: Client, dora: User) -> None:
    rows.workspace(dora, "db")
    with unit_of_work() as uow:
        uow.session.execute(update(Server).values(status=ServerStatus.STOPPED, in_state=True))
    alone, after = (
        added(client, kind="every", every_s=3600, in_s=None, overlap=overlap, work={"action": "start", "servers": [name]}) for overlap, name in (("skip", "web"), ("queue", "db"))
    )
    for schedule_id in (alone, after):
        due(schedule_id, ago=timedelta(seconds=30))
        begin(schedule_id)
        due(schedule_id)
    schedule_ticks.tick()
    assert [(r.state, (r.error or {}).get("code")) for r in times(alone)] == [("running", None), ("skipped", "schedule_still_running")]
    waiting = times(after)[-1]
    assert (waiting.state, waiting.bell_at) == ("queued", None)
    end_actions()
    schedule_ticks.tick()
    assert times(after)[-1].bell_at is not None


def test_by_hand_it_starts_now_even_when_it_is_paused_but_not_twice(client: Client) -> None:
    schedule_id = added(client, kind="at", at="2036-01-01T00:00:00Z", in_s=None)
    assert client.patch(f"{API}/{schedule_id}", json={"paused": True}).json["next_run_at"] is None
    assert client.post(f"{API}/{schedule_id}/run").status_code == 202
    assert begin(schedule_id).by_hand
    busy = client.post(f"{API}/{schedule_id}/run")
    assert (busy.status_code, busy.json["code"]) == (409, "schedule_busy")
    resumed = client.patch(f"{API}/{schedule_id}", json={"paused": False}).json
    assert resumed["next_run_at"].startswith("2036-01-01T00:00")


def test_what_is_paused_or_deleted_does_not_start(client: Client) -> None:
    paused, gone = added(client), added(client)
    client.patch(f"{API}/{paused}", json={"paused": True})
    assert client.delete(f"{API}/{gone}").status_code == 204
    schedule_ticks.tick()
    assert times(paused) == times(gone) == [] and client.get(f"{API}/{gone}").status_code == 404


def test_a_change_of_its_time_is_checked_and_counts_from_now(client: Client) -> None:
    schedule_id = added(client, kind="cron", cron="0 3 * * *", in_s=None)
    moved = client.patch(f"{API}/{schedule_id}", json={"kind": "cron", "cron": "0 4 * * MON", "timezone": "Asia/Seoul"}).json
    assert (moved["cron"], moved["timezone"]) == ("0 4 * * MON", "Asia/Seoul") and "T19:00" in moved["next_run_at"]
    zoned = client.patch(f"{API}/{schedule_id}", json={"timezone": "UTC"}).json
    assert zoned["cron"] == "0 4 * * MON" and "T04:00" in zoned["next_run_at"]
    assert client.patch(f"{API}/{schedule_id}", json={"kind": "cron", "cron": "nonsense"}).status_code == 422
    assert client.patch(f"{API}/{schedule_id}", json={"name": "Other"}).json["next_run_at"] == zoned["next_run_at"]


# ---------------------------------------------------------------- what can go wrong
def test_work_that_cannot_begin_fails_with_its_reason_and_its_creator_is_told(client: Client, dora: User) -> None:
    schedule_id = added(client)
    with unit_of_work() as uow:
        uow.session.execute(update(Server).values(deleted_at=func.clock_timestamp()))
    row = begin(schedule_id)
    assert (row.state, row.error["code"]) == ("failed", "schedule_no_servers")
    assert client.get(f"/api/result/{row.task_id}").status_code == 500
    with unit_of_work() as uow:
        [note] = uow.session.scalars(select(Notification).where(Notification.user_id == dora.id, Notification.code == "schedule_failed"))
    assert note.link == f"/schedules/{schedule_id}"


def test_who_may_do_less_than_before_has_less_done(client: Client, dora: User) -> None:
    schedule_id = added(client)
    with unit_of_work() as uow:
        uow.session.execute(update(User).where(User.id == dora.id).values(role=Role.VIEWER))
    assert begin(schedule_id).error["code"] == "forbidden" and actions() == []


def test_nothing_starts_for_somebody_who_is_locked_out(client: Client, dora: User) -> None:
    schedule_id = added(client)
    with unit_of_work() as uow:
        uow.session.execute(update(User).where(User.id == dora.id).values(active=False))
    assert begin(schedule_id).error["code"] == "schedule_user_inactive" and actions() == []


def test_a_server_that_is_gone_is_left_out_and_named(client: Client, dora: User) -> None:
    rows.workspace(dora, "db")
    with unit_of_work() as uow:
        uow.session.execute(update(Server).values(status=ServerStatus.STOPPED, in_state=True))
    schedule_id = added(client, work={"action": "start", "servers": ["web", "db"]})
    with unit_of_work() as uow:
        uow.session.execute(update(Server).where(Server.name == "db").values(deleted_at=func.clock_timestamp()))
    row = begin(schedule_id)
    assert row.result == {"servers": ["web"], "missing": ["db"]} and row.state == "running"


def test_a_failed_part_makes_the_time_a_failed_one(client: Client) -> None:
    schedule_id = added(client)
    row = begin(schedule_id)
    end_actions(ActionState.FAILED)
    schedule_ticks.tick()
    [ended] = times(schedule_id)
    assert (ended.state, ended.error) == ("failed", {"code": "schedule_work_failed", "args": {"failed": 1}})
    assert client.get(f"/api/tasks/{row.task_id}").json["error"]["code"] == "schedule_work_failed"


# ---------------------------------------------------------------- kinds of work
def test_a_deletion_at_a_time_becomes_a_run(client: Client) -> None:
    schedule_id = added(client, work={"action": "delete", "servers": ["web"], "confirm": "delete 1"})
    row = begin(schedule_id)
    with unit_of_work() as uow:
        [run] = uow.session.scalars(select(Run).where(Run.bulk_id == row.bulk_id))
        assert (run.kind.value, run.names) == ("delete", ["web"])
        run.state, run.finished_at = RunState.APPLIED, datetime.now(UTC)
    schedule_ticks.tick()
    assert times(schedule_id)[0].state == "succeeded"


def test_of_the_snapshots_a_schedule_makes_the_newest_stay(client: Client) -> None:
    schedule_id = added(client, kind="every", every_s=3600, in_s=None, work={"action": "snapshot_create", "servers": ["web"], "snapshot": {"prefix": "hourly", "keep": 2}})
    for number in range(4):
        due(schedule_id, ago=timedelta(seconds=40 - number))
        begin(schedule_id)
        end_actions()
        schedule_ticks.tick()
        end_actions()
    made = [a.arguments["name"] for a in actions() if a.kind.value == "snapshot_create"]
    gone = [a.arguments["name"] for a in actions() if a.kind.value == "snapshot_delete"]
    assert len(made) == len(set(made)) == 4 and all(name.startswith("hourly-") for name in made)
    assert gone == made[:2]


def test_a_server_is_made_at_a_time(client: Client, cluster: Cluster, dora: User) -> None:
    schedule_id = added(client, work={"action": "create", "server": {"name": "later", "template": "debian-12", "memory_mib": 512}})
    row = begin(schedule_id)
    with unit_of_work() as uow:
        run = uow.session.get_one(Run, row.run_id)
    assert (run.names, run.created_by_id, row.state) == (["later"], dora.id, "running")
