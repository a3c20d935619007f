"""The same work on many servers: the question, one run of each workspace, and what became of each."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, update

from app.domain.run_state import RunKind, RunState
from app.domain.server_status import ServerStatus
from app.models import Action, AuditEvent, Notification, Run, Server, User
from app.services import run_execution, runs
from app.services.run_settlement import Seen
from app.services.uow import unit_of_work
from tests.integration import rows

Client = Any
Make = Callable[..., Any]
POST = "/api/servers/bulk_action/async"


@pytest.fixture
def operator(olga: User, client_for: Callable[..., Client]) -> Client:
    return client_for(olga)


@pytest.fixture
def three(olga: User) -> list[str]:
    """Three servers in two workspaces: `web` and `web-b` share one."""
    web, app = rows.workspace(olga, "web"), rows.workspace(olga, "app")
    with unit_of_work() as uow:
        uow.session.add(Server(
            slug="web-b", name="web-b", workspace_id=web.id, cluster_id=web.cluster_id, owner_id=olga.id, template_name="none", marker="m",
            vmid=900, node_name="pve1", status=ServerStatus.STOPPED, cores=1, memory_mib=512, disks=[{"interface": "scsi0", "size_gib": 20, "storage": "local-lvm"}],
            nics=[], username="ubuntu", in_state=True, tags=["old"],
        ))  # fmt: skip
    assert app.id != web.id
    return ["app", "web", "web-b"]


def asked(client: Client, names: list[str], action: str, **more: Any) -> tuple[str, list[Run]]:
    answer = client.post(POST, json={"names": names, "action": action, **more})
    assert answer.status_code == 202, answer.json
    with unit_of_work() as uow:
        found = uow.session.scalars(select(Run).where(Run.id.in_(answer.json["run_ids"])).order_by(Run.id)).all()
    return answer.json["group_id"], list(found)


def ended(run: Run, state: RunState, **seen: Seen) -> None:
    """Let a run end as its runner would: from applying on, with what Proxmox shows."""
    with unit_of_work() as uow:
        row = uow.session.get_one(Run, run.id)
        for step in (RunState.PLANNING, RunState.PLANNED, RunState.APPLY_QUEUED, RunState.APPLYING):
            runs.transition(uow, row, step)
        error = {"code": "storage_full", "args": {}, "detail": ""} if state == RunState.ERRORED else None
        run_execution.end(uow, run.id, row.fence, state, seen, error)


def results(client: Client, group: str) -> tuple[int, dict[str, str]]:
    answer = client.get(f"/api/result/group/{group}")
    return answer.status_code, {r["server"]: (r["error"] or {}).get("code") or r["status"] for r in answer.json["results"]}


def tags() -> dict[str, list[str]]:
    with unit_of_work() as uow:
        return {name: found for name, found in uow.session.execute(select(Server.name, Server.tags))}


def test_tags_become_one_run_of_each_workspace_and_one_notification(operator: Client, three: list[str]) -> None:
    group, begun = asked(operator, three, "tag", add=["prod"], remove=["old"])
    assert sorted(sorted(run.names) for run in begun) == [["app"], ["web", "web-b"]]
    assert {run.kind for run in begun} == {RunKind.CHANGE}
    assert begun[1].intent["servers"] | begun[0].intent["servers"] == {name: {"tags": ["prod"]} for name in three}
    assert results(operator, group)[0] == 202
    ended(begun[0], RunState.APPLIED)
    with unit_of_work() as uow:
        assert uow.session.scalars(select(Notification.code)).all() == []
    ended(begun[1], RunState.APPLIED)
    assert results(operator, group) == (200, dict.fromkeys(three, "applied"))
    assert set(map(tuple, tags().values())) == {("prod",)}
    with unit_of_work() as uow:
        told = uow.session.scalars(select(Notification)).one()
        assert (told.code, told.args["done"], told.link) == ("actions_succeeded", 3, f"/servers/bulk/{group}")
        assert len(uow.session.scalars(select(AuditEvent).where(AuditEvent.action == "server.change")).all()) == 3


def test_a_run_that_fails_for_one_server_keeps_what_it_did_to_the_other(operator: Client, three: list[str]) -> None:
    group, [run] = asked(operator, ["web", "web-b"], "tag", add=["prod"])
    there = {"exists": True, "status": ServerStatus.STOPPED, "in_state": True}
    ended(run, RunState.ERRORED, web=Seen(**there, done=True), **{"web-b": Seen(**there)})
    assert results(operator, group) == (500, {"web": "applied", "web-b": "storage_full"})
    assert tags() == {"app": [], "web": ["prod"], "web-b": ["old"]}
    with unit_of_work() as uow:
        assert uow.session.scalars(select(Notification.code)).all() == ["actions_partly_failed"]
    # Once more: for the other one only.
    again = operator.post(f"/api/runs/{run.id}/retry")
    with unit_of_work() as uow:
        row = uow.session.get_one(Run, again.json["run_id"])
        assert (row.names, row.intent["servers"]) == (["web-b"], {"web-b": {"tags": ["old", "prod"]}})


def test_a_failed_run_of_many_is_asked_for_again_with_all_that_are_left(operator: Client, three: list[str]) -> None:
    _, [run] = asked(operator, ["web", "web-b"], "tag", add=["prod"])
    ended(run, RunState.ERRORED)
    again = operator.post(f"/api/runs/{run.id}/retry")
    assert again.status_code == 202, again.json
    with unit_of_work() as uow:
        assert sorted(uow.session.get_one(Run, again.json["run_id"]).intent["servers"]) == ["web", "web-b"]


def test_deletion_is_typed_with_its_number_and_takes_each_workspace_in_one_run(operator: Client, three: list[str]) -> None:
    refused = operator.post(POST, json={"names": three, "action": "delete", "confirm": "delete 2"})
    assert (refused.status_code, refused.json["errors"][0]["field"]) == (422, "confirm")
    group, begun = asked(operator, three, "delete", confirm="delete 3")
    assert {run.kind for run in begun} == {RunKind.DELETE} and len(begun) == 2
    one, two = begun
    ended(one, RunState.APPLIED)
    gone, left = {"exists": False}, {"exists": True, "status": ServerStatus.STOPPED}
    seen = {"web": Seen(**gone), "web-b": Seen(**left)} if "web" in two.names else {"app": Seen(**left)}
    ended(two, RunState.ERRORED, **seen)
    status, by_name = results(operator, group)
    assert status == 500 and sorted(by_name.values()).count("storage_full") == 1
    with unit_of_work() as uow:
        assert len(uow.session.scalars(select(Server).where(Server.deleted_at.is_(None))).all()) == 1


def test_a_server_that_is_being_deleted_is_refused_alone(operator: Client, three: list[str]) -> None:
    operator.delete("/api/servers/web", json={"confirm": "web"})
    group, begun = asked(operator, three, "tag", add=["prod"])
    assert sorted(name for run in begun for name in run.names) == ["app", "web-b"]
    assert results(operator, group)[1]["web"] == "bulk_not_made"


def test_tags_that_are_there_already_need_no_run(operator: Client, three: list[str]) -> None:
    group, begun = asked(operator, ["web-b"], "tag", add=["old"])
    assert begun == [] and results(operator, group) == (200, {"web-b": "unchanged"})
    assert operator.post(POST, json={"names": three, "action": "tag"}).json["errors"][0]["code"] == "bulk_no_tags"


def test_a_snapshot_of_each(operator: Client, three: list[str]) -> None:
    assert operator.post(POST, json={"names": three, "action": "snapshot_create"}).status_code == 422
    asked(operator, three, "snapshot_create", snapshot={"name": "before"})
    with unit_of_work() as uow:
        assert [a.arguments["name"] for a in uow.session.scalars(select(Action))] == ["before"] * 3


def test_plans_wait_when_the_requester_wants_to_see_them(operator: Client, three: list[str]) -> None:
    _, begun = asked(operator, three, "tag", add=["prod"], apply="confirm")
    assert {run.apply_mode.value for run in begun} == {"confirm"}


def test_nobody_changes_the_servers_of_others(client_for: Callable[..., Client], make_user: Make, three: list[str]) -> None:
    dora, vera = client_for(make_user("developer", "dora")), client_for(make_user("viewer", "vera"))
    unknown = dora.post(POST, json={"names": three, "action": "start"})
    assert {e["code"] for e in unknown.json["errors"]} == {"server_unknown"}
    for body in ({"action": "start"}, {"action": "delete", "confirm": "delete 3"}, {"action": "tag", "add": ["x"]}):
        assert vera.post(POST, json={"names": three, **body}).status_code == 403
    group, _ = asked(client_for(make_user("operator", "otto")), three, "tag", add=["x"])
    assert dora.get(f"/servers/bulk/{group}").status_code == 404
    assert vera.get(f"/servers/bulk/{group}").status_code == 200


# ---- pages
def test_the_question_says_what_becomes_of_each(operator: Client, three: list[str]) -> None:
    with unit_of_work() as uow:
        uow.session.execute(update(Server).where(Server.name == "web").values(status=ServerStatus.RUNNING))
    page = operator.post("/servers/bulk", data={"names": three, "action": "start"}).text
    assert "Start: 2 servers" in page and "Left out: 1" in page and "It runs already." in page
    assert page.count('name="names"') == 2
    doomed = operator.post("/servers/bulk", data={"names": three, "action": "delete"}).text
    assert "scsi0 20 GiB · local-lvm" in doomed and "Type delete 3 to confirm" in doomed


def test_the_form_begins_it_and_leads_to_the_results(operator: Client, three: list[str]) -> None:
    wrong = operator.post("/servers/bulk/start", data={"names": three, "action": "delete", "confirm": "delete"})
    assert wrong.status_code == 422 and "delete 3" in wrong.text
    bad = operator.post("/servers/bulk/start", data={"names": three, "action": "tag", "add": "NO!"})
    assert bad.status_code == 422 and 'id="msg-add"' in bad.text
    begun = operator.post("/servers/bulk/start", data={"names": three, "action": "tag", "add": "prod eu", "remove": "old", "confirm_plan": "1"})
    assert begun.status_code == 303
    page = operator.get(begun.headers["Location"]).text
    assert "3 to go" in page and page.count("Run #") == 3


def test_names_of_all_that_fit_are_given_and_of_no_other(operator: Client, three: list[str], client_for: Callable[..., Client], make_user: Make) -> None:
    assert operator.get("/servers/bulk/names?q=web").json["names"] == ["web", "web-b"]
    assert client_for(make_user("developer", "dora")).get("/servers/bulk/names").json["names"] == []


def test_servers_that_vanished_lead_back_to_the_list(operator: Client, three: list[str]) -> None:
    gone = operator.post("/servers/bulk", data={"names": ["nobody"], "action": "start"})
    assert (gone.status_code, gone.headers["Location"]) == (303, "/servers")
    assert operator.get("/servers/bulk").status_code == 303
