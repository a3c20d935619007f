"""Snapshots through the whole chain: what a rollback means for Terraform, and a worker that dies after it has sent one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.stack import ROOT, Api, Stack, alive, eventually


def done(api: Api, method: str, path: str, **body: Any) -> dict[str, Any]:
    answer = api.call(method, path, body)
    assert answer.status == 202, answer.text
    task = api.wait_task(answer.json["task_id"])
    assert task["status"] == "succeeded", task
    return task


def replanned(stack: Stack, workspace_id: int) -> list[str]:
    """What Terraform would change in the workspace now."""
    simulator = stack.info["simulator"]
    secret = Path(simulator["token_file"]).read_text(encoding="utf-8").strip()
    access = {"PROXMOX_VE_API_TOKEN": f"{simulator['token_id']}={secret}", "SSL_CERT_FILE": simulator["ca_file"]}
    plan = subprocess.run(
        [sys.executable, "-m", "tests.chaos.replan", str(workspace_id)], cwd=ROOT, env=stack.env, input=json.dumps(access),
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert plan.returncode == 0, plan.stderr
    found: list[str] = json.loads(plan.stdout.splitlines()[-1])[str(workspace_id)]
    return found


def shape(server: dict[str, Any]) -> tuple[Any, ...]:
    return server["cores"], server["memory_mib"], server["tags"], [(d["interface"], d["size_gib"]) for d in server["disks"]]


def test_after_a_rollback_row_and_proxmox_agree_and_terraform_finds_nothing_to_change(stack: Stack, admin: Api) -> None:
    # Ceph can make snapshots wherever the server lands.
    admin.made("past", disks=[{"size_gib": 10, "storage": "ceph"}], tags=["first"], description="kept")
    snapshots, before = "/api/servers/past/snapshots", admin.get("/api/servers/past")
    task = done(admin, "POST", snapshots, name="before", description="as it was", memory=True)
    assert (task["kind"], task["servers"], task["error"]) == ("snapshot_create", ["past"], None)
    grown = admin.change("past", cores=2, memory_mib=2048, tags=["second"], disks=[{"size_gib": 20}])
    admin.wait_run(grown["run_id"], "applied")
    assert shape(admin.get("/api/servers/past"))[0:2] == (2, 2048)

    done(admin, "POST", f"{snapshots}/before/rollback")
    after = admin.get("/api/servers/past")
    assert shape(after) == shape(before)
    vm = stack.vms()[after["vmid"]]
    assert (after["status"], vm["status"], str(vm["config"]["cores"]), vm["config"]["tags"]) == ("running", "running", "1", "first")
    assert "size=10G" in vm["config"]["scsi0"]
    assert after["description"] == "kept" and "managed-by:tpm/" in vm["config"]["description"]
    assert replanned(stack, after["workspace"]) == []

    again = admin.change("past", cores=3)
    run = admin.wait_run(again["run_id"], "applied")
    assert {a["path"] for a in run["changes"][0]["attributes"]} == {"cpu.0.cores"}
    listed = {s["name"]: s for s in admin.get(snapshots)["items"]}
    assert (listed["before"]["description"], listed["before"]["memory"], listed["before"]["current"]) == ("as it was", True, True)
    done(admin, "POST", snapshots, name="later")
    done(admin, "DELETE", f"{snapshots}/before")
    assert [(s["name"], s["parent"]) for s in admin.get(snapshots)["items"]] == [("later", None)]
    admin.wait_run(admin.delete("past")["run_id"], "applied")
    assert after["vmid"] not in stack.vms()


def test_a_disk_added_after_the_snapshot_is_kept_unused_and_the_next_change_takes_it_out_of_the_state(stack: Stack, admin: Api) -> None:
    admin.made("disks", disks=[{"size_gib": 10, "storage": "ceph"}])
    done(admin, "POST", "/api/servers/disks/snapshots", name="before")
    admin.wait_run(admin.change("disks", disks=[{"size_gib": 10}, {"size_gib": 5, "storage": "ceph"}])["run_id"], "applied")
    later = stack.vms()[admin.get("/api/servers/disks")["vmid"]]["config"]["scsi1"].partition(",")[0]
    done(admin, "POST", "/api/servers/disks/snapshots/before/rollback")
    server = admin.get("/api/servers/disks")
    assert [d["interface"] for d in server["disks"]] == ["scsi0"]
    # The provider keeps a disk in its state that it does not find any more.
    admin.wait_run(admin.change("disks", tags=["x"])["run_id"], "applied")
    config = stack.vms()[server["vmid"]]["config"]
    assert "scsi1" not in config and config["unused0"] == later
    assert replanned(stack, server["workspace"]) == []


def test_a_worker_killed_after_it_has_sent_a_snapshot_sends_nothing_twice(stack: Stack, admin: Api) -> None:
    admin.made("cut", "debian-12", disks=[{"size_gib": 10, "storage": "ceph"}])
    vmid, worker = admin.get("/api/servers/cut")["vmid"], stack.info["pids"]["worker_actions"]

    def sent() -> int:
        return sum(r[0] == "POST" and r[1].endswith(f"/qemu/{vmid}/snapshot") for r in stack.control("requests"))

    # The cluster does it and keeps its answer back until nobody is there to hear it.
    stack.control("hold", method="POST", suffix=f"/qemu/{vmid}/snapshot", stage="after")
    task_id = admin.post("/api/servers/cut/snapshots", {"name": "once"}).json["task_id"]
    try:
        eventually(lambda: stack.control("held"), 30, "the cluster has the call")
        os.kill(worker, signal.SIGKILL)
    finally:
        stack.control("let_go")
    assert stack.sql(f"select upid from action where task_id = '{task_id}'") == [(None,)]
    task = admin.wait_task(task_id, timeout_s=90)
    there = [s["name"] for s in admin.get("/api/servers/cut/snapshots")["items"]]
    assert (task["status"], task["error"], there, sent()) == ("succeeded", None, ["once"], 1)
    assert admin.get("/api/servers/cut")["busy"] is False
    eventually(lambda: (p := stack.info["pids"]["worker_actions"]) not in (None, worker) and alive(p), 30, "the worker is started again")


def test_a_run_waits_for_a_snapshot_and_a_snapshot_is_refused_while_a_run_works(stack: Stack, admin: Api) -> None:
    admin.made("both", disks=[{"size_gib": 10, "storage": "ceph"}])
    stack.control("time", scale=4)  # long enough for a request to come in between, on a busy machine too
    taken = admin.post("/api/servers/both/snapshots", {"name": "first"}).json["task_id"]
    run_id = admin.change("both", cores=2)["run_id"]
    waiting = admin.run(run_id)
    assert (waiting["state"], waiting["waiting_for"]["code"]) == ("pending", "waiting_for_action")
    assert admin.wait_task(taken)["status"] == "succeeded"
    eventually(lambda: admin.run(run_id)["state"] != "pending", 30, "the run begins")
    stack.control("time", scale=0.02)
    refused = admin.post("/api/servers/both/snapshots", {"name": "second"})
    if admin.run(run_id)["state"] != "applied":
        assert (refused.status, refused.json["code"]) == (409, "server_busy")
    admin.wait_run(run_id, "applied")
    assert [s["name"] for s in admin.get("/api/servers/both/snapshots")["items"]][0] == "first"
