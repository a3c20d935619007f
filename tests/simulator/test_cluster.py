"""The demo cluster, what its token may do, and what the control port does to it."""

import socket
import threading
import time
from urllib.error import HTTPError

import pytest
import requests

from tests.simulator.conftest import Sim, refusal
from tests.stack import eventually

FOREIGN = {
    101: "legacy-db",
    102: "win-fileserver",
    103: "mail-01",
    104: "build-runner",
    105: "old-wiki",
    106: "monitoring",
}
TEMPLATES = {9000: "ubuntu-24.04", 9001: "debian-12", 9002: "rocky-9"}


def test_the_demo_cluster_has_nodes_storages_templates_and_other_peoples_guests(sim: Sim) -> None:
    rows = sim.get("/cluster/resources")
    assert sorted(row["node"] for row in rows if row["type"] == "node") == ["pve1", "pve2", "pve3"]
    guests = {row["vmid"]: row for row in rows if row["type"] == "qemu"}
    assert {vmid: row["name"] for vmid, row in guests.items() if row["template"]} == TEMPLATES
    assert {vmid: row["name"] for vmid, row in guests.items() if not row["template"]} == FOREIGN
    assert {row["status"] for row in guests.values()} == {"running", "stopped"}
    assert guests[105]["status"] == "stopped"
    assert sim.get("/nodes/pve1/qemu/101/config")["ipconfig0"] == "ip=10.20.0.60/22,gw=10.20.0.1"
    assert {row["storage"] for row in rows if row["type"] == "storage"} == {"local", "local-lvm", "nfs", "ceph"}
    assert [row["iface"] for row in sim.get("/nodes/pve2/network", type="bridge")] == ["vmbr0", "vmbr1"]
    assert sim.get("/nodes/pve3/status")["cpuinfo"]["cpus"] == 16


def test_the_token_is_told_what_it_may_do_and_may_no_more(sim: Sim) -> None:
    held = sim.get("/access/permissions")
    assert held["/vms"]["VM.Clone"] == 1
    assert held["/storage"] == {"Datastore.AllocateSpace": 1, "Datastore.Audit": 1}
    assert "Sys.Modify" not in {name for names in held.values() for name in names}
    assert "403" in refusal(sim, "DELETE", "/nodes/pve1/storage/local/content/iso/x.iso")
    assert "403" in refusal(sim, "POST", "/access/users", userid="a@pve")
    url = f"{sim.info['url']}/api2/json/version"
    for token in (f"root@pam!tpm={sim.info['token_secret']}", f"{sim.info['token_id']}=no"):
        answer = sim.http.get(url, headers={"Authorization": f"PVEAPIToken={token}"}, timeout=5)
        assert answer.status_code == 401


def test_only_its_own_certificate_verifies(sim: Sim) -> None:
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"{sim.info['url']}/api2/json/version", timeout=5)


def test_tasks_of_the_token_are_listed_running_and_ended(sim: Sim) -> None:
    sim.control("time", clone_seconds=0.5)
    upid = sim.start_clone(400)
    row = next(row for row in sim.get("/cluster/tasks") if row["upid"] == upid)
    assert (row["type"], row["user"], row["tokenid"]) == ("qmclone", sim.info["token_id"], "tpm")
    assert "status" not in row
    sim.done(upid)
    assert next(row for row in sim.get("/cluster/tasks") if row["upid"] == upid)["status"] == "OK"
    assert upid in {row["upid"] for row in sim.get("/nodes/pve1/tasks", vmid=9000)}


def test_injected_failures_end_after_their_times(sim: Sim) -> None:
    sim.control("fail", method="GET", suffix="/101/config", status=502, message="Bad Gateway", times=1)
    assert "502 Bad Gateway" in refusal(sim, "GET", "/nodes/pve1/qemu/101/config")
    assert sim.get("/nodes/pve1/qemu/101/config")


def test_a_swallowed_answer_hides_what_was_done(sim: Sim) -> None:
    vm = sim.clone(401)
    sim.control("swallow", method="PUT", suffix="/401/config", status=502, times=1)
    assert "502" in refusal(sim, "PUT", f"{vm}/config", cores=3)
    assert sim.get(f"{vm}/config")["cores"] == 3
    sim.put(f"{vm}/config", cores=2)


def test_a_request_is_kept_before_or_after_it_is_done_until_it_is_let_go(sim: Sim) -> None:
    def clone(newid: int) -> threading.Thread:
        asking = threading.Thread(target=sim.start_clone, args=(newid,))
        asking.start()
        assert eventually(lambda: sim.control("held"), 5)["vmid"] == newid
        return asking

    for newid, stage, there in ((402, "before", False), (403, "after", True)):
        sim.control("hold", method="POST", suffix="/clone", stage=stage)
        asking = clone(newid)
        assert asking.is_alive()
        assert (newid in {vm["vmid"] for vm in sim.control("vms")}) == there
        sim.control("let_go")
        asking.join(5)
        assert not asking.is_alive()
        assert sim.control("held") is None
        eventually(lambda n=newid: any(vm["vmid"] == n for vm in sim.control("vms")), 5)  # type: ignore[misc]


def test_a_guest_moved_behind_our_back_is_the_same_guest_elsewhere(sim: Sim) -> None:
    before = sim.get(sim.clone(404) + "/config")
    sim.control("move", vmid=404, node="pve2")
    after = sim.get("/nodes/pve2/qemu/404/config")
    assert {k: v for k, v in after.items() if k not in ("digest", "scsi0", "ide2")} == {
        k: v for k, v in before.items() if k not in ("digest", "scsi0", "ide2")
    }
    assert "does not exist" in refusal(sim, "GET", "/nodes/pve1/qemu/404/config")


def test_locks_quorum_and_lost_nodes_answer_as_proxmox_does(sim: Sim) -> None:
    vm = sim.clone(401)
    sim.control("lock", vmid=401, lock="backup")
    assert "VM is locked (backup)" in refusal(sim, "PUT", f"{vm}/config", cores=2)
    sim.control("lock", vmid=401, file=True)
    assert "got timeout" in refusal(sim, "PUT", f"{vm}/config", cores=2)
    sim.control("lock", vmid=401)
    sim.control("quorum", quorate=False)
    assert "no quorum" in refusal(sim, "PUT", f"{vm}/config", cores=2)
    sim.control("node", node="pve1", online=False)
    assert "595" in refusal(sim, "GET", f"{vm}/config")
    rows = sim.get("/cluster/resources", type="vm")
    assert {row["status"] for row in rows if row["node"] == "pve1"} == {"unknown"}
    assert "hostname lookup 'pve9' failed" in refusal(sim, "GET", "/nodes/pve9/qemu")


def test_reset_takes_every_fault_back(sim: Sim) -> None:
    sim.control("fail", method="GET", suffix="/version", status=500, message="boom")
    sim.control("network", latency=0.3, drop_rate=0.1)
    sim.control("node", node="pve2", online=False)
    sim.control("quorum", quorate=False)
    sim.control("lock", vmid=101, lock="backup")
    sim.control("time", scale=7, clone_seconds=70)
    sim.control("fill", storage="nfs", gib=3999)
    sim.control("reset")
    began = time.monotonic()
    assert sim.get("/version")
    assert time.monotonic() - began < 0.3
    assert sim.get("/nodes/pve2/status")
    assert "lock" not in sim.get("/nodes/pve1/qemu/101/config")
    sim.done(sim.start_clone(402))


def test_the_network_drops_and_delays_requests(sim: Sim) -> None:
    sim.control("network", drop_rate=1)
    with pytest.raises(requests.ConnectionError):
        sim.get("/version")
    sim.control("network", drop_rate=0, latency=0.3)
    began = time.monotonic()
    assert sim.get("/version")
    assert time.monotonic() - began >= 0.3


def test_the_port_refuses_connections_while_it_is_down(sim: Sim) -> None:
    assert sim.get("/version")
    sim.control("down", seconds=0.4)
    with pytest.raises(requests.ConnectionError):
        sim.get("/version")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", sim.ports[0]), 1)

    def up() -> bool:
        try:
            return bool(sim.get("/version"))
        except requests.ConnectionError:
            return False

    eventually(up, 3)
    sim.control("down", seconds=60)
    sim.control("reset")
    assert sim.get("/version")


def test_other_people_make_rename_change_and_delete_guests(sim: Sim) -> None:
    sim.control("create_foreign", vmid=410, name="theirs", node="pve2")
    assert sim.get("/nodes/pve2/qemu/410/config")["name"] == "theirs"
    digest = sim.control("digest", vmid=410)
    assert sim.control("digest", vmid=410) == digest
    sim.control("set", vmid=410, config={"cores": 3, "agent": None})
    config = sim.get("/nodes/pve2/qemu/410/config")
    assert config["cores"] == 3
    assert "agent" not in config
    assert sim.control("digest", vmid=410) != digest
    sim.control("rename", vmid=410, name="other")
    assert sim.get("/nodes/pve2/qemu/410/status/current")["name"] == "other"
    sim.control("delete", vmid=410)
    assert "does not exist" in refusal(sim, "GET", "/nodes/pve2/qemu/410/config")
    with pytest.raises(HTTPError, match="400") as error:
        sim.control("delete", vmid=410)
    error.value.close()


def test_requests_are_listed_without_secrets(sim: Sim) -> None:
    sim.ticket()
    seen = sim.control("requests")
    assert ["POST", "/api2/json/access/ticket"] in [row[:2] for row in seen]
    assert sim.info["password"] not in str(seen)
