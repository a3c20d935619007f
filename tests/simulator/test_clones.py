"""Clones: how long they take, what they say, what is seen of a guest that is not there yet."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.simulator.conftest import SCALE, Refused, Sim, refusal
from tests.stack import eventually

GIB, MIB = 1024**3, 1024**2


def test_a_guest_that_is_being_cloned_shows_nothing_but_its_lock(sim: Sim) -> None:
    sim.control("time", clone_seconds=0.6)
    upid = sim.start_clone(310, name="shop", description="ours")
    config = sim.get("/nodes/pve1/qemu/310/config")
    assert set(config) == {"lock", "digest"}
    assert config["lock"] == "clone"
    assert [row["key"] for row in sim.get("/nodes/pve1/qemu/310/pending")] == ["lock"]
    row = next(row for row in sim.get("/cluster/resources", type="vm") if row["vmid"] == 310)
    assert (row["name"], row["lock"]) == ("VM 310", "clone")
    assert "tags" not in row
    assert sim.get("/nodes/pve1/qemu/310/status/current")["name"] == "VM 310"
    assert "VM is locked (clone)" in refusal(sim, "PUT", "/nodes/pve1/qemu/310/config", cores=2)
    sim.done(upid)
    config = sim.get("/nodes/pve1/qemu/310/config")
    assert (config["name"], config["description"]) == ("shop", "ours")
    assert "lock" not in config
    row = next(row for row in sim.get("/cluster/resources", type="vm") if row["vmid"] == 310)
    assert (row["name"], row["pool"]) == ("shop", "servers")


@pytest.mark.parametrize(("template", "node", "scale"), [(9000, "pve1", 1.0), (9002, "pve2", 0.0)])
def test_clone_seconds_decide_whatever_the_size_and_the_scale(sim: Sim, template: int, node: str, scale: float) -> None:
    sim.control("time", scale=scale, clone_seconds=0.5)
    began = time.monotonic()
    upid = sim.start_clone(311, template, node)
    assert sim.get(f"/nodes/{node}/tasks/{upid}/status")["status"] == "running"
    sim.done(upid)
    assert 0.5 <= time.monotonic() - began < 0.9


def test_without_clone_seconds_a_clone_takes_its_size_and_logs_as_qm_does(sim: Sim) -> None:
    began, before = time.monotonic(), sim.free("nfs")
    upid = sim.start_clone(312, storage="nfs")
    sim.done(upid)
    assert time.monotonic() - began > 51 * SCALE * 0.8
    lines = sim.log(upid)
    assert lines[0] == "create full clone of drive ide2 (nfs:9000/vm-9000-cloudinit.qcow2)"
    assert "create full clone of drive scsi0 (nfs:9000/base-9000-disk-0.qcow2)" in lines
    assert "transferred 1.2 GiB of 10.0 GiB (12.00%)" in lines
    assert lines[-1] == "TASK OK"
    assert sim.free("nfs") == before - 10 * GIB - 4 * MIB
    assert "vm-312-cloudinit" in sim.get("/nodes/pve1/qemu/312/config")["ide2"]


def test_the_log_of_a_clone_grows_while_it_copies(sim: Sim) -> None:
    sim.control("time", clone_seconds=1)
    upid = sim.start_clone(313)
    first = eventually(lambda: len(lines) if 5 < len(lines := sim.log(upid)) < 90 else 0, 3)
    assert eventually(lambda: len(sim.log(upid)) > first, 3)
    sim.done(upid)


def test_one_clone_too_many_waits_for_the_lock_in_vain(sim: Sim) -> None:
    sim.control("clone_limit", limit=2)
    sim.control("time", clone_seconds=0.5)

    def one(newid: int) -> str:
        try:
            return sim.start_clone(newid)
        except Refused as e:
            return str(e)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(one, range(320, 324)))
    timeout = "can't lock file '/var/lock/qemu-server/lock-9000.conf' - got timeout"
    assert sum(timeout in answer for answer in answers) == 2
    for upid in (answer for answer in answers if answer.startswith("UPID")):
        sim.done(upid)


def test_a_stopped_clone_leaves_nothing(sim: Sim) -> None:
    before = sim.free("nfs")
    sim.control("time", clone_seconds=5)
    upid = sim.start_clone(330)
    sim.call("DELETE", f"/nodes/pve1/tasks/{upid}")
    assert sim.ended(upid) == "interrupted by signal"
    assert sim.free("nfs") == before
    assert "does not exist" in refusal(sim, "GET", "/nodes/pve1/qemu/330/config")


def test_a_clone_onto_a_full_storage_fails_and_leaves_nothing(sim: Sim) -> None:
    sim.control("fill", storage="nfs", gib=3995)
    upid = sim.start_clone(331)
    assert "No space left" in sim.ended(upid)
    assert "does not exist" in refusal(sim, "GET", "/nodes/pve1/qemu/331/config")
    assert 331 not in {vm["vmid"] for vm in sim.control("vms")}


def test_a_vmid_that_is_taken_is_refused(sim: Sim) -> None:
    assert "config file already exists" in refusal(sim, "POST", "/nodes/pve1/qemu/9000/clone", newid=101, full=1)
