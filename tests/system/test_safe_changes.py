"""Safe changes through the whole chain: kept when the server answers, put back when it does not, whoever dies meanwhile."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from typing import Any

import pytest

from tests.stack import ROOT, Api, Stack, eventually
from tests.system.test_snapshots import replanned

CEPH = [{"size_gib": 10, "storage": "ceph"}]
NOBODY = {"verify": "port", "port": 9}  # where nobody listens


def ask(api: Api, name: str, **more: Any) -> str:
    answer = api.post(f"/api/servers/{name}/safe_change/async", {"change": {"cores": 2, "memory_mib": 2048}, "verify": "agent", **more})
    assert answer.status == 202, answer.text
    task_id: str = answer.json["task_id"]
    return task_id


def ended(api: Api, task_id: str) -> dict[str, Any]:
    return api.wait_task(task_id, timeout_s=120)


def parts(task: dict[str, Any]) -> list[tuple[str, str]]:
    return [(part["part"], part["status"]) for part in task["parts"]]


def size(api: Api, name: str) -> tuple[int, int]:
    server = api.get(f"/api/servers/{name}")
    return server["cores"], server["memory_mib"]


def celery_result(stack: Stack, task_id: str) -> str:
    code = f"from app.celery_app import celery\nfrom celery.result import AsyncResult\nprint(AsyncResult({task_id!r}, app=celery).state)"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=stack.env, capture_output=True, text=True, timeout=60, check=True)
    return told.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def loopback(admin: Api) -> str:
    """A network whose addresses are this machine's, so that ports of its servers can answer."""
    made = admin.post("/api/networks", {"name": "loopback", "bridge": "vmbr0", "cidr": "127.88.0.0/24", "range_low": "127.88.0.10", "range_high": "127.88.0.20"})
    assert made.status in (200, 201), made.text
    return "loopback"


def silent(api: Api, name: str, network: str) -> int:
    """Make a server whose first address is this machine's, where no port answers; returns its VMID."""
    api.made(name, "debian-12", disks=CEPH, networks=[{"network": network}, {"network": "servers"}])  # the provider waits for an address of no loopback
    vmid: int = api.get(f"/api/servers/{name}")["vmid"]
    return vmid


def test_a_change_after_which_the_agent_answers_is_kept_and_its_snapshot_goes(stack: Stack, admin: Api) -> None:
    admin.made("safe-well", disks=CEPH)
    task_id = ask(admin, "safe-well")
    assert admin.get("/api/servers/safe-well")["busy"] is True
    refused = admin.post("/api/servers/safe-well/stop")
    assert (refused.status, refused.json["code"]) == (409, "server_busy")
    assert admin.call("PATCH", "/api/servers/safe-well", {"cores": 4}).json["code"] == "server_busy"
    assert admin.call("GET", f"/api/result/{task_id}").status == 202
    task = ended(admin, task_id)
    assert (task["kind"], task["status"], task["error"]) == ("safe_change", "kept", None)
    assert parts(task) == [("snapshot", "done"), ("change", "done"), ("verify", "done"), ("clean_up", "done")]
    assert size(admin, "safe-well") == (2, 2048) and admin.get("/api/servers/safe-well")["busy"] is False
    assert admin.get("/api/servers/safe-well/snapshots")["items"] == []
    assert admin.call("GET", f"/api/result/{task_id}").status == 200
    eventually(lambda: celery_result(stack, task_id) == "SUCCESS", 20, "Celery knows the result")
    # Its parts are Celery tasks with results of their own.
    assert {admin.call("GET", f"/api/result/{part['task_id']}").status for part in task["parts"] if part["task_id"]} == {200}
    told = [n["code"] for n in admin.get("/api/notifications?limit=20")["items"] if n["args"].get("servers") == ["safe-well"]]
    assert told == ["safe_change_kept", "run_applied"], "told once, not of each part"


def test_a_change_after_which_nothing_answers_is_put_back_and_terraform_finds_nothing_to_change(stack: Stack, admin: Api, loopback: str) -> None:
    silent(admin, "safe-ill", loopback)
    before = admin.get("/api/servers/safe-ill")
    task = ended(admin, ask(admin, "safe-ill", **NOBODY, timeout_s=10, change={"cores": 2, "disks": [{"size_gib": 20, "storage": "ceph"}], "tags": ["changed"]}))
    assert (task["status"], task["error"]["code"]) == ("rolled_back", "safe_change_silent")
    assert parts(task) == [("snapshot", "done"), ("change", "done"), ("verify", "failed"), ("roll_back", "done"), ("start", "done"), ("clean_up", "done")]
    assert task["verify"]["tries"] > 1, "asked again and again, with pauses"
    after = admin.get("/api/servers/safe-ill")
    assert [after[k] for k in ("cores", "disks", "tags", "status")] == [before["cores"], before["disks"], before["tags"], "running"]
    assert replanned(stack, after["workspace"]) == []
    result = admin.call("GET", f"/api/result/{task['task_id']}")
    assert (result.status, result.json["error"]["code"]) == (500, "safe_change_silent")
    eventually(lambda: celery_result(stack, task["task_id"]) == "FAILURE", 20, "Celery knows the result")


def test_a_port_is_asked_at_the_servers_first_address(stack: Stack, admin: Api, loopback: str) -> None:
    silent(admin, "safe-ported", loopback)
    [(address,)] = stack.sql("select nics->0->>'ip' from server where name = 'safe-ported'")
    with closing(socket.create_server((address, 0))) as listening:
        port = listening.getsockname()[1]
        task = ended(admin, ask(admin, "safe-ported", verify="port", port=port, timeout_s=20, keep_snapshot=True))
    assert (task["status"], size(admin, "safe-ported")[0]) == ("kept", 2)
    assert [s["name"] for s in admin.get("/api/servers/safe-ported/snapshots")["items"]] == [task["snapshot"]]
    task = ended(admin, ask(admin, "safe-ported", verify="port", port=port, timeout_s=10, change={"cores": 3}))
    assert (task["status"], size(admin, "safe-ported")[0]) == ("rolled_back", 2)


def test_a_change_that_breaks_in_the_middle_is_put_back(stack: Stack, admin: Api) -> None:
    admin.made("safe-broken", disks=CEPH)
    vmid = admin.get("/api/servers/safe-broken")["vmid"]
    stack.control("fail", method="POST", suffix=f"/qemu/{vmid}/config", status=500, message="no", times=1)
    stack.control("fail", method="PUT", suffix=f"/qemu/{vmid}/config", status=500, message="no", times=1)
    task = ended(admin, ask(admin, "safe-broken"))
    assert task["status"] == "rolled_back" and ("change", "failed") in parts(task)
    assert size(admin, "safe-broken")[0] == 1 and admin.get("/api/servers/safe-broken")["status"] == "running"


def test_a_plan_that_is_discarded_changes_nothing_and_its_snapshot_goes(admin: Api) -> None:
    admin.made("safe-asked", disks=CEPH)
    task_id = ask(admin, "safe-asked", change={"cores": 2, "apply": "confirm"})
    run_id = eventually(lambda: admin.get(f"/api/tasks/{task_id}")["run_id"], 30, "the run begins")
    admin.wait_run(run_id, "planned")
    admin.post(f"/api/runs/{run_id}/discard")
    task = ended(admin, task_id)
    assert (task["status"], parts(task)) == ("failed", [("snapshot", "done"), ("change", "failed"), ("clean_up", "done")])
    assert size(admin, "safe-asked")[0] == 1 and admin.get("/api/servers/safe-asked/snapshots")["items"] == []


def test_a_person_decides_before_the_time_is_over(admin: Api, loopback: str) -> None:
    silent(admin, "safe-mine", loopback)
    for what, came_to, cores in (("roll_back", "rolled_back", 1), ("keep", "kept", 2)):
        task_id = ask(admin, "safe-mine", **NOBODY, timeout_s=600)
        eventually(lambda task_id=task_id: admin.get(f"/api/tasks/{task_id}")["verify"]["tries"], 60, "it is asked whether it answers")
        assert admin.post(f"/api/safe_changes/{task_id}/{what}").status == 202
        task = ended(admin, task_id)
        assert (task["status"], size(admin, "safe-mine")[0]) == (came_to, cores)
        late = admin.post(f"/api/safe_changes/{task_id}/keep")
        assert (late.status, late.json["code"]) == (409, "safe_change_decided")


def test_workers_killed_between_any_parts_begin_no_part_twice(stack: Stack, admin: Api, loopback: str) -> None:
    vmid = silent(admin, "safe-killed", loopback)
    task_id = ask(admin, "safe-killed", **NOBODY, timeout_s=15)
    for part in ("snapshot", "change", "verify", "roll_back"):
        eventually(lambda part=part: dict(parts(admin.get(f"/api/tasks/{task_id}"))).get(part, "waiting") != "waiting", 90, part)  # type: ignore[misc]  # bound now
        os.kill(eventually(lambda: stack.info["pids"]["worker_actions"], 30, "it was started again"), signal.SIGKILL)
    task = ended(admin, task_id)
    assert task["status"] == "rolled_back", task
    sent = [r[1].rsplit("/", 1)[-1] for r in stack.control("requests") if r[0] == "POST" and f"/qemu/{vmid}/snapshot" in r[1]]
    assert sent == ["snapshot", "rollback"]
    assert size(admin, "safe-killed")[0] == 1 and admin.get("/api/servers/safe-killed")["busy"] is False


def test_what_cannot_be_changed_safely_is_said_at_once(admin: Api, viewer: Api) -> None:
    admin.made("safe-plain", "debian-12", disks=CEPH)

    def faults(**body: Any) -> list[tuple[str, str]]:
        answer = admin.post("/api/servers/safe-plain/safe_change/async", {"change": {"cores": 2}, "verify": "agent", **body})
        assert answer.status == 422, answer.text
        return [(e["field"], e["code"]) for e in answer.json["errors"]]

    assert [code for _, code in faults(verify="port")] == ["safe_change_port"]
    assert faults(change={}) == [("change", "nothing_to_change")]
    assert ("change", "safe_change_networks") in faults(change={"add_networks": [{"network": "internal"}]})
    assert faults(change={"cores": 4000})[0][0] == "change.cores"
    assert faults(timeout_s=1)[0][0] == "timeout_s"
    assert viewer.post("/api/servers/safe-plain/safe_change/async", {"change": {"cores": 2}, "verify": "agent"}).status == 403
