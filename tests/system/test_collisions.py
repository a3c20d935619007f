"""Somebody makes a guest of his own with a VMID that we hold: it stays his, bit for bit, and our server gets another one."""

import os
import signal

import pytest

from tests.stack import Api, Stack, children, eventually


def occupy(stack: Stack, vmid: int) -> str:
    """Make somebody else's running guest; returns what it is like."""
    stack.control("create_foreign", vmid=vmid, name="somebody-elses", node="pve1", running=True, config={"memory": "512", "tags": "theirs"})
    return str(stack.control("digest", vmid=vmid))


def reserved(api: Api, name: str) -> int:
    return int(api.get(f"/api/servers/{name}")["vmid"])


def moved_and_made(stack: Stack, api: Api, run_id: int, name: str, taken: int, digest: str) -> None:
    run = api.wait_run(run_id, "applied", timeout_s=90)
    assert stack.control("digest", vmid=taken) == digest, "not touched"
    server = api.get(f"/api/servers/{name}")
    assert server["vmid"] != taken and server["status"] == "running"
    assert [v for v, vm in stack.vms().items() if vm["name"] == name] == [server["vmid"]]
    [told] = [e for e in run["events"] if e["name"] == "vmid_moved"]
    assert told["detail"] == {"servers": [name], "former": taken, "vmid": server["vmid"]}
    assert stack.sql(f"select quarantined_until is null, server_id from reservation where kind = 'vmid' and value = '{taken}'") == [(False, None)]
    again = api.wait_run(api.change(name, tags=["after"])["run_id"], "applied")
    assert [c["action"] for c in again["changes"]] == ["update"]
    stack.control("delete", vmid=taken)


def test_a_vmid_taken_before_the_plan_is_given_up(stack: Stack, admin: Api) -> None:
    worker = stack.info["pids"]["worker"]
    halted = [worker, *children(worker)]
    for pid in halted:
        os.kill(pid, signal.SIGSTOP)
    try:
        body = admin.create("clash-early")
        taken = reserved(admin, "clash-early")
        digest = occupy(stack, taken)
    finally:
        for pid in halted:
            os.kill(pid, signal.SIGCONT)
    moved_and_made(stack, admin, body["run_id"], "clash-early", taken, digest)


def test_a_vmid_taken_while_the_plan_waited_is_given_up_and_the_approval_still_counts(stack: Stack, admin: Api) -> None:
    body = admin.create("clash-late", apply="confirm")
    admin.wait_run(body["run_id"], "planned")
    taken = reserved(admin, "clash-late")
    digest = occupy(stack, taken)
    admin.post(f"/api/runs/{body['run_id']}/apply")
    moved_and_made(stack, admin, body["run_id"], "clash-late", taken, digest)


def test_a_vmid_taken_in_the_middle_of_an_apply_is_given_up(stack: Stack, admin: Api) -> None:
    stack.control("time", clone_seconds=3)
    body = admin.create("clash-mid", count=13)
    eventually(lambda: any(vm["lock"] == "clone" for vm in stack.vms().values()), 60, "clones have begun")
    # Ten are made at a time: these are not begun yet.
    left = [n for n in body["servers"] if reserved(admin, n) not in stack.vms()]
    taken = reserved(admin, left[-1])
    digest = occupy(stack, taken)
    moved_and_made(stack, admin, body["run_id"], left[-1], taken, digest)
    assert sorted(vm["name"] for vm in stack.vms().values() if vm["name"].startswith("clash-mid-")) == sorted(body["servers"])


@pytest.mark.parametrize("moment", ["change", "delete"])
def test_a_server_whose_vmid_is_somebody_elses_now_is_not_touched_but_can_be_forgotten(stack: Stack, admin: Api, moment: str) -> None:
    [name] = admin.made(f"replaced-{moment}")
    vmid = reserved(admin, name)
    stack.control("delete", vmid=vmid)
    digest = occupy(stack, vmid)
    run_id = (admin.change(name, tags=["x"]) if moment == "change" else admin.delete(name))["run_id"]
    run = admin.wait_run(run_id, "errored")
    assert run["error"]["code"] == "server_replaced" and run["error"]["hint"]
    assert stack.control("digest", vmid=vmid) == digest

    forgotten = admin.wait_run(admin.delete(name, forget=True)["run_id"])
    assert forgotten["state"] == "planned_and_finished", (forgotten["error"], admin.log(forgotten["id"]))
    assert admin.call("GET", f"/api/servers/{name}").status == 404
    assert stack.control("digest", vmid=vmid) == digest
    stack.control("delete", vmid=vmid)


def test_a_server_that_is_there_is_not_forgotten(stack: Stack, admin: Api) -> None:
    [name] = admin.made("unforgettable")
    run = admin.wait_run(admin.delete(name, forget=True)["run_id"], "errored")
    assert run["error"]["code"] == "server_is_there"
    eventually(lambda: admin.get(f"/api/servers/{name}")["status"] == "running", 30, "it is shown as it is")
