"""One instance as a whole: beside another, stopped, killed, and started again with everything that was there."""

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from tests.stack import Api, Stack, eventually, processes, running


def run_processes(stack: Stack, runner: int) -> set[int]:
    """Return the processes of one run: its runner's session, and those of its children."""
    sessions = {runner}
    for pid in processes(stack):
        with contextlib.suppress(OSError):
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            if os.getsid(pid) == pid and parent and os.getsid(parent) == runner:
                sessions.add(pid)
    members = set()
    for pid in processes(stack):
        with contextlib.suppress(OSError):
            if os.getsid(pid) in sessions:
                members.add(pid)
    return members


@pytest.fixture
def instance() -> Iterator[Stack]:
    with running() as stack:
        yield stack


def in_mid_apply(stack: Stack, api: Api) -> tuple[int, list[str], set[int]]:
    """Begin a batch; returns its run, its servers and the processes that may outlive the instance."""
    stack.control("time", clone_seconds=4)
    body = api.create("kept", count=3)
    eventually(lambda: any(vm["lock"] == "clone" for vm in stack.vms().values()), 60, "a clone has begun")
    return body["run_id"], body["servers"], run_processes(stack, stack.runner_pid(body["run_id"]))


def settled(stack: Stack, api: Api, run_id: int, names: list[str]) -> None:
    """The run came to its end, each server exists once, and the next plan finds them as they are."""
    api.wait_run(run_id, "applied", timeout_s=150)
    found = sorted(vm["name"] for vm in stack.vms().values() if vm["name"].startswith("kept"))
    assert found == sorted(names)
    assert all(api.get(f"/api/servers/{name}")["status"] == "running" for name in names)
    changed = api.wait_run(api.change(names[0], tags=["later"])["run_id"], "applied")
    assert changed["plan"] == {"add": 0, "change": 1, "remove": 0, "import": 0}


def test_two_instances_run_side_by_side_and_each_keeps_its_own_over_a_stop(instance: Stack) -> None:
    with running() as other:
        mine, theirs = instance.api(), other.api()
        mine.made("same-name")
        theirs.made("same-name", template="debian-12")
        password, token = instance.admin_password, mine.token
        vmid = mine.get("/api/servers/same-name")["vmid"]
        instance.stop()
        assert processes(instance) == {}
        assert instance.info["pids"] == dict.fromkeys(instance.info["pids"])
        assert theirs.get("/api/servers/same-name")["template"] == "debian-12"
        instance.start()
        assert (instance.admin_password, mine.token) == (password, token)
        assert [vm["status"] for vm in instance.vms().values() if vm["vmid"] == vmid] == ["running"]
        assert mine.get("/api/servers/same-name")["vmid"] == vmid
        change = mine.wait_run(mine.change("same-name", cores=2)["run_id"], "applied")
        assert change["plan"]["change"] == 1
        assert theirs.get("/api/servers/same-name")["cores"] == 1


def test_a_stop_in_mid_apply_leaves_only_the_run_and_the_next_start_settles_it(instance: Stack) -> None:
    api = instance.api()
    run_id, names, of_the_run = in_mid_apply(instance, api)
    instance.stop()
    assert set(processes(instance)) <= of_the_run
    instance.start()
    settled(instance, api, run_id, names)


def test_a_killed_instance_leaves_only_the_run_and_the_next_start_settles_it(instance: Stack) -> None:
    api = instance.api()
    run_id, names, of_the_run = in_mid_apply(instance, api)
    assert instance.process is not None
    os.kill(instance.process.pid, signal.SIGKILL)
    instance.process.wait()
    eventually(lambda: set(processes(instance)) <= of_the_run, 15, "everything but the run has ended")
    instance.start()
    settled(instance, api, run_id, names)


def test_what_is_configured_elsewhere_is_not_started_and_two_installations_share_a_cluster(instance: Stack) -> None:
    facts = json.loads((instance.data_dir / "instance.json").read_text())
    database = facts["database_url"].replace("+psycopg2", "")
    with contextlib.closing(psycopg2.connect(database)) as connection:
        connection.autocommit = True
        connection.cursor().execute("create database elsewhere")
    cluster = instance.info["simulator"]
    with running(
        DATABASE_URL=database.rpartition("/")[0] + "/elsewhere", CELERY_BROKER_URL=facts["redis_url"][:-1] + "1",
        PROXMOX_ENDPOINT=cluster["endpoint"], PROXMOX_TOKEN_ID=cluster["token_id"], PROXMOX_CA_FILE=cluster["ca_file"],
        PROXMOX_TOKEN_SECRET_FILE=cluster["token_file"],
    ) as other:  # fmt: skip
        pids = other.info["pids"]
        assert [name for name, pid in pids.items() if pid is None] == ["postgres", "valkey", "simulator"]
        theirs, ours = other.api(), instance.api()
        lan = {"name": "lan", "bridge": "vmbr0", "cidr": "10.30.0.0/24", "gateway": "10.30.0.1"}
        assert theirs.post("/api/networks", lan).status == 201
        ours.made("ours")
        eventually(lambda: theirs.get("/api/guests?q=ours")["items"], 40, "their inventory has seen our server")
        assert theirs.post("/api/servers/async", {"name": "ours", "template": "debian-12"}).codes == {"name": "name_taken_in_proxmox"}
        theirs.made("theirs", template="debian-12")
        markers = {vm["config"]["description"].split("\n")[0].split("/")[1] for vm in instance.vms().values() if vm["name"] in ("ours", "theirs")}
        assert len(markers) == 2, "each VM names its own installation"
        assert ours.get("/api/servers/ours")["status"] == "running"
        both_at_once(instance, ours, theirs)


def both_at_once(instance: Stack, ours: Api, theirs: Api) -> None:
    """Two installations that reserve the same VMIDs at the same moment make all that was asked of them, each its own."""
    instance.control("time", clone_seconds=2)
    asked = {"crowd-a": ours.create("crowd-a", template="debian-12", count=5), "crowd-b": theirs.create("crowd-b", template="debian-12", count=5)}
    first = [{api.get(f"/api/servers/{name}")["vmid"] for name in asked[crowd]["servers"]} for api, crowd in ((ours, "crowd-a"), (theirs, "crowd-b"))]
    assert first[0] & first[1], "they are after the same VMIDs"
    for api, crowd in ((ours, "crowd-a"), (theirs, "crowd-b")):
        api.wait_run(asked[crowd]["run_id"], "applied", timeout_s=120)
    made: dict[str, list[int]] = {}
    for vmid, vm in instance.vms().items():
        made.setdefault(vm["name"], []).append(vmid)
    for api, crowd in ((ours, "crowd-a"), (theirs, "crowd-b")):
        for name in asked[crowd]["servers"]:
            server = api.get(f"/api/servers/{name}")
            assert (made[name], server["status"]) == ([server["vmid"]], "running")
    moved = [e for api, crowd in ((ours, "crowd-a"), (theirs, "crowd-b")) for e in api.run(asked[crowd]["run_id"])["events"] if e["name"] == "vmid_moved"]
    assert moved, "somebody gave way"
    for api, crowd in ((ours, "crowd-a"), (theirs, "crowd-b")):
        again = api.wait_run(api.change(asked[crowd]["servers"][0], tags=["after"])["run_id"], "applied")
        assert [c["action"] for c in again["changes"]] == ["update"]
