"""A restored copy with its brake on: nothing begins or goes on, every page says so, and an administrator lets runs go on."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func, select, update

from app.domain.action_state import ActionKind, ActionState
from app.domain.run_state import RunState
from app.models import Action, Execution, Notification, Outbox, Run, RunEvent, Schedule, Server, User
from app.services import action_lease, pause, run_execution, schedule_ticks, settings, sweeper
from app.services.actor import Actor
from app.services.uow import unit_of_work
from tests.integration import rows

Make = Callable[..., Any]
SENTENCE = "This is a restored copy."


@pytest.fixture
def paused() -> None:
    with unit_of_work() as uow:
        settings.write_value(uow.session, pause.KEY, {"by": "restore"})


def claimed(run: Run) -> bool:
    with unit_of_work() as uow:
        return run_execution.claim(uow, run.task_id) is not None


def resumed(client: Any) -> None:
    assert client.post("/api/settings/resume-runs").json == {"success": True, "resumed": True}


@pytest.mark.parametrize("state", [RunState.PLAN_QUEUED, RunState.PLANNING, RunState.APPLYING])
def test_no_run_begins_or_goes_on_while_runs_are_paused(paused, dora: User, make_user: Make, client_for: Make, state: RunState):
    run = rows.run(rows.workspace(dora), dora, state)
    assert not claimed(run)
    resumed(client_for(make_user("administrator")))
    assert claimed(run)


def test_no_action_is_sent_while_runs_are_paused(paused, dora: User, make_user: Make, client_for: Make):
    rows.workspace(dora)
    task_id = uuid4()
    with unit_of_work() as uow:
        server = uow.session.scalars(select(Server)).one()
        uow.session.add(Action(task_id=task_id, server_id=server.id, created_by_id=dora.id, kind=ActionKind.START, state=ActionState.QUEUED))
    assert action_lease.claim(task_id) is None
    resumed(client_for(make_user("administrator")))
    assert action_lease.claim(task_id) is not None


def test_the_sweeper_leaves_runs_alone_while_they_are_paused(paused, dora: User, make_user: Make, client_for: Make):
    made = rows.workspace(dora)
    dead, waiting = rows.run(made, dora, RunState.APPLYING), rows.run(rows.workspace(dora, "other"), dora, RunState.PENDING)
    rows.lease(dead, 3600)
    with unit_of_work() as uow:
        uow.session.execute(update(Run).values(created_at=func.clock_timestamp() - func.make_interval(0, 0, 0, 1)))
    sweeper.tick()
    with unit_of_work() as uow:
        assert uow.session.scalars(select(RunEvent.name)).all() == []
        assert uow.session.scalar(select(Run.state).where(Run.id == waiting.id)) == RunState.PENDING
        assert uow.session.scalars(select(Outbox.kind)).all() == []
    resumed(client_for(make_user("administrator")))
    sweeper.tick()
    with unit_of_work() as uow:
        assert "runner_lost" in uow.session.scalars(select(RunEvent.name)).all()
        assert uow.session.scalar(select(Run.state).where(Run.id == waiting.id)) == RunState.PLAN_QUEUED


def test_a_schedule_is_not_due_while_runs_are_paused(paused, dora: User, make_user: Make, client_for: Make):
    rows.workspace(dora)
    body = {"name": "wake", "kind": "in", "in_s": 0, "work": {"action": "start", "servers": ["web"]}}
    assert client_for(dora).post("/api/schedules", json=body).status_code == 201
    with unit_of_work() as uow:
        uow.session.execute(update(Schedule).values(next_run_at=func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, 1)))
    schedule_ticks.tick()
    with unit_of_work() as uow:
        assert uow.session.scalars(select(Execution.id)).all() == []
    resumed(client_for(make_user("administrator")))
    schedule_ticks.tick()
    with unit_of_work() as uow:
        assert len(uow.session.scalars(select(Execution.id)).all()) == 1


def test_every_page_says_that_runs_are_paused_and_only_an_administrator_has_the_button(paused, olga: User, make_user: Make, client_for: Make):
    for user, buttons in ((olga, 0), (make_user("administrator"), 1)):
        for path in ("/", "/servers", "/nodes", "/account"):
            page = client_for(user, "cookie").get(path).text
            assert (SENTENCE in page, page.count("/admin/settings/resume-runs")) == (True, buttons)
    assert client_for(olga).post("/api/settings/resume-runs").status_code == 403


def test_after_the_button_no_page_says_so_and_a_second_press_is_harmless(paused, make_user: Make, client_for: Make):
    root = make_user("administrator", "root")
    browser = client_for(root, "cookie")
    assert browser.post("/admin/settings/resume-runs").status_code == 303
    assert SENTENCE not in browser.get("/").text
    assert client_for(root).post("/api/settings/resume-runs").json == {"success": True, "resumed": False}
    listed = client_for(root).get("/api/audit", query_string={"action": "runs.resume"}).json["items"]
    assert [(row["username"], row["detail"]) for row in listed] == [("root", {"waiting": 0})]


def test_a_waiting_run_says_that_it_waits_for_the_administrator(paused, dora: User, client_for: Make):
    run = rows.run(rows.workspace(dora), dora, RunState.PLAN_QUEUED)
    assert client_for(dora).get(f"/api/runs/{run.id}").json["waiting"]["code"] == "waiting_for_resume"


def test_unread_notifications_are_counted_no_further_than_the_frame_says(dora: User):
    with unit_of_work() as uow:
        uow.session.add_all([Notification(user_id=dora.id, event_key=f"e-{n}", code="older", legacy_text="x") for n in range(pause.MANY + 7)])
    with unit_of_work() as uow:
        assert pause.frame(uow.session, Actor.of(dora)) == pause.Frame(pause.MANY, paused=False)
