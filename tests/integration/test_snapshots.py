"""Snapshots: what may be asked for, what each action does, and what happens when somebody dies in between."""

import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
import requests
from celery.result import AsyncResult
from flask import Flask
from sqlalchemy import func, select

from app.adapters.broker import celery
from app.domain.action_state import ActionState
from app.domain.run_state import RunKind, RunState
from app.domain.server_status import ServerStatus
from app.models import Action, AuditEvent, Cluster, Notification, Run, Server, User
from app.services import action_execution, runs
from app.services.uow import unit_of_work
from tests.fixtures.simulator import Simulator
from tests.integration.conftest import until

Client = Any
Make = Callable[..., Any]
LIST = "/api/servers/web-1/snapshots"


@pytest.fixture
def operator(olga: Any, client_for: Callable[..., Client]) -> Client:
    return client_for(olga)


def action(task_id: object) -> Action:
    with unit_of_work() as uow:
        return uow.session.scalars(select(Action).where(Action.task_id == UUID(str(task_id)))).one()


def server(made: Server) -> Server:
    with unit_of_work() as uow:
        return uow.session.get_one(Server, made.id)


def ask(client: Client, method: str = "POST", path: str = LIST, **body: Any) -> UUID:
    answer = client.open(path, method=method, json=body)
    assert answer.status_code == 202, answer.json
    assert answer.json["success"] is True
    assert answer.headers["Location"] == f"/api/tasks/{answer.json['task_id']}"
    return UUID(answer.json["task_id"])


def carried_out(client: Client, method: str = "POST", path: str = LIST, **body: Any) -> Action:
    task_id = ask(client, method, path, **body)
    action_execution.execute(str(task_id))
    return action(task_id)


def made_snapshot(client: Client, name: str = "before", **more: Any) -> None:
    done = carried_out(client, name=name, **more)
    assert done.state == ActionState.SUCCEEDED, done.error


def listed(client: Client) -> dict[str, dict[str, Any]]:
    answer = client.get(LIST)
    assert answer.status_code == 200, answer.json
    assert answer.json["next_cursor"] is None
    return {item["name"]: item for item in answer.json["items"]}


def faults(answer: Any) -> dict[str, str]:
    assert answer.status_code == 422, answer.json
    return {e["field"]: e["code"] for e in answer.json["errors"]}


def calls(simulator: Simulator, made: Server) -> list[tuple[str, str]]:
    """The writing calls about the VM's snapshots, as (method, what follows the VM)."""
    base = f"/qemu/{made.vmid}/"
    asked = [(r[0], r[1]) for r in simulator.control("requests")]
    return [(method, path.partition(base)[2]) for method, path in asked if method != "GET" and f"{base}snapshot" in path]


def as_us(simulator: Simulator, method: str, path: str, **form: Any) -> str:
    """The call a dead worker of ours had just made."""
    key = {"Authorization": f"PVEAPIToken={simulator.token_id}={simulator.token_secret}"}
    answer = requests.request(
        method, f"{simulator.url}/api2/json{path}", data=form, headers=key, verify=str(simulator.ca_file), timeout=10
    )
    assert answer.ok, answer.reason
    return str(answer.json()["data"])


def in_doubt(client: Client, method: str = "POST", path: str = LIST, **body: Any) -> UUID:
    """An action whose worker died after `sent_at` was committed, long enough ago."""
    task_id = ask(client, method, path, **body)
    with unit_of_work() as uow:
        row = uow.session.scalars(select(Action).where(Action.task_id == task_id)).one()
        row.state, row.fence = ActionState.RUNNING, 1
        row.started_at = row.sent_at = uow.session.scalar(select(func.clock_timestamp()))
        row.lease_at = uow.session.scalar(select(func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 1, 0)))
    return task_id


# ---------------------------------------------------------------- what each does
def test_a_snapshot_is_made_and_listed_with_what_was_asked(operator: Client, make_server: Make, simulator: Simulator) -> None:
    made = make_server("web-1", running=True)
    assert listed(operator) == {}
    done = carried_out(operator, name="before", description="first line\n<b>second</b>", memory=True)
    assert done.state == ActionState.SUCCEEDED, done.error
    assert done.upid and done.upid.split(":")[5] == "qmsnapshot"
    found = listed(operator)["before"]
    assert (found["description"], found["memory"], found["parent"], found["current"]) == ("first line\n<b>second</b>", True, None, True)
    assert found["created_at"].endswith("Z")
    now = server(made)
    assert (now.status, now.busy_action_id) == (ServerStatus.RUNNING, None)
    made_snapshot(operator, "after")
    assert [(s["name"], s["parent"], s["current"]) for s in listed(operator).values()] == [("before", None, False), ("after", "before", True)]
    assert operator.get(f"/api/result/{done.task_id}").json["kind"] == "snapshot_create"
    assert AsyncResult(str(done.task_id), app=celery).state == "SUCCESS"


def test_a_rollback_brings_vm_and_row_back_and_keeps_our_mark(operator: Client, make_server: Make, simulator: Simulator) -> None:
    made = make_server("web-1", running=True, tags=["old"])
    config = f"/nodes/pve1/qemu/{made.vmid}/config"
    simulator.root("PUT", config, tags="old")
    made_snapshot(operator)
    simulator.control("set", vmid=made.vmid, config={"cores": "3", "memory": "2048", "tags": "new;b"})
    with unit_of_work() as uow:
        row = uow.session.get_one(Server, made.id)
        row.cores, row.memory_mib, row.tags, row.description = 3, 2048, ["b", "new"], "note"
    done = carried_out(operator, path=f"{LIST}/before/rollback")
    assert done.state == ActionState.SUCCEEDED, done.error
    now = server(made)
    assert (now.cores, now.memory_mib, now.tags, now.description) == (1, 512, ["old"], "note")
    assert (now.status, simulator.status(made.vmid)) == (ServerStatus.STOPPED, "stopped")
    assert simulator.root("GET", config)["description"].startswith(made.marker)


def test_a_rollback_to_a_snapshot_with_memory_leaves_the_server_running(operator: Client, make_server: Make) -> None:
    made = make_server("web-1", running=True)
    made_snapshot(operator, memory=True)
    assert carried_out(operator, path=f"{LIST}/before/rollback").state == ActionState.SUCCEEDED
    assert server(made).status == ServerStatus.RUNNING


def test_disks_that_came_later_leave_the_row_and_come_back_with_their_snapshot(
    operator: Client, make_server: Make, simulator: Simulator
) -> None:
    made = make_server("web-1")
    config = f"/nodes/pve1/qemu/{made.vmid}/config"

    def disks() -> list[tuple[str, str, int]]:
        return [(d["interface"], d["storage"], d["size_gib"]) for d in server(made).disks]

    simulator.root("PUT", config, scsi0="ceph:4", ide2="ceph:cloudinit")
    made_snapshot(operator, "one")
    simulator.root("PUT", config, scsi1="ceph:2")
    made_snapshot(operator, "two")
    carried_out(operator, path=f"{LIST}/one/rollback")
    assert disks() == [("scsi0", "ceph", 4)]
    carried_out(operator, path=f"{LIST}/two/rollback")
    assert disks() == [("scsi0", "ceph", 4), ("scsi1", "ceph", 2)]


def test_a_deleted_snapshot_is_gone_and_the_server_as_it_was(operator: Client, make_server: Make, simulator: Simulator) -> None:
    made = make_server("web-1", running=True)
    made_snapshot(operator)
    done = carried_out(operator, "DELETE", f"{LIST}/before")
    assert done.state == ActionState.SUCCEEDED and done.upid and done.upid.split(":")[5] == "qmdelsnapshot"
    assert listed(operator) == {} and simulator.status(made.vmid) == "running"


def test_an_end_is_told_with_the_snapshots_name_and_stands_in_the_audit_list(operator: Client, olga: Any, make_server: Make, make_user: Make) -> None:
    dora = make_user("developer", "dora")
    make_server("web-1", dora)
    made_snapshot(operator)
    with unit_of_work() as uow:
        told = uow.session.scalars(select(Notification).order_by(Notification.user_id)).all()
        assert {(n.user_id, n.code, n.args["snapshot"]) for n in told} == {
            (olga.id, "snapshot_create_succeeded", "before"), (dora.id, "snapshot_create_succeeded", "before"),
        }  # fmt: skip
        row = uow.session.scalars(select(AuditEvent).where(AuditEvent.action == "server.snapshot_create")).one()
        assert (row.username, row.object_name, row.detail["name"]) == ("olga", "web-1", "before")


# ---------------------------------------------------------------- what may not be asked
@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({}, "name", "missing"),
        ({"name": ""}, "name", "snapshot_name_empty"),
        ({"name": "x"}, "name", "snapshot_name_length"),
        ({"name": "x" * 41}, "name", "snapshot_name_length"),
        ({"name": "1st"}, "name", "snapshot_name_bad"),
        ({"name": "a/../b"}, "name", "snapshot_name_bad"),
        ({"name": "über"}, "name", "snapshot_name_bad"),
        ({"name": "Current"}, "name", "snapshot_name_reserved"),
        ({"name": 7}, "name", "string_type"),
        ({"name": "ok", "description": "x" * 1001}, "description", "text_too_long"),
        ({"name": "ok", "description": "a\x07b"}, "description", "text_control_characters"),
        ({"name": "ok", "memory": "yes"}, "memory", "bool_type"),
        ({"name": "ok", "memory": True}, "memory", "snapshot_memory_stopped"),
        ({"name": "ok", "start": True}, "start", "extra_forbidden"),
    ],
)
def test_a_bad_request_is_told_by_field(body: dict[str, Any], field: str, code: str, operator: Client, make_server: Make) -> None:
    make_server("web-1")
    assert faults(operator.post(LIST, json=body)) == {field: code}


def test_a_name_that_is_there_is_a_fault_and_one_that_is_not_cannot_be_found(operator: Client, make_server: Make) -> None:
    make_server("web-1")
    made_snapshot(operator)
    assert faults(operator.post(LIST, json={"name": "before"})) == {"name": "snapshot_exists"}
    for method, path in (("POST", f"{LIST}/nope/rollback"), ("DELETE", f"{LIST}/nope"), ("DELETE", f"{LIST}/current")):
        assert operator.open(path, method=method).status_code == 404


def test_who_may_what(client_for: Callable[..., Client], make_user: Make, make_server: Make, operator: Client) -> None:
    dora, other, viewer = (client_for(make_user(role, name)) for role, name in (("developer", "dora"), ("developer", "other"), ("viewer", "vera")))
    with unit_of_work() as uow:
        owner = uow.session.scalars(select(User).where(User.username == "dora")).one()
    make_server("web-1", owner)
    made_snapshot(dora)
    assert other.get(LIST).status_code == 404 and viewer.get(LIST).status_code == 200
    for method, path in (("POST", LIST), ("POST", f"{LIST}/before/rollback"), ("DELETE", f"{LIST}/before")):
        assert other.open(path, method=method, json={"name": "mine"}).status_code == 404
        assert viewer.open(path, method=method, json={"name": "mine"}).status_code == 403
    assert list(listed(operator)) == ["before"]


def test_one_operation_a_server(operator: Client, make_server: Make) -> None:
    make_server("web-1")
    made_snapshot(operator)
    ask(operator, name="second")
    for method, path in (("POST", LIST), ("POST", f"{LIST}/before/rollback"), ("DELETE", f"{LIST}/before"), ("POST", "/api/servers/web-1/start")):
        answer = operator.open(path, method=method, json={"name": "third"})
        assert (answer.status_code, answer.json["code"]) == (409, "server_busy")
    make_server("web-2", busy_run_id=7)
    assert operator.post("/api/servers/web-2/snapshots", json={"name": "third"}).json["code"] == "server_busy"
    make_server("web-3", status=ServerStatus.CREATING, in_state=False)
    for answer in (operator.get("/api/servers/web-3/snapshots"), operator.post("/api/servers/web-3/snapshots", json={"name": "third"})):
        assert (answer.status_code, answer.json["code"]) == (409, "server_not_made")


def test_snapshots_are_no_power_actions(operator: Client, make_server: Make) -> None:
    make_server("web-1")
    assert operator.post("/api/servers/web-1/snapshot_create").status_code in (404, 405)
    assert operator.post("/api/servers/bulk_action/async", json={"names": ["web-1"], "action": "snapshot_rollback"}).status_code == 422


# ---------------------------------------------------------------- a key
def test_the_same_key_makes_one_action_also_when_the_snapshot_is_there_by_then(operator: Client, make_server: Make, simulator: Simulator) -> None:
    made = make_server("web-1")
    key = {"Idempotency-Key": "once"}
    first = operator.post(LIST, json={"name": "before"}, headers=key)
    action_execution.execute(first.json["task_id"])
    again = operator.post(LIST, json={"name": "before"}, headers=key)
    assert (again.status_code, again.json, again.headers["Location"]) == (202, first.json, first.headers["Location"])
    assert operator.post(LIST, json={"name": "other"}, headers=key).json["code"] == "idempotency_mismatch"
    gone = operator.delete(f"{LIST}/before", headers=key)
    action_execution.execute(gone.json["task_id"])
    assert operator.delete(f"{LIST}/before", headers=key).json == gone.json
    assert calls(simulator, made) == [("POST", "snapshot"), ("DELETE", "snapshot/before")]


def test_a_key_is_answered_while_the_cluster_is_away(operator: Client, make_server: Make, cluster: Cluster) -> None:
    make_server("web-1")
    first = operator.post(LIST, json={"name": "before"}, headers={"Idempotency-Key": "k"})
    with unit_of_work() as uow:
        uow.session.get_one(Cluster, cluster.id).endpoint = "https://127.0.0.1:1"
    assert operator.post(LIST, json={"name": "before"}, headers={"Idempotency-Key": "k"}).json == first.json


# ---------------------------------------------------------------- Proxmox in trouble
def test_a_cluster_that_is_away_is_said_to_be(operator: Client, make_server: Make, cluster: Cluster) -> None:
    make_server("web-1")
    with unit_of_work() as uow:
        uow.session.get_one(Cluster, cluster.id).endpoint = "https://127.0.0.1:1"
    for answer in (operator.get(LIST), operator.post(LIST, json={"name": "before"})):
        assert (answer.status_code, answer.json["code"]) == (503, "cluster_away")
        assert cluster.name in answer.json["detail"] or cluster.name in answer.json["title"]
    with unit_of_work() as uow:
        assert uow.session.scalars(select(Action)).all() == []


def test_somebody_elses_vm_shows_nothing_and_is_not_touched(operator: Client, make_server: Make, simulator: Simulator) -> None:
    made = make_server("web-1")
    task_id = ask(operator, name="before")
    simulator.control("delete", vmid=made.vmid)
    assert operator.get(LIST).json["code"] == "vm_missing"
    simulator.make_vm(made.vmid, "other", description="mine")
    assert operator.get(LIST).json["code"] == "not_ours"
    action_execution.execute(str(task_id))
    ended = action(task_id)
    assert ended.error and ended.error["code"] == "not_ours" and calls(simulator, made) == []


def test_what_changed_since_the_request_is_found_by_the_task(operator: Client, make_server: Make, simulator: Simulator) -> None:
    made = make_server("web-1", running=True)
    path = f"/nodes/pve1/qemu/{made.vmid}/snapshot"
    taken = ask(operator, name="taken")
    simulator.wait("pve1", simulator.root("POST", path, snapname="taken"))
    action_execution.execute(str(taken))
    memory = ask(operator, name="memory", memory=True)
    simulator.power(made.vmid, "stop")
    action_execution.execute(str(memory))
    gone = ask(operator, path=f"{LIST}/taken/rollback")
    simulator.wait("pve1", simulator.root("DELETE", f"{path}/taken"))
    action_execution.execute(str(gone))
    ended = [action(t) for t in (taken, memory, gone)]
    assert [(a.state, a.error and a.error["code"]) for a in ended] == [
        (ActionState.FAILED, "snapshot_exists"), (ActionState.FAILED, "snapshot_memory_stopped"), (ActionState.FAILED, "snapshot_missing"),
    ]  # fmt: skip
    assert all(a.sent_at is None for a in ended)


def test_a_storage_without_snapshots_is_named_as_the_reason(operator: Client, make_server: Make, simulator: Simulator) -> None:
    made = make_server("web-1")
    simulator.control("set", vmid=made.vmid, config={"scsi0": "nfs:601/vm-601-disk-0.raw,size=4G"})
    done = carried_out(operator, name="before")
    assert (done.state, done.error and done.error["code"]) == (ActionState.FAILED, "snapshot_unsupported")


def test_a_failed_rollback_leaves_the_row_even_if_the_vm_was_changed_by_hand(operator: Client, make_server: Make, simulator: Simulator) -> None:
    made = make_server("web-1")
    made_snapshot(operator)
    simulator.control("set", vmid=made.vmid, config={"cores": "4"})
    simulator.control("lock", vmid=made.vmid, lock="backup")
    done = carried_out(operator, path=f"{LIST}/before/rollback")
    assert (done.state, done.error and done.error["code"]) == (ActionState.FAILED, "vm_locked")
    assert server(made).cores == 1


# ---------------------------------------------------------------- somebody dies in between
def test_a_snapshot_in_doubt_is_found_in_the_task_list(operator: Client, make_server: Make, simulator: Simulator) -> None:
    made = make_server("web-1")
    task_id = in_doubt(operator, name="before")
    upid = as_us(simulator, "POST", f"/nodes/pve1/qemu/{made.vmid}/snapshot", snapname="before")
    action_execution.execute(str(task_id))
    assert (action(task_id).state, action(task_id).upid) == (ActionState.SUCCEEDED, upid)
    assert calls(simulator, made) == [("POST", "snapshot")]


@pytest.mark.parametrize(("method", "tail"), [("POST", ""), ("POST", "/before/rollback"), ("DELETE", "/before")])
def test_what_nobody_knows_is_never_sent_again(method: str, tail: str, operator: Client, make_server: Make, simulator: Simulator) -> None:
    made = make_server("web-1")
    simulator.wait("pve1", simulator.root("POST", f"/nodes/pve1/qemu/{made.vmid}/snapshot", snapname="before"))
    before = calls(simulator, made)
    task_id = in_doubt(operator, method, LIST + tail, **({} if tail else {"name": "second"}))
    action_execution.execute(str(task_id))
    ended = action(task_id)
    assert ended.state == ActionState.FAILED and ended.error and ended.error["code"] == "outcome_unknown"
    assert (ended.error["args"]["status"], server(made).busy_action_id) == ("stopped", None)
    assert calls(simulator, made) == before


def test_a_snapshot_with_our_mark_proves_that_it_was_made(operator: Client, make_server: Make, simulator: Simulator) -> None:
    made = make_server("web-1")
    task_id = in_doubt(operator, name="before", description="mine")
    # As root: no task of ours is there to be found.
    mark = f"mine\nmanaged-by:tpm/action/{task_id}"
    simulator.wait("pve1", simulator.root("POST", f"/nodes/pve1/qemu/{made.vmid}/snapshot", snapname="before", description=mark))
    action_execution.execute(str(task_id))
    assert action(task_id).state == ActionState.SUCCEEDED and listed(operator)["before"]["description"] == "mine"


def test_a_snapshot_of_that_name_without_our_mark_proves_nothing(operator: Client, make_server: Make, simulator: Simulator) -> None:
    made = make_server("web-1")
    task_id = in_doubt(operator, name="before")
    simulator.wait("pve1", simulator.root("POST", f"/nodes/pve1/qemu/{made.vmid}/snapshot", snapname="before"))
    action_execution.execute(str(task_id))
    ended = action(task_id)
    assert ended.error and ended.error["code"] == "outcome_unknown"


def test_a_snapshot_that_is_gone_was_deleted(operator: Client, make_server: Make, simulator: Simulator) -> None:
    made = make_server("web-1")
    made_snapshot(operator)
    task_id = in_doubt(operator, "DELETE", f"{LIST}/before")
    simulator.wait("pve1", simulator.root("DELETE", f"/nodes/pve1/qemu/{made.vmid}/snapshot/before"))
    action_execution.execute(str(task_id))
    assert action(task_id).state == ActionState.SUCCEEDED


def test_a_rollback_nobody_knows_of_is_followed_by_the_row_when_the_vm_went_back(operator: Client, make_server: Make, simulator: Simulator) -> None:
    made = make_server("web-1")
    made_snapshot(operator)
    simulator.control("set", vmid=made.vmid, config={"cores": "4"})
    with unit_of_work() as uow:
        uow.session.get_one(Server, made.id).cores = 4
    task_id = in_doubt(operator, path=f"{LIST}/before/rollback")
    simulator.wait("pve1", simulator.root("POST", f"/nodes/pve1/qemu/{made.vmid}/snapshot/before/rollback"))
    action_execution.execute(str(task_id))
    ended = action(task_id)
    assert ended.error and ended.error["code"] == "outcome_unknown" and server(made).cores == 1


@pytest.mark.parametrize("tail", ["", "/before/rollback"])
def test_an_answer_lost_on_the_way_is_looked_for_and_not_repeated(
    tail: str, app: Flask, operator: Client, make_server: Make, simulator: Simulator
) -> None:
    made = make_server("web-1")
    made_snapshot(operator)
    before, path = calls(simulator, made), f"/nodes/pve1/qemu/{made.vmid}/snapshot{tail}"
    simulator.control("fail", method="POST", suffix=path, status=502, message="Bad Gateway", times=1)
    task_id = ask(operator, path=LIST + tail, **({} if tail else {"name": "second"}))

    def work() -> None:
        with app.app_context():
            action_execution.execute(str(task_id))

    worker = threading.Thread(target=work)
    worker.start()
    until(lambda: len(calls(simulator, made)) == len(before) + 1)
    # What the proxy let through before it lost the answer.
    upid = as_us(simulator, "POST", path, **({} if tail else {"snapname": "second"}))
    worker.join()
    assert (action(task_id).state, action(task_id).upid) == (ActionState.SUCCEEDED, upid)
    assert len(calls(simulator, made)) == len(before) + 2


# ---------------------------------------------------------------- beside runs
def change(made: Server, by: Any) -> Run:
    """A run that wants to change the server, as a request makes it."""
    with unit_of_work() as uow:
        row = Run(
            task_id=uuid4(), workspace_id=made.workspace_id, created_by_id=by.id, kind=RunKind.CHANGE, state=RunState.PENDING,
            intent={"servers": {made.slug: {"cores": 2}}}, targets=[made.slug], names=[made.name],
        )  # fmt: skip
        uow.session.add(row)
        uow.session.flush()
        runs.promote(uow, made.workspace_id)
    return row


def test_a_run_waits_for_the_snapshot_and_goes_on_at_its_end(operator: Client, olga: Any, make_server: Make) -> None:
    made = make_server("web-1")
    task_id = ask(operator, name="before")
    run = change(made, olga)
    with unit_of_work() as uow:
        waiting = uow.session.get_one(Run, run.id)
        assert (waiting.state, (waiting.waiting_for or {}).get("code")) == (RunState.PENDING, "waiting_for_action")
    action_execution.execute(str(task_id))
    with unit_of_work() as uow:
        assert uow.session.get_one(Run, run.id).state == RunState.PLAN_QUEUED


def test_a_snapshot_is_refused_while_a_run_works_and_a_rollback_while_one_waits(operator: Client, olga: Any, make_server: Make) -> None:
    made = make_server("web-1")
    made_snapshot(operator)
    run = change(made, olga)
    answers = [operator.post(LIST, json={"name": "second"}), operator.post(f"{LIST}/before/rollback")]
    assert [(a.status_code, a.json["code"]) for a in answers] == [(409, "server_busy")] * 2
    with unit_of_work() as uow:
        uow.session.get_one(Run, run.id).state = RunState.PENDING
        uow.session.get_one(Server, made.id).busy_run_id = None
    assert operator.post(f"{LIST}/before/rollback").json["code"] == "server_busy"
    assert operator.post(LIST, json={"name": "second"}).status_code == 202


def test_a_change_is_refused_while_the_server_goes_back_and_a_snapshot_does_not_stand_in_its_way(operator: Client, make_server: Make) -> None:
    make_server("web-1")
    made_snapshot(operator)
    task_id = ask(operator, path=f"{LIST}/before/rollback")
    answer = operator.patch("/api/servers/web-1", json={"tags": ["x"]})
    assert (answer.status_code, answer.json["code"]) == (409, "server_busy")
    action_execution.execute(str(task_id))
    ask(operator, name="second")
    assert operator.patch("/api/servers/web-1", json={"tags": ["x"]}).status_code == 202


# ---------------------------------------------------------------- the page
def test_the_page_shows_the_tree_asks_before_it_goes_back_and_works_without_scripts(
    olga: Any, operator: Client, client_for: Callable[..., Client], make_server: Make, simulator: Simulator
) -> None:
    made = make_server("web-1", running=True)
    browser, page = client_for(olga, "cookie"), "/servers/web-1/snapshots"
    assert "None yet" in browser.get(page).text and page in browser.get("/servers/web-1").text
    answer = browser.post(page, data={"snapshot_name": "before", "snapshot_description": "<i>x</i>", "snapshot_memory": "1"})
    assert answer.status_code == 303 and answer.headers["Location"].endswith("/servers/web-1#snapshots")
    with unit_of_work() as uow:
        action_execution.execute(str(uow.session.scalars(select(Action.task_id)).one()))
    shown = browser.get(page).text
    assert "before" in shown and "&lt;i&gt;x&lt;/i&gt;" in shown and "with memory" in shown and "managed-by" not in shown
    refused = browser.post(page, data={"snapshot_name": "before"})
    assert refused.status_code == 422 and "There is a snapshot “before” already." in refused.text
    question = browser.post(f"{page}/before/rollback")
    assert question.status_code == 200 and "goes on running as it was" in question.text
    assert browser.post(f"{page}/before/delete").status_code == 200
    assert calls(simulator, made) == [("POST", "snapshot")]
    assert browser.post(f"{page}/before/rollback", data={"sure": "1"}).status_code == 303
    with unit_of_work() as uow:
        assert uow.session.scalars(select(Action.kind).order_by(Action.id.desc())).first() == "snapshot_rollback"


def test_the_page_says_that_the_cluster_is_away(olga: Any, client_for: Callable[..., Client], make_server: Make, cluster: Cluster) -> None:
    make_server("web-1")
    with unit_of_work() as uow:
        uow.session.get_one(Cluster, cluster.id).endpoint = "https://127.0.0.1:1"
    answer = client_for(olga, "cookie").get("/servers/web-1/snapshots", headers={"HX-Request": "true"})
    assert answer.status_code == 200 and "does not answer now" in answer.text and "<html" not in answer.text
