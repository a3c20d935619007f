"""Workspaces: who sees them, their state versions, how long these are kept, and locks of people and of dead runs."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from app.domain.permissions import Role
from app.domain.run_state import RunState
from app.errors import Fenced
from app.models import AuditEvent, Run, RunEvent, StateVersion, User, Workspace
from app.services import run_execution, settings, state_history, sweeper
from app.services.uow import unit_of_work
from tests.integration import rows

Client = Any
Make = Callable[..., Any]


@pytest.fixture
def workspace(dora: User) -> Workspace:
    return rows.workspace(dora)


@pytest.fixture
def owner(client_for: Make, dora: User) -> Client:
    return client_for(dora)


@pytest.fixture
def operator(client_for: Make, olga: User) -> Client:
    return client_for(olga)


@pytest.fixture
def stranger(client_for: Make, make_user: Make) -> Client:
    return client_for(make_user("developer", "stefan"))


def test_who_started_a_run_sees_its_workspace(workspace: Workspace, make_user: Make, client_for: Make) -> None:
    former = make_user("operator", "fred")
    rows.run(workspace, former)
    with unit_of_work() as uow:
        uow.session.merge(former).role = Role.DEVELOPER
    assert client_for(former).get("/api/workspaces/w-web").status_code == 200


def audited(action: str) -> list[AuditEvent]:
    with unit_of_work() as uow:
        return list(uow.session.scalars(select(AuditEvent).where(AuditEvent.action == action)))


def now(run: Run) -> Run:
    with unit_of_work() as uow:
        return uow.session.get_one(Run, run.id)


def two_states(workspace: Workspace, by: User) -> tuple[int, int]:
    """Version ids: web grows and gets a new key, old goes, fresh comes."""
    of = rows.run(workspace, by)
    web = {"cpu": [{"cores": 1, "type": "host"}], "memory": [{"dedicated": 512}], "tags": ["a"], "description": "one"}
    keys = {"initialization": [{"user_account": [{"keys": ["ssh-ed25519 OLD"], "password": "hunter2"}]}]}
    old = rows.keep(of, rows.state(1, web={**web, **keys}, old={"vm_id": 7}))
    web = {**web, "cpu": [{"cores": 4, "type": "host"}], "tags": ["a", "b"], "description": "secret"}
    keys = {"initialization": [{"user_account": [{"keys": ["ssh-ed25519 NEW"], "password": "hunter3"}]}]}
    new = rows.keep(of, rows.state(2, ("description",), web={**web, **keys}, fresh={"vm_id": 8}))
    return old, new


# ---------------------------------------------------------------- seeing
def test_strangers_find_no_workspace_and_nothing_of_it(workspace: Workspace, dora: User, stranger: Client, owner: Client) -> None:
    old, new = two_states(workspace, dora)
    paths = ["", "/states", f"/states/compare?old={old}&new={new}"]
    assert {p: owner.get(f"/api/workspaces/w-web{p}").status_code for p in paths} == dict.fromkeys(paths, 200)
    assert {p: stranger.get(f"/api/workspaces/w-web{p}").status_code for p in paths} == dict.fromkeys(paths, 404)
    assert owner.get("/workspaces/w-web").status_code == 200
    assert stranger.get("/workspaces/w-web").status_code == stranger.get("/workspaces/w-web/lock-card").status_code == 404
    assert [w["name"] for w in owner.get("/api/workspaces").json["items"]] == ["w-web"]
    assert stranger.get("/api/workspaces").json["items"] == []


def test_workspaces_are_listed_by_name_page_by_page(dora: User, operator: Client) -> None:
    for name in ("b", "a", "c"):
        rows.workspace(dora, name)
    first = operator.get("/api/workspaces?limit=2").json
    second = operator.get(f"/api/workspaces?limit=2&cursor={first['next_cursor']}").json
    assert [w["name"] for w in first["items"] + second["items"]] == ["w-a", "w-b", "w-c"]
    assert (first["items"][0]["servers"], second["next_cursor"]) == (1, None)
    assert [w["name"] for w in operator.get("/api/workspaces?q=-B").json["items"]] == ["w-b"]


# ---------------------------------------------------------------- state versions
def test_versions_are_listed_newest_first(workspace: Workspace, dora: User, owner: Client) -> None:
    of = rows.run(workspace, dora)
    for serial in (1, 2, 5):
        rows.keep(of, rows.state(serial, web={"vm_id": 7}))
    first = owner.get("/api/workspaces/w-web/states?limit=2").json
    second = owner.get(f"/api/workspaces/w-web/states?limit=2&cursor={first['next_cursor']}").json
    found = first["items"] + second["items"]
    assert [(v["serial"], v["run_id"], v["resources"], v["lineage"]) for v in found] == [(n, of.id, 1, rows.LINEAGE) for n in (5, 2, 1)]
    assert found[0]["stored_bytes"] > 100 and second["next_cursor"] is None


def test_a_comparison_names_servers_and_attributes_and_shows_plain_values_only(workspace: Workspace, dora: User, owner: Client) -> None:
    old, new = two_states(workspace, dora)
    answer = owner.get(f"/api/workspaces/w-web/states/compare?old={old}&new={new}")
    assert [(s["key"], s["action"]) for s in answer.json["servers"]] == [("fresh", "added"), ("old", "removed"), ("web", "changed")]
    assert answer.json["servers"][2]["attributes"] == [
        {"path": "cpu.0.cores", "before": 1, "after": 4},
        {"path": "description"},  # plain, but Terraform marks it as sensitive
        {"path": "initialization.0.user_account.0.keys"},
        {"path": "initialization.0.user_account.0.password"},
        {"path": "tags", "before": ["a"], "after": ["a", "b"]},
    ]
    assert "hunter" not in answer.text and "ssh-ed25519" not in answer.text
    page = owner.get(f"/workspaces/w-web?old={old}&new={new}")
    assert "initialization.0.user_account.0.password" in page.text
    assert "hunter" not in page.text and "ssh-ed25519" not in page.text


def test_versions_of_another_workspace_are_not_compared(workspace: Workspace, dora: User, owner: Client, operator: Client) -> None:
    old, _new = two_states(workspace, dora)
    foreign = rows.keep(rows.run(rows.workspace(dora, "other"), dora), rows.state(1, other={"vm_id": 9}))
    assert owner.get(f"/api/workspaces/w-web/states/compare?old={old}&new={foreign}").status_code == 404
    assert operator.get(f"/api/workspaces/w-web/states/{foreign}/download").status_code == 404
    assert owner.get("/api/workspaces/w-web/states/compare?old=x").status_code == 422


def test_a_download_is_the_state_itself_needs_its_permission_and_is_audited(
    workspace: Workspace, dora: User, owner: Client, operator: Client, client_for: Make, make_user: Make
) -> None:
    old, _new = two_states(workspace, dora)
    path = f"/api/workspaces/w-web/states/{old}/download"
    viewer = client_for(make_user("viewer"))
    assert [c.get(path).status_code for c in (owner, viewer)] == [403, 403]
    assert audited("state.download") == []
    answer = operator.get(path)
    assert (answer.status_code, answer.mimetype, json.loads(answer.data)["serial"]) == (200, "application/json", 1)
    assert answer.headers["Content-Disposition"] == 'attachment; filename="w-web-1.tfstate"'
    (row,) = audited("state.download")
    assert (row.username, row.object_name, row.detail) == ("olga", "w-web", {"version": old, "serial": 1})
    shown = [c.get("/workspaces/w-web").text for c in (owner, operator)]
    assert [path in text for text in shown] == [False, True]


# ---------------------------------------------------------------- keeping
def versions(of: Run, ages_days: list[float]) -> list[int]:
    with unit_of_work() as uow:
        made = [
            StateVersion(
                workspace_id=of.workspace_id, run_id=of.id, fence=1, serial=n, lineage="l", sha256="s", body=b"b",
                created_at=datetime.now().astimezone() - timedelta(days=age),
            )
            for n, age in enumerate(ages_days)
        ]  # fmt: skip
        uow.session.add_all(made)
        uow.session.flush()
        return [v.id for v in made]


def left(of: Run) -> list[int]:
    with unit_of_work() as uow:
        stmt = select(StateVersion.id).where(StateVersion.workspace_id == of.workspace_id)
        return sorted(uow.session.scalars(stmt))


def prune(**note: Any) -> None:
    with unit_of_work() as uow:
        if note:
            settings.write_value(uow.session, state_history.PRUNE_KEY, note)
        state_history.prune(uow)


def test_the_newest_fifty_and_all_of_thirty_days_are_kept(workspace: Workspace, dora: User) -> None:
    few, busy, old = (rows.run(rows.workspace(dora, name), dora) for name in ("few", "busy", "old"))
    of_few = versions(few, [400.0] * 50)
    of_busy = versions(busy, [31.0] * 3 + [29.0] * 60)
    of_old = versions(old, [100.0] * 40 + [31.0] * 15 + [1.0] * 2)
    prune()
    assert (left(few), left(busy), left(old)) == (of_few, of_busy[3:], of_old[-50:])


def test_old_versions_are_looked_for_once_a_minute_and_going_on_in_line(workspace: Workspace, dora: User) -> None:
    of = rows.run(workspace, dora)
    prune()
    made = versions(of, [100.0] * 51)
    prune()
    assert left(of) == made
    with unit_of_work() as uow:
        a_while_ago = (uow.session.scalars(select(func.clock_timestamp())).one() - timedelta(seconds=61)).isoformat()
    prune(at=a_while_ago, workspace=workspace.id)  # this one's turn was before: the line begins anew
    assert left(of) == made
    prune(at=a_while_ago, workspace=0)
    assert left(of) == made[1:]


# ---------------------------------------------------------------- locks of people
def test_a_locked_workspace_makes_a_new_run_wait_and_unlocking_begins_it(
    workspace: Workspace, owner: Client, operator: Client, told: Callable[[], list[Any]]
) -> None:
    locked = operator.post("/api/workspaces/w-web/lock", json={"reason": " moving <b>storage</b> "})
    assert locked.json["lock"]["holder"] == "person"
    assert {k: locked.json["lock"]["person"][k] for k in ("by", "reason")} == {"by": "olga", "reason": "moving <b>storage</b>"}
    asked = owner.patch("/api/servers/web", json={"cores": 2})
    assert asked.status_code == 202, asked.json
    path = f"/api/runs/{asked.json['run_id']}"
    waiting = owner.get(path).json
    assert (waiting["state"], waiting["waiting_for"]["code"]) == ("pending", "waiting_for_unlock")
    assert "olga" in waiting["waiting_for"]["message"] and "moving" in waiting["waiting_for"]["message"]
    assert "&lt;b&gt;storage" in owner.get(f"/runs/{waiting['id']}").text
    with unit_of_work() as uow:
        sweeper.promote_pending(uow)
    assert owner.get(path).json["state"] == "pending"
    assert operator.post("/api/workspaces/w-web/unlock").json["lock"]["holder"] == "run"
    assert owner.get(path).json["state"] == "plan_queued"
    with unit_of_work() as uow:
        run = uow.session.get_one(Run, waiting["id"])
        assert run.waiting_for is None and run.bell_at is not None
    (lock,), (unlock,) = audited("workspace.lock"), audited("workspace.unlock")
    assert (lock.username, lock.object_name, lock.detail) == ("olga", "w-web", {"reason": "moving <b>storage</b>"})
    assert (unlock.username, unlock.detail["locked_by"]) == ("olga", "olga")
    events = [(audience, data["locked"]) for audience, kind, data in told() if kind == "workspace"]
    with unit_of_work() as uow:
        dora = uow.session.scalars(select(User.id).where(User.username == "dora")).one()
    assert events == [(f"owner:{dora}", True), (f"owner:{dora}", False)]


def test_an_active_run_goes_on_while_people_lock_and_a_waiting_one_learns_why_it_waits(
    workspace: Workspace, dora: User, operator: Client
) -> None:
    active, waiting = rows.run(workspace, dora, RunState.APPLYING), rows.run(workspace, dora, RunState.PENDING, 0)
    rows.lease(active, age_s=0)
    held = operator.post("/api/workspaces/w-web/lock", json={"reason": "r"}).json["lock"]
    assert (held["holder"], held["run"]["id"], held["run"]["breakable"], held["person"]["by"]) == ("run", active.id, False, "olga")
    assert (now(waiting).waiting_for or {})["code"] == "waiting_for_run"
    with unit_of_work() as uow:
        run_execution.end(uow, active.id, active.fence, RunState.APPLIED, {})
    assert now(active).state == RunState.APPLIED
    assert now(waiting).state == RunState.PENDING
    assert now(waiting).waiting_for == {"code": "waiting_for_unlock", "args": {"by": "olga", "reason": "r"}}


def test_a_lock_is_somebodys_needs_a_reason_and_the_permission(workspace: Workspace, owner: Client, operator: Client) -> None:
    assert owner.post("/api/workspaces/w-web/lock", json={"reason": "x"}).status_code == 403
    assert operator.post("/api/workspaces/w-none/lock", json={"reason": "x"}).status_code == 404
    for bad in ({}, {"reason": " "}, {"reason": "x" * 501}, {"reason": "a\u0007b"}, {"reason": "x", "more": 1}):
        assert operator.post("/api/workspaces/w-web/lock", json=bad).status_code == 422, bad
    assert operator.post("/api/workspaces/w-web/unlock").json["code"] == "workspace_not_locked"
    assert operator.post("/api/workspaces/w-web/lock", json={"reason": "x" * 500}).status_code == 200
    again = operator.post("/api/workspaces/w-web/lock", json={"reason": "mine"})
    assert (again.status_code, again.json["code"], again.json["by"]) == (409, "workspace_locked", "olga")
    assert owner.post("/api/workspaces/w-web/unlock").status_code == 403


# ---------------------------------------------------------------- locks of dead runs
def test_the_lock_of_a_living_run_is_not_broken(workspace: Workspace, dora: User, operator: Client) -> None:
    run = rows.run(workspace, dora, RunState.APPLYING)
    rows.lease(run, age_s=15)
    answer = operator.post("/api/workspaces/w-web/break-lock", json={"reason": "impatient"})
    assert (answer.status_code, answer.json["code"], answer.json["run"]) == (409, "lease_fresh", run.id)
    assert (now(run).state, now(run).fence) == (RunState.APPLYING, run.fence)
    assert audited("workspace.break_lock") == []
    assert "break-lock" not in operator.get("/workspaces/w-web").text


@pytest.mark.parametrize("state", [RunState.PLANNING, RunState.APPLYING])
def test_breaking_the_lock_of_a_dead_run_ends_it_and_refuses_its_late_writes(
    workspace: Workspace, dora: User, owner: Client, operator: Client, state: RunState
) -> None:
    run, waiting = rows.run(workspace, dora, state), rows.run(workspace, dora, RunState.PENDING, 0)
    rows.lease(run, age_s=25)
    assert owner.post("/api/workspaces/w-web/break-lock", json={"reason": "x"}).status_code == 403
    assert operator.post("/api/workspaces/w-web/break-lock", json={"reason": ""}).status_code == 422
    assert "break-lock" in operator.get("/workspaces/w-web").text
    assert "break-lock" not in owner.get("/workspaces/w-web").text
    answer = operator.post("/api/workspaces/w-web/break-lock", json={"reason": "host burnt"})
    assert answer.status_code == 200, answer.json
    ended = now(run)
    assert (ended.state, ended.fence) == (RunState.ERRORED, run.fence + 1)
    assert ended.error == {"code": "lock_broken", "args": {"by": "olga", "reason": "host burnt"}, "detail": ""}
    assert now(waiting).state == RunState.PLAN_QUEUED
    with pytest.raises(Fenced), unit_of_work() as uow:
        run_execution.guard(uow, run.id, run.fence)
    (row,) = audited("workspace.break_lock")
    assert (row.username, row.object_name, row.detail) == ("olga", "w-web", {"run": run.id, "reason": "host burnt"})
    assert "host burnt" in owner.get(f"/runs/{run.id}").text
    with unit_of_work() as uow:
        detail = uow.session.scalars(select(RunEvent.detail).where(RunEvent.run_id == run.id, RunEvent.name == "errored")).one()
    assert detail == {"by": "olga", "comment": "host burnt"}


def test_only_a_run_that_plans_or_applies_has_a_lock_to_break(workspace: Workspace, dora: User, operator: Client) -> None:
    for state in (RunState.PENDING, RunState.PLANNED):
        rows.run(workspace, dora, state)
        answer = operator.post("/api/workspaces/w-web/break-lock", json={"reason": "x"})
        assert (answer.status_code, answer.json["code"]) == (409, "workspace_not_held")


# ---------------------------------------------------------------- the page
def test_the_page_locks_and_unlocks_and_keeps_what_was_typed(workspace: Workspace, client_for: Make, olga: User, dora: User) -> None:
    browser = client_for(olga, "cookie")
    refused = browser.post("/workspaces/w-web/lock", data={"reason": "x" * 501})
    assert refused.status_code == 422 and "x" * 501 in refused.text and "At most 500 characters." in refused.text
    assert browser.post("/workspaces/w-web/lock", data={"reason": "<i>inert</i>"}).location == "/workspaces/w-web"
    page = browser.get("/workspaces/w-web").text
    assert "&lt;i&gt;inert" in page and "<i>inert" not in page and "/workspaces/w-web/unlock" in page
    reader = client_for(dora, "cookie").get("/workspaces/w-web/lock-card").text
    assert "olga" in reader and "<form" not in reader
    assert browser.post("/workspaces/w-web/unlock").status_code == 303
    assert "/workspaces/w-web/lock" in browser.get("/workspaces/w-web").text


def test_runs_and_servers_lead_to_their_workspace(workspace: Workspace, dora: User, owner: Client) -> None:
    run = rows.run(workspace, dora)
    for path in (f"/runs/{run.id}", "/servers/web"):
        assert 'href="/workspaces/w-web"' in owner.get(path).text
