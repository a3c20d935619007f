"""Power actions: what each kind does, one operation a server, and what happens when somebody dies in between."""

import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis
from celery.result import AsyncResult, GroupResult
from flask import Flask
from sqlalchemy import func, select, text

from app.adapters.broker import celery
from app.domain.action_state import ActionKind, ActionState
from app.domain.server_status import ServerStatus
from app.errors import Fenced
from app.models import Action, AuditEvent, Cluster, Notification, Outbox, Server
from app.services import action_execution, action_lease, actions
from app.services.uow import unit_of_work
from app.streaming import events
from tests.fixtures.simulator import Simulator
from tests.integration.conftest import until

Client = Any
Make = Callable[..., Any]


@pytest.fixture
def operator(olga: Any, client_for: Callable[..., Client]) -> Client:
    return client_for(olga)


def ask(client: Client, name: str, kind: str) -> UUID:
    answer = client.post(f"/api/servers/{name}/{kind}")
    assert answer.status_code == 202, answer.json
    assert answer.headers["Location"].endswith(answer.json["task_id"])
    return UUID(answer.json["task_id"])


def action(task_id: UUID) -> Action:
    with unit_of_work() as uow:
        return uow.session.scalars(select(Action).where(Action.task_id == task_id)).one()


def server(made: Server) -> Server:
    with unit_of_work() as uow:
        return uow.session.get_one(Server, made.id)


def carried_out(client: Client, name: str, kind: str) -> Action:
    task_id = ask(client, name, kind)
    action_execution.execute(str(task_id))
    return action(task_id)


def in_doubt(client: Client, name: str, kind: str) -> UUID:
    """An action whose worker died after `sent_at` was committed, long enough ago."""
    task_id = ask(client, name, kind)
    with unit_of_work() as uow:
        row = uow.session.scalars(select(Action).where(Action.task_id == task_id)).one()
        row.state, row.fence = ActionState.RUNNING, 1
        row.started_at = row.sent_at = uow.session.scalar(select(func.clock_timestamp()))
        row.lease_at = uow.session.scalar(select(func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 1, 0)))
    return task_id


def test_a_repeated_request_with_its_key_asks_for_no_second_action(operator: Client, make_server: Make) -> None:
    servers = [make_server(f"web-{n}") for n in range(3)]
    one = [operator.post(f"/api/servers/{servers[0].name}/reboot", headers={"Idempotency-Key": "one"}) for _ in range(2)]
    asked = {"names": [s.name for s in servers[1:]], "action": "reset"}
    many = [operator.post("/api/servers/bulk_action/async", json=asked, headers={"Idempotency-Key": "many"}) for _ in range(2)]
    for first, again in (one, many):
        assert first.status_code == again.status_code == 202
        assert (again.json, again.headers["Location"]) == (first.json, first.headers["Location"])
    with unit_of_work() as uow:
        assert uow.session.scalar(select(func.count()).select_from(Action)) == len(servers)


@pytest.mark.parametrize(
    ("kind", "running", "after"),
    [
        ("start", False, ServerStatus.RUNNING), ("shutdown", True, ServerStatus.STOPPED), ("stop", True, ServerStatus.STOPPED),
        ("reboot", True, ServerStatus.RUNNING), ("reset", True, ServerStatus.RUNNING),
    ],
)  # fmt: skip
def test_each_kind_does_what_it_says(
    kind: str, running: bool, after: ServerStatus, operator: Client, make_server: Make, simulator: Simulator
) -> None:
    made = make_server("web-1", running=running)
    done = carried_out(operator, "web-1", kind)
    assert done.state == ActionState.SUCCEEDED, done.error
    assert done.upid and done.upid.split(":")[5] == f"qm{kind}"
    now = server(made)
    assert (now.status, now.busy_action_id) == (after, None)
    assert simulator.status(made.vmid) == after.value


def test_an_end_is_told_to_requester_and_owner(
    operator: Client, olga: Any, make_server: Make, make_user: Make, store: "redis.Redis"
) -> None:
    dora = make_user("developer", "dora")
    make_server("web-1", dora)
    store.delete(events.STREAM)
    done = carried_out(operator, "web-1", "start")
    with unit_of_work() as uow:
        told = uow.session.scalars(select(Notification).order_by(Notification.user_id)).all()
        assert {(n.user_id, n.code, n.own) for n in told} == {
            (olga.id, "action_succeeded", True),
            (dora.id, "action_succeeded", False),
        }
        assert told[0].args["servers"] == ["web-1"]
        assert uow.session.scalars(select(AuditEvent.username).where(AuditEvent.action == "server.start")).all() == [
            "olga"
        ]
    types = [f["e"] for _, f in store.xrange(events.STREAM)]
    assert types.count("action") == 2 and types.count("notification") == 2
    assert AsyncResult(str(done.task_id), app=celery).state == "SUCCESS"


def test_starting_what_runs_is_a_success_without_a_task(
    operator: Client, make_server: Make, simulator: Simulator
) -> None:
    made = make_server("web-1", running=True)
    before = simulator.posts(f"/qemu/{made.vmid}/status/start")
    done = carried_out(operator, "web-1", "start")
    assert done.state == ActionState.SUCCEEDED and done.upid is None
    assert simulator.posts(f"/qemu/{made.vmid}/status/start") == before


def test_rebooting_what_is_stopped_fails_with_a_reason(operator: Client, make_server: Make) -> None:
    make_server("web-1")
    done = carried_out(operator, "web-1", "reboot")
    assert done.state == ActionState.FAILED and done.error and done.error["code"] == "server_not_running"


def test_one_operation_a_server(operator: Client, make_server: Make) -> None:
    make_server("web-1")
    ask(operator, "web-1", "start")
    answer = operator.post("/api/servers/web-1/stop")
    assert answer.status_code == 409 and answer.json["code"] == "server_busy"
    make_server("web-2", busy_run_id=7)
    assert operator.post("/api/servers/web-2/start").json["code"] == "server_busy"
    make_server("web-3", status=ServerStatus.CREATING, in_state=False)
    assert operator.post("/api/servers/web-3/start").json["code"] == "server_not_made"


def test_two_people_pressing_at_once_make_one_action(app: Flask, olga: Any, actor_of: Make, make_server: Make) -> None:
    make_server("web-1")
    outcomes: list[str] = []

    def press() -> None:
        with app.app_context():
            try:
                with unit_of_work() as uow:
                    actions.request(uow, actor_of(olga), "web-1", ActionKind.START)
                outcomes.append("accepted")
            except Exception as exc:  # noqa: BLE001
                outcomes.append(getattr(exc, "code", repr(exc)))

    threads = [threading.Thread(target=press) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["accepted", *["server_busy"] * 3]


def test_a_second_delivery_returns_at_once(operator: Client, make_server: Make, simulator: Simulator) -> None:
    made = make_server("web-1")
    task_id = ask(operator, "web-1", "start")
    for _ in range(3):
        action_execution.execute(str(task_id))
    action_execution.execute(str(uuid4()))
    assert simulator.posts(f"/qemu/{made.vmid}/status/start") == 1


def test_killed_after_the_upid_it_settles_by_it(operator: Client, make_server: Make, simulator: Simulator) -> None:
    made = make_server("web-1", running=True)
    task_id = in_doubt(operator, "web-1", "reboot")
    upid = simulator.root("POST", f"/nodes/pve1/qemu/{made.vmid}/status/reboot")
    with unit_of_work() as uow:
        uow.session.scalars(select(Action)).one().upid = upid
    action_execution.execute(str(task_id))
    assert action(task_id).state == ActionState.SUCCEEDED and server(made).status == ServerStatus.RUNNING
    assert simulator.posts(f"/qemu/{made.vmid}/status/reboot") == 1


def as_us(simulator: Simulator, path: str) -> str:
    """The call a dead worker of ours had just made."""
    import requests

    key = {"Authorization": f"PVEAPIToken={simulator.token_id}={simulator.token_secret}"}
    answer = requests.post(f"{simulator.url}/api2/json{path}", headers=key, verify=str(simulator.ca_file), timeout=10)
    return str(answer.json()["data"])


def test_a_reboot_in_doubt_is_found_in_the_task_list(operator: Client, make_server: Make, simulator: Simulator) -> None:
    made = make_server("web-1", running=True)
    task_id = in_doubt(operator, "web-1", "reboot")
    upid = as_us(simulator, f"/nodes/pve1/qemu/{made.vmid}/status/reboot")
    action_execution.execute(str(task_id))
    assert (action(task_id).state, action(task_id).upid) == (ActionState.SUCCEEDED, upid)
    assert simulator.posts(f"/qemu/{made.vmid}/status/reboot") == 1


def test_a_reboot_in_doubt_is_never_sent_again(operator: Client, make_server: Make, simulator: Simulator) -> None:
    made = make_server("web-1", running=True)
    task_id = in_doubt(operator, "web-1", "reboot")
    action_execution.execute(str(task_id))
    ended = action(task_id)
    assert ended.state == ActionState.FAILED and ended.error and ended.error["code"] == "outcome_unknown"
    assert ended.error["args"]["status"] == "running" and server(made).busy_action_id is None
    assert simulator.posts(f"/qemu/{made.vmid}/status/reboot") == 0


def test_somebody_elses_reboot_is_not_taken_for_ours(operator: Client, make_server: Make, simulator: Simulator) -> None:
    made = make_server("web-1", running=True)
    task_id = in_doubt(operator, "web-1", "reboot")
    simulator.power(made.vmid, "reboot")  # as root@pam
    action_execution.execute(str(task_id))
    assert action(task_id).error and action(task_id).error["code"] == "outcome_unknown"  # type: ignore[index]


def test_a_start_in_doubt_may_be_sent_again(operator: Client, make_server: Make, simulator: Simulator) -> None:
    made = make_server("web-1")
    task_id = in_doubt(operator, "web-1", "start")
    action_execution.execute(str(task_id))
    assert action(task_id).state == ActionState.SUCCEEDED and simulator.status(made.vmid) == "running"


def test_an_answer_lost_on_the_way_is_looked_for_not_repeated(
    operator: Client, make_server: Make, simulator: Simulator
) -> None:
    made = make_server("web-1", running=True)
    simulator.control(
        "fail", method="POST", suffix=f"/qemu/{made.vmid}/status/reset", status=502, message="Bad Gateway"
    )
    done = carried_out(operator, "web-1", "reset")
    assert done.error and done.error["code"] == "outcome_unknown"
    assert simulator.posts(f"/qemu/{made.vmid}/status/reset") <= 1


def test_a_worker_that_lost_its_lease_writes_nothing_more(operator: Client, make_server: Make) -> None:
    make_server("web-1")
    task_id = ask(operator, "web-1", "start")
    first = action_lease.claim(task_id)
    assert first is not None and action_lease.claim(task_id) is None
    with unit_of_work() as uow:
        uow.session.execute(text("update action set lease_at = clock_timestamp() - interval '1 minute'"))
    second = action_lease.claim(task_id)
    assert second is not None and second.fence == first.fence + 1
    with pytest.raises(Fenced):
        action_lease.write(first, upid="UPID:late")
    action_execution._finish(first, action_execution.Outcome(True))
    assert action(task_id).state == ActionState.RUNNING and action(task_id).upid is None


def settled() -> int:
    with unit_of_work() as uow:
        return actions.settle_stale(uow)


def test_the_sweeper_rings_for_what_nobody_works_on(operator: Client, make_server: Make, store: "redis.Redis") -> None:
    make_server("web-1")
    ask(operator, "web-1", "start")
    rung = store.llen("proxmox")
    assert settled() == 0  # just rung
    with unit_of_work() as uow:
        uow.session.execute(text("update action set bell_at = clock_timestamp() - interval '1 minute'"))
    assert (settled(), settled()) == (1, 0)
    assert store.llen("proxmox") == rung + 1


def test_a_slow_task_gives_its_thread_back(
    operator: Client, make_server: Make, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_server("web-1", running=True)
    simulator.control("time", scale=1)
    monkeypatch.setattr(action_lease, "PATIENCE_S", 0.1)
    task_id = ask(operator, "web-1", "shutdown")
    action_execution.execute(str(task_id))
    handed = action(task_id)
    assert handed.state == ActionState.RUNNING and handed.lease_at is None and handed.upid
    simulator.control("time", scale=0.02)

    def ended() -> bool:
        action_execution.execute(str(task_id))
        return action(task_id).state == ActionState.SUCCEEDED

    until(ended)
    assert simulator.posts(f"/qemu/{made.vmid}/status/shutdown") == 1


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        (401, "authentication failure", "proxmox_unauthorized"),
        (403, "Permission check failed (/vms/7, VM.PowerMgmt)", "proxmox_forbidden"),
        (500, "VM is locked (backup)", "vm_locked"),
        (500, "start failed: QEMU exited with code 1", "proxmox_refused"),
        (400, "Parameter verification failed.", "proxmox_refused"),
    ],
)
def test_what_proxmox_refuses_is_told_with_its_reason(
    status: int, message: str, code: str, operator: Client, make_server: Make, simulator: Simulator
) -> None:
    made = make_server("web-1")
    simulator.control("fail", method="POST", suffix=f"/qemu/{made.vmid}/status/start", status=status, message=message)
    done = carried_out(operator, "web-1", "start")
    assert done.state == ActionState.FAILED and done.error and done.error["code"] == code
    assert server(made).busy_action_id is None and server(made).status == ServerStatus.STOPPED
    if status == 403:
        assert (done.error["args"]["privilege"], done.error["args"]["path"]) == ("VM.PowerMgmt", "/vms/7")
    assert AsyncResult(str(done.task_id), app=celery).state == "FAILURE"


def test_an_offline_node_and_a_silent_cluster(
    operator: Client, make_server: Make, simulator: Simulator, cluster: Cluster
) -> None:
    make_server("web-1")
    simulator.control("node", node="pve1", online=False)
    done = carried_out(operator, "web-1", "start")
    assert done.error and done.error["code"] == "proxmox_node_offline"
    with unit_of_work() as uow:
        uow.session.get_one(Cluster, cluster.id).endpoint = "https://127.0.0.1:1"
    done = carried_out(operator, "web-1", "start")
    assert done.error and done.error["code"] == "proxmox_unreachable" and done.sent_at is None


def test_somebody_elses_vm_is_not_touched(operator: Client, make_server: Make, simulator: Simulator) -> None:
    made = make_server("web-1")
    simulator.control("delete", vmid=made.vmid)
    assert carried_out(operator, "web-1", "start").error["code"] == "vm_missing"  # type: ignore[index]
    simulator.make_vm(made.vmid, "other", description="mine")
    assert carried_out(operator, "web-1", "start").error["code"] == "not_ours"  # type: ignore[index]
    assert simulator.status(made.vmid) == "stopped"


def test_a_moved_vm_is_found(operator: Client, make_server: Make, simulator: Simulator) -> None:
    made = make_server("web-1")
    with unit_of_work() as uow:
        uow.session.get_one(Server, made.id).node_name = "pve2"
    done = carried_out(operator, "web-1", "start")
    assert done.state == ActionState.SUCCEEDED and server(made).node_name == "pve1"


def test_many_at_once_as_a_group(operator: Client, olga: Any, make_server: Make) -> None:
    names = [make_server(f"web-{n}", olga).name for n in range(1, 4)]
    answer = operator.post("/api/servers/bulk_action/async", json={"names": names, "action": "start"})
    assert answer.status_code == 202 and len(answer.json["task_ids"]) == 3
    group = f"/api/result/group/{answer.json['group_id']}"
    assert operator.get(group).status_code == 202
    for task_id in answer.json["task_ids"]:
        action_execution.execute(task_id)
    done = operator.get(group)
    assert done.status_code == 200 and [r["status"] for r in done.json["results"]] == ["succeeded"] * 3
    saved = GroupResult.restore(answer.json["group_id"], app=celery)
    assert saved is not None and [r.id for r in saved.results] == answer.json["task_ids"] and saved.successful()
    with unit_of_work() as uow:
        assert [(n.code, n.args["done"]) for n in uow.session.scalars(select(Notification))] == [
            ("actions_succeeded", 3)
        ]


def test_actions_of_a_group_that_end_at_the_same_moment_do_not_block_each_other(
    app: Flask, operator: Client, olga: Any, make_server: Make
) -> None:
    names = [make_server(f"web-{n}", olga).name for n in (1, 2)]
    group = operator.post("/api/servers/bulk_action/async", json={"names": names, "action": "start"}).json
    both_wrote = threading.Barrier(2, timeout=20)
    faults: list[Exception] = []

    def end(task_id: str) -> None:
        try:
            with app.app_context(), unit_of_work() as uow:
                row = uow.session.scalars(select(Action).where(Action.task_id == UUID(task_id))).one()
                ended = uow.session.get_one(Server, row.server_id)
                for state in (ActionState.RUNNING, ActionState.SUCCEEDED):
                    # The second update of a row in one transaction holds its parents, the group among them.
                    row.state = state
                    uow.session.flush()
                both_wrote.wait()
                actions.tell_end(uow, row, ended)
        except Exception as exc:  # noqa: BLE001
            faults.append(exc)

    threads = [threading.Thread(target=end, args=(task_id,)) for task_id in group["task_ids"]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    with unit_of_work() as uow:
        assert uow.session.scalars(select(Notification.code)).all() == ["actions_succeeded"]


def test_a_busy_server_fails_alone_in_its_group(operator: Client, make_server: Make) -> None:
    for n in (1, 2):
        make_server(f"web-{n}")
    ask(operator, "web-1", "start")
    answer = operator.post("/api/servers/bulk_action/async", json={"names": ["web-1", "web-2"], "action": "start"})
    for task_id in answer.json["task_ids"]:
        action_execution.execute(task_id)
    done = operator.get(f"/api/result/group/{answer.json['group_id']}")
    assert done.status_code == 500
    assert {r["server"]: (r["status"], (r["error"] or {}).get("code")) for r in done.json["results"]} == {
        "web-1": ("failed", "server_busy"), "web-2": ("succeeded", None)
    }  # fmt: skip
    with unit_of_work() as uow:
        assert "actions_partly_failed" in uow.session.scalars(select(Notification.code)).all()


def test_every_unknown_name_of_a_bulk_is_listed_and_nothing_done(operator: Client, make_server: Make) -> None:
    make_server("web-1")
    answer = operator.post(
        "/api/servers/bulk_action/async", json={"names": ["web-1", "nope", "neither"], "action": "start"}
    )
    assert answer.status_code == 422
    assert [e["field"] for e in answer.json["errors"]] == ["names.1", "names.2"]
    with unit_of_work() as uow:
        assert uow.session.scalars(select(Action)).all() == []
    for bad in ({}, {"names": [], "action": "start"}, {"names": ["web-1"], "action": "explode"}):
        assert operator.post("/api/servers/bulk_action/async", json=bad).status_code == 422


def test_what_one_may_not_do(
    client_for: Callable[..., Client], make_user: Make, make_server: Make, operator: Client
) -> None:
    dora, viewer = client_for(make_user("developer", "dora")), client_for(make_user("viewer"))
    make_server("web-1")
    assert dora.post("/api/servers/web-1/start").status_code == 404
    assert viewer.post("/api/servers/web-1/start").status_code == 403
    assert dora.get(f"/api/result/group/{uuid4()}").status_code == 404
    assert dora.get("/api/result/group/nonsense").status_code == 404
    assert operator.post("/api/servers/web-1/explode").status_code in (404, 405)


def test_with_the_broker_down_the_action_waits(
    operator: Client, make_server: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.adapters import broker

    make_server("web-1")
    monkeypatch.setattr(broker, "_down_until", float("inf"))
    task_id = ask(operator, "web-1", "start")
    assert action(task_id).state == ActionState.QUEUED
    with unit_of_work() as uow:
        assert [o.payload["args"] for o in uow.session.scalars(select(Outbox).where(Outbox.kind == "bell"))] == [
            [str(task_id)]
        ]
