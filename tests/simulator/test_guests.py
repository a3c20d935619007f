"""Running guests: what a change does at once, what waits for a boot, disks, power, addresses."""

from tests.simulator.conftest import Sim, refusal
from tests.stack import eventually

GIB = 1024**3


def test_hardware_waits_for_a_boot_and_the_rest_happens_at_once(sim: Sim) -> None:
    vm = sim.clone(350)
    sim.done(sim.post(f"{vm}/status/start"))
    sim.put(f"{vm}/config", cores=4, memory=4096, tags="b;a", net1="virtio,bridge=vmbr1", scsi1="nfs:5")
    now, later = sim.get(f"{vm}/config", current=1), sim.get(f"{vm}/config")
    assert (now["cores"], later["cores"], now["tags"]) == (1, 4, "a;b")
    assert now["scsi1"].startswith("nfs:350/vm-350-disk-1")
    assert now["net1"].startswith("virtio=")
    assert {row["key"] for row in sim.get(f"{vm}/pending") if "pending" in row} == {"cores", "memory"}
    sim.done(sim.post(f"{vm}/status/reboot"))
    assert sim.get(f"{vm}/config", current=1)["cores"] == 4
    sim.put(f"{vm}/config", delete="scsi1")
    assert "disk-1" in sim.get(f"{vm}/config")["unused0"]


def test_disks_grow_and_never_shrink(sim: Sim) -> None:
    vm = sim.clone(351)
    before = sim.free("nfs")
    assert "shrinking disks is not supported" in refusal(sim, "PUT", f"{vm}/resize", disk="scsi0", size="5G")
    sim.done(sim.put(f"{vm}/resize", disk="scsi0", size="12G"))
    assert "size=12G" in sim.get(f"{vm}/config")["scsi0"]
    assert sim.free("nfs") == before - 2 * GIB
    sim.done(sim.call("DELETE", vm + "/", purge=1))
    assert sim.free("nfs") > before


def test_a_guest_moves_with_its_local_disks(sim: Sim) -> None:
    vm = sim.clone(352)
    sim.done(sim.post(f"{vm}/move_disk", disk="scsi0", storage="local-lvm", delete=1))
    assert "unused0" not in sim.get(f"{vm}/config")
    sim.done(sim.post(f"{vm}/status/start"))
    assert "can't migrate running VM without --online" in refusal(sim, "POST", f"{vm}/migrate", target="pve2")
    free = sim.free("local-lvm", "pve2")
    sim.done(sim.post(f"{vm}/migrate", **{"target": "pve2", "online": 1, "with-local-disks": 1}))
    assert sim.get("/nodes/pve2/qemu/352/status/current")["status"] == "running"
    assert sim.free("local-lvm", "pve2") == free - 10 * GIB


def test_the_agent_tells_the_address_some_time_after_the_start(sim: Sim) -> None:
    vm = sim.clone(353)
    sim.put(f"{vm}/config", ipconfig0="ip=10.20.0.90/22,gw=10.20.0.1")
    sim.control("time", scale=0.05)
    sim.done(sim.post(f"{vm}/status/start"))
    path = f"{vm}/agent/network-get-interfaces"
    assert "agent is not running" in refusal(sim, "GET", path)

    def up() -> bool:
        sim.control("time", scale=0)
        return bool(sim.get(path))

    eventually(up, 3)
    assert sim.get(path)["result"][1]["ip-addresses"][0]["ip-address"] == "10.20.0.90"


def test_power_actions_leave_the_state_they_name(sim: Sim) -> None:
    vm = sim.clone(354)
    steps = [("start", "running"), ("suspend", "paused"), ("resume", "running"), ("reset", "running"),
             ("reboot", "running"), ("shutdown", "stopped"), ("start", "running"), ("stop", "stopped")]  # fmt: skip
    for action, state in steps:
        sim.done(sim.post(f"{vm}/status/{action}"))
        assert sim.get(f"{vm}/status/current")["qmpstatus"] == state


def test_a_guest_on_a_bridge_that_is_not_there_does_not_start(sim: Sim) -> None:
    vm = sim.clone(355)
    sim.put(f"{vm}/config", net1="virtio,bridge=vmbr9")
    assert sim.ended(sim.post(f"{vm}/status/start")) == "bridge 'vmbr9' does not exist"


def test_backups_are_restored_under_another_vmid(sim: Sim) -> None:
    vm = sim.clone(356)
    sim.put(f"{vm}/config", cores=7)
    upid = sim.post("/nodes/pve1/vzdump", vmid=356, storage="nfs", mode="snapshot")
    eventually(lambda: sim.get(f"{vm}/status/current").get("lock") == "backup", 2)
    sim.done(upid)
    archive = sim.get("/nodes/pve1/storage/nfs/content", content="backup", vmid=356)[0]["volid"]
    sim.done(sim.post("/nodes/pve2/qemu", vmid=357, archive=archive, storage="ceph", unique=1))
    config = sim.get("/nodes/pve2/qemu/357/config")
    assert config["scsi0"].startswith("ceph:vm-357-disk-0")
    assert (config["cores"], config["name"]) == (7, "vm356")


def test_a_rollback_brings_the_config_back(sim: Sim) -> None:
    vm = sim.clone(358)
    sim.done(sim.post(f"{vm}/snapshot", snapname="one"))
    sim.put(f"{vm}/config", cores=8)
    sim.done(sim.post(f"{vm}/snapshot/one/rollback"))
    assert sim.get(f"{vm}/config")["cores"] == 1
    sim.done(sim.call("DELETE", f"{vm}/snapshot/one"))
    assert [row["name"] for row in sim.get(f"{vm}/snapshot")] == ["current"]


def test_a_snapshot_is_seen_in_the_making_and_holds_the_guests_lock(own: Sim) -> None:
    own.control("time", scale=0.2)
    vm = own.clone(359)
    for begin, lock, phase in (
        (lambda: own.post(f"{vm}/snapshot", snapname="one", description="first"), "snapshot", "prepare"),
        (lambda: own.post(f"{vm}/snapshot/one/rollback"), "rollback", None),
        (lambda: own.call("DELETE", f"{vm}/snapshot/one"), "snapshot-delete", "delete"),
    ):
        task = begin()
        assert own.get(f"{vm}/status/current")["lock"] == lock
        assert own.get(f"{vm}/snapshot")[0].get("snapstate") == phase
        assert own.ended(own.post(f"{vm}/snapshot", snapname="two")) == f"VM is locked ({lock})"
        own.done(task)
        assert "lock" not in own.get(f"{vm}/status/current")
    assert [row["name"] for row in own.get(f"{vm}/snapshot")] == ["current"]


def test_a_snapshot_that_fails_leaves_nothing_and_says_why(sim: Sim) -> None:
    vm = sim.clone(360)
    sim.done(sim.post(f"{vm}/snapshot", snapname="one"))
    assert sim.ended(sim.post(f"{vm}/snapshot", snapname="one")) == "snapshot name 'one' already used"
    assert sim.ended(sim.post(f"{vm}/snapshot/two/rollback")) == "snapshot 'two' does not exist"
    assert sim.ended(sim.call("DELETE", f"{vm}/snapshot/two")) == "snapshot 'two' does not exist"
    assert [row["name"] for row in sim.get(f"{vm}/snapshot")] == ["one", "current"]
    assert "lock" not in sim.get(f"{vm}/status/current")


def test_a_rollback_stops_the_guest_unless_the_snapshot_has_its_memory(sim: Sim) -> None:
    vm = sim.clone(361)
    sim.done(sim.post(f"{vm}/status/start"))
    sim.done(sim.post(f"{vm}/snapshot", snapname="cold"))
    sim.done(sim.post(f"{vm}/snapshot", snapname="warm", vmstate=1))
    assert [(row["name"], row.get("vmstate"), row.get("parent")) for row in sim.get(f"{vm}/snapshot")] == [
        ("cold", 0, None), ("warm", 1, "cold"), ("current", None, "warm")
    ]  # fmt: skip
    for name, state in (("cold", "stopped"), ("warm", "running")):
        sim.done(sim.post(f"{vm}/snapshot/{name}/rollback"))
        assert sim.get(f"{vm}/status/current")["status"] == state
    assert "vmstate" not in sim.get(f"{vm}/config")


def test_a_rollback_gives_disks_their_size_back_and_keeps_the_description_and_later_disks(sim: Sim) -> None:
    vm = sim.clone(362, description="ours")
    free = sim.free("ceph")
    sim.put(f"{vm}/config", scsi1="ceph:1")
    sim.done(sim.post(f"{vm}/snapshot", snapname="one"))
    sim.done(sim.call("PUT", f"{vm}/resize", disk="scsi1", size="3G"))
    sim.put(f"{vm}/config", scsi2="ceph:2", description="ours, later")
    sim.done(sim.post(f"{vm}/snapshot/one/rollback"))
    config = sim.get(f"{vm}/config")
    assert "size=1G" in config["scsi1"] and "scsi2" not in config
    assert config["unused0"].startswith("ceph:vm-362-disk-") and config["description"].strip() == "ours, later"
    assert free - sim.free("ceph") == 3 * 1024**3
