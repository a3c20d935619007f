"""Servers from request to removal, with real Terraform and provider against the simulated cluster."""

import threading
from typing import Any

import pytest

from tests.stack import Answer, Api, Stack, eventually


def vm_named(stack: Stack, name: str) -> dict[str, Any]:
    found = [vm for vm in stack.vms().values() if vm["name"] == name]
    assert len(found) == 1, f"{len(found)} VMs named {name}"
    return found[0]


def test_name_and_template_are_enough_for_a_running_server(stack: Stack, admin: Api) -> None:
    answer = admin.post("/api/servers/async", {"name": "solo", "template": "ubuntu-24.04"})
    assert answer.status == 202
    body = answer.json
    assert body["success"] is True
    assert body["servers"] == ["solo"]
    assert answer.headers["Location"] == f"/api/tasks/{body['task_id']}"
    task = admin.wait_task(body["task_id"])
    assert (task["status"], task["progress"]) == ("applied", {"done": 1, "total": 1})
    server = admin.get("/api/servers/solo")
    vm = vm_named(stack, "solo")
    assert server["status"] == vm["status"] == "running"
    assert server["vmid"] == vm["vmid"]
    assert server["ip_addresses"][0] in vm["config"]["ipconfig0"]
    assert server["run_id"] == body["run_id"]
    assert admin.call("GET", f"/api/result/{body['task_id']}").status == 200


def test_a_batch_is_one_run_and_each_server_exists_once(stack: Stack, admin: Api) -> None:
    body = admin.create("farm", count=4, preset="small", tags=["blue"], description="first line\nsecond ${x} <b>")
    assert body["servers"] == ["farm-1", "farm-2", "farm-3", "farm-4"]
    run = admin.wait_run(body["run_id"], "applied")
    assert run["plan"] == {"add": 4, "change": 0, "remove": 0, "import": 0}
    servers = [admin.get(f"/api/servers/{n}") for n in body["servers"]]
    assert len({s["vmid"] for s in servers}) == len({s["ip_addresses"][0] for s in servers}) == 4
    config = vm_named(stack, "farm-1")["config"]
    assert "first line" in config["description"]
    assert config["tags"] == "blue"


def test_a_resize_changes_this_server_in_place_and_grows_its_disk(stack: Stack, admin: Api) -> None:
    admin.made("grow")
    before = vm_named(stack, "grow")
    body = admin.change("grow", cores=2, memory_mib=2048, disks=[{"size_gib": 20}], tags=["b", "a"], description="note")
    run = admin.wait_run(body["run_id"], "applied")
    assert run["plan"] == {"add": 0, "change": 1, "remove": 0, "import": 0}
    shown = {a["path"]: (a["before"], a["after"]) for a in run["changes"][0]["attributes"]}
    assert shown["cpu.0.cores"] == (1, 2)
    assert shown["disk.0.size"] == (10, 20)
    server, vm = admin.get("/api/servers/grow"), vm_named(stack, "grow")
    assert (server["cores"], server["memory_mib"], server["disks"][0]["size_gib"]) == (2, 2048, 20)
    assert (str(vm["config"]["cores"]), vm["config"]["memory"], vm["vmid"]) == ("2", "2048", before["vmid"])
    assert "size=20G" in vm["config"]["scsi0"]
    assert vm["status"] == "running"


def test_changes_of_one_server_wait_in_line_and_say_for_what(admin: Api) -> None:
    admin.made("line")
    first = admin.change("line", cores=2)
    second = admin.change("line", memory_mib=3072)
    waiting = admin.run(second["run_id"])
    if waiting["state"] == "pending":
        assert waiting["waiting_for"]["code"] == "waiting_for_run"
    admin.wait_run(first["run_id"], "applied")
    admin.wait_run(second["run_id"], "applied")
    server = admin.get("/api/servers/line")
    assert (server["cores"], server["memory_mib"]) == (2, 3072)


def test_a_change_leaves_the_siblings_of_a_batch_alone(stack: Stack, admin: Api) -> None:
    names = admin.made("sib", count=2)
    other = vm_named(stack, names[1])
    stack.control("set", vmid=other["vmid"], config={"cores": "3"})
    untouched = stack.control("digest", vmid=other["vmid"])
    run = admin.wait_run(admin.change(names[0], cores=2)["run_id"], "applied")
    assert [c["server"] for c in run["changes"]] == [names[0]]
    assert stack.control("digest", vmid=other["vmid"]) == untouched


def test_a_delete_needs_the_name_and_removes_vm_and_row(stack: Stack, admin: Api) -> None:
    admin.made("gone")
    vmid = admin.get("/api/servers/gone")["vmid"]
    assert admin.call("DELETE", "/api/servers/gone", {"confirm": "other"}).codes == {"confirm": "confirm_name"}
    body = admin.delete("gone")
    twin = admin.call("DELETE", "/api/servers/gone", {"confirm": "gone"})
    assert twin.status in (404, 409)
    run = admin.wait_run(body["run_id"], "applied")
    assert run["plan"]["remove"] == 1
    assert admin.call("GET", "/api/servers/gone").status == 404
    assert vmid not in stack.vms()
    assert admin.made("gone") == ["gone"], "the name is free again"
    assert admin.get("/api/servers/gone")["vmid"] != vmid, "the VMID rests for a while"


def test_an_asked_for_confirmation_shows_the_plan_and_waits(stack: Stack, admin: Api) -> None:
    body = admin.create("asked", apply="confirm")
    run = admin.wait_run(body["run_id"], "planned")
    assert run["needs_approval"]["code"] == "asked_to_confirm"
    assert run["changes"][0]["action"] == "create"
    assert run["changes"][0]["attributes"]
    assert not [vm for vm in stack.vms().values() if vm["name"] == "asked"]
    assert admin.call("GET", f"/api/result/{body['task_id']}").status == 202
    assert admin.post(f"/api/runs/{body['run_id']}/apply", {"comment": "looks right"}).status == 202
    again = admin.post(f"/api/runs/{body['run_id']}/apply")
    assert again.status == 409
    admin.wait_run(body["run_id"], "applied")
    assert vm_named(stack, "asked")["status"] == "running"


def test_a_discarded_plan_changes_nothing_and_frees_name_and_address(admin: Api) -> None:
    body = admin.create("thrown", apply="confirm")
    admin.wait_run(body["run_id"], "planned")
    address = admin.get("/api/servers/thrown")["ip_addresses"][0]
    assert admin.post(f"/api/runs/{body['run_id']}/discard").json["state"] == "discarded"
    assert admin.call("GET", "/api/servers/thrown").status == 404
    again = admin.create("thrown", apply="confirm", networks=[{"network": "servers", "ip": address}])
    admin.wait_run(again["run_id"], "planned")
    assert admin.post(f"/api/runs/{again['run_id']}/discard").status == 202


def test_a_run_canceled_before_its_apply_made_nothing(stack: Stack, admin: Api) -> None:
    body = admin.create("early", count=3, apply="confirm")
    assert admin.post(f"/api/runs/{body['run_id']}/cancel").status == 202
    run = admin.wait_run(body["run_id"], "canceled")
    assert run["finished_at"]
    assert not [vm for vm in stack.vms().values() if vm["name"].startswith("early")]
    assert admin.call("GET", "/api/servers/early-1").status == 404
    assert admin.post(f"/api/runs/{body['run_id']}/cancel").status == 409
    result = admin.call("GET", f"/api/result/{body['task_id']}")
    assert (result.status, result.json["status"], result.json["error"]["code"]) == (500, "canceled", "run_canceled")


def test_a_canceled_apply_finishes_what_it_began_and_lists_it(stack: Stack, admin: Api) -> None:
    stack.control("time", clone_seconds=6)
    body = admin.create("half", count=14)
    eventually(lambda: any(vm["lock"] == "clone" for vm in stack.vms().values()), 60, "a clone has begun")
    assert admin.post(f"/api/runs/{body['run_id']}/cancel").status == 202
    run = admin.wait_run(body["run_id"], "canceled")
    listed = {s["name"] for s in admin.get("/api/servers?limit=50&q=half-")["items"]}
    there = {vm["name"]: vm for vm in stack.vms().values() if vm["name"].startswith("half-")}
    assert listed == set(there)
    assert 0 < len(there) < 14
    assert all(vm["status"] == "running" and not vm["lock"] for vm in there.values())
    assert run["progress"]["done"] == len(there)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"method": "POST", "suffix": "/clone", "status": 500, "message": "cluster not ready - no quorum?"}, "no_quorum"),
        ({"method": "POST", "suffix": "/clone", "status": 403, "message": "Permission check failed (/vms/9000, VM.Clone)"}, "proxmox_forbidden"),
        ({"method": "POST", "suffix": "/clone", "status": 401, "message": "authentication failure"}, "proxmox_unauthorized"),
        ({"method": "GET", "suffix": "/cluster/resources", "status": 401, "message": "authentication failure", "times": 3}, "proxmox_unauthorized"),
    ],
)  # fmt: skip
def test_a_failed_create_says_cause_and_fix_and_frees_everything(stack: Stack, admin: Api, fault: dict[str, Any], code: str) -> None:
    stack.control("fail", **fault)
    body = admin.create("unlucky")
    run = admin.wait_run(body["run_id"], "errored")
    assert run["error"]["code"] == code
    assert run["error"]["message"] != code
    assert "…" not in run["error"]["message"]
    assert run["error"]["hint"]
    stack.control("reset")
    result = admin.call("GET", f"/api/result/{body['task_id']}")
    assert (result.status, result.json["error"]["code"]) == (500, code)
    assert admin.call("GET", "/api/servers/unlucky").status == 404
    held = stack.sql(f"select count(*) from reservation r join server s on s.id = r.server_id where s.run_id = {body['run_id']} and r.quarantined_until is null")
    assert held == [(0,)]


def test_a_half_made_server_is_shown_as_failed_and_can_be_deleted(stack: Stack, admin: Api) -> None:
    stack.control("fail", method="POST", suffix="/status/start", status=500, message="start failed: QEMU exited with code 1")
    body = admin.create("broken")
    run = admin.wait_run(body["run_id"], "errored")
    assert run["error"]["code"] == "start_failed"
    stack.control("reset")
    assert admin.get("/api/servers/broken")["status"] in ("failed", "stopped")
    assert vm_named(stack, "broken")
    admin.wait_run(admin.delete("broken")["run_id"], "applied")
    assert not [vm for vm in stack.vms().values() if vm["name"] == "broken"]


def test_an_unreachable_cluster_ends_the_run_with_a_reason(stack: Stack, admin: Api) -> None:
    stack.control("down", seconds=6)
    run = admin.wait_run(admin.create("lost")["run_id"], "errored")
    assert run["error"]["code"] == "proxmox_unreachable"
    assert "…" not in run["error"]["message"]
    eventually(lambda: admin.get("/api/clusters")["items"][0]["status"] == "online", 40, "the cluster answers again")


@pytest.mark.parametrize(("action", "status"), [("shutdown", "stopped"), ("start", "running"), ("reboot", "running"), ("reset", "running"), ("stop", "stopped")])
def test_power_actions_end_in_what_proxmox_shows(stack: Stack, admin: Api, action: str, status: str) -> None:
    if admin.call("GET", "/api/servers/powered").status == 404:
        admin.made("powered")
    task = admin.wait_task(admin.post(f"/api/servers/powered/{action}").json["task_id"])
    assert (task["kind"], task["status"], task["error"]) == (action, "succeeded", None)
    assert admin.get("/api/servers/powered")["status"] == vm_named(stack, "powered")["status"] == status


def test_bulk_actions_are_a_group_with_one_result(stack: Stack, admin: Api) -> None:
    names = admin.made("herd", count=3)
    answer = admin.post("/api/servers/bulk_action/async", {"names": names, "action": "stop"})
    assert answer.status == 202
    group = answer.json
    assert len(group["task_ids"]) == 3
    done = eventually(lambda: (a := admin.call("GET", f"/api/result/group/{group['group_id']}")).status != 202 and a, 30, "the group's end")
    assert done.status == 200
    assert {vm_named(stack, n)["status"] for n in names} == {"stopped"}
    unknown = admin.post("/api/servers/bulk_action/async", {"names": [names[0], "nobody"], "action": "start"})
    assert unknown.status == 422


def test_the_same_key_makes_the_same_server_once_even_for_concurrent_twins(stack: Stack, admin: Api) -> None:
    body = {"name": "once", "template": "debian-12", "apply": "confirm"}
    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda: answers.append(admin.post("/api/servers/async", body, **{"Idempotency-Key": "k-1"}))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [a.status for a in answers] == [202] * 4
    assert all(a.json == answers[0].json for a in answers)
    other = admin.post("/api/servers/async", body | {"name": "twice"}, **{"Idempotency-Key": "k-1"})
    assert (other.status, other.json["code"]) == (422, "idempotency_mismatch")
    run_id = answers[0].json["run_id"]
    admin.wait_run(run_id, "planned")
    admin.post(f"/api/runs/{run_id}/discard")


def test_everyone_sees_and_changes_only_what_is_his(admin: Api, developer: Api, viewer: Api) -> None:
    admin.made("admins")
    own = developer.create("danas", apply="confirm")
    developer.wait_run(own["run_id"], "planned")
    assert developer.call("GET", "/api/servers/admins").status == 404
    assert developer.call("PATCH", "/api/servers/admins", {"cores": 2}).status == 404
    seen = {s["name"]: s["owner"] for s in developer.get("/api/servers?limit=200")["items"]}
    assert "danas" in seen and set(seen.values()) == {"dana"}
    assert viewer.get("/api/servers/admins")["owner"] == "admin"
    refused = viewer.call("DELETE", "/api/servers/admins", {"confirm": "admins"})
    assert (refused.status, refused.json["permission"]) == (403, "delete")
    assert developer.call("GET", f"/api/runs/{own['run_id'] - 1}").status == 404
    assert developer.post(f"/api/runs/{own['run_id']}/discard").status == 202


def test_each_recipient_is_told_once_how_a_run_ended(admin: Api, developer: Api) -> None:
    body = developer.create("told", template="debian-12")
    developer.wait_run(body["run_id"], "applied")
    mine = [n for n in developer.get("/api/notifications")["items"] if n["link"] == f"/runs/{body['run_id']}"]
    assert [(n["code"], n["severity"], n["args"]["servers"]) for n in mine] == [("run_applied", "success", ["told"])]
    assert not [n for n in admin.get("/api/notifications")["items"] if n["link"] == f"/runs/{body['run_id']}"]
    assert developer.post(f"/api/notifications/{mine[0]['id']}/read").status == 200
    admin.wait_run(admin.change("told", tags=["x"])["run_id"], "applied")
    told = [n for n in developer.get("/api/notifications")["items"] if n["args"].get("servers") == ["told"]]
    assert len(told) == 2, "the owner hears what somebody else did"
    assert developer.get("/api" + told[0]["link"])["created_by"] == "admin", "and can follow the link"
