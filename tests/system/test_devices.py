"""Disks and networks of a server that runs: added, grown and removed through runs, with nothing left behind."""

import secrets
from typing import Any

import pytest

from tests.stack import Api, Stack


@pytest.fixture(scope="module")
def backend(admin: Api) -> str:
    """A second network, on a VLAN of the first one's bridge."""
    body = {"name": "backend", "bridge": "vmbr0", "vlan": 77, "cidr": "10.77.0.0/24", "range_low": "10.77.0.10", "range_high": "10.77.0.20"}
    assert admin.post("/api/networks", body).status == 201
    return "backend"


def config(stack: Stack, name: str) -> dict[str, Any]:
    [found] = [vm for vm in stack.vms().values() if vm["name"] == name]
    # What a running VM takes over at its next start counts, as Proxmox shows it.
    return {k: v for k, v in {**found["config"], **found["pending"]}.items() if v is not None}


def held(stack: Stack, name: str) -> set[tuple[str, bool]]:
    """The addresses reserved for a server, and whether they wait for somebody else already."""
    return set(stack.sql(f"select r.value, r.quarantined_until is not null from reservation r join server s on s.id = r.server_id where s.name = '{name}' and r.kind = 'ip'"))  # noqa: S608 - a test's own words


def unchanged(admin: Api, name: str) -> None:
    """Another change of the server plans nothing but itself: no disk, no NIC and no restart comes along."""
    run = admin.wait_run(admin.change(name, description=secrets.token_hex(4))["run_id"], "applied")
    assert [a["path"] for c in run["changes"] for a in c["attributes"]] == ["description"]


def test_a_disk_comes_grows_and_goes_with_its_data(stack: Stack, admin: Api) -> None:
    [name] = admin.made("disked")
    boot = admin.get(f"/api/servers/{name}")["disks"][0]
    admin.wait_run(admin.change(name, disks=[{"size_gib": boot["size_gib"]}, {"size_gib": 5}, {"size_gib": 6}])["run_id"], "applied")
    assert [d["interface"] for d in admin.get(f"/api/servers/{name}")["disks"]] == ["scsi0", "scsi1", "scsi2"]
    removed = admin.change(name, remove_disks=["scsi1"])
    admin.wait_run(removed["run_id"], "applied")
    there = config(stack, name)
    assert "scsi1" not in there and "scsi2" in there
    assert not [key for key in there if key.startswith("unused")]
    assert [d["size_gib"] for d in admin.get(f"/api/servers/{name}")["disks"]] == [boot["size_gib"], 6]
    unchanged(admin, name)
    # A new one takes the free name, and the one that stayed keeps its own.
    admin.wait_run(admin.change(name, disks=[{"size_gib": boot["size_gib"]}, {"size_gib": 7}, {"size_gib": 4}])["run_id"], "applied")
    sizes = {d["interface"]: d["size_gib"] for d in admin.get(f"/api/servers/{name}")["disks"]}
    assert sizes == {"scsi0": boot["size_gib"], "scsi2": 7, "scsi1": 4}
    assert "size=7G" in config(stack, name)["scsi2"]
    unchanged(admin, name)


def test_a_network_comes_and_goes_with_its_address(stack: Stack, admin: Api, backend: str) -> None:
    [name] = admin.made("wired")
    first = admin.get(f"/api/servers/{name}")["networks"][0]["ip"]
    admin.wait_run(admin.change(name, add_networks=[{"network": backend}])["run_id"], "applied")
    assert [(n["network"], n["ip"]) for n in admin.get(f"/api/servers/{name}")["networks"]] == [("servers", first), (backend, "10.77.0.10")]
    there = config(stack, name)
    assert "tag=77" in there["net1"] and "10.77.0.10/24" in there["ipconfig1"]
    assert held(stack, name) == {(first, False), ("10.77.0.10", False)}
    unchanged(admin, name)
    admin.wait_run(admin.change(name, remove_networks=["net1"])["run_id"], "applied")
    assert not {"net1", "ipconfig1"} & config(stack, name).keys()
    assert held(stack, name) == {(first, False), ("10.77.0.10", True)}
    assert admin.get(f"/api/servers/{name}")["ip_addresses"] == [first]
    unchanged(admin, name)


def test_what_cannot_go_is_refused_with_the_reason(admin: Api, backend: str) -> None:
    [name] = admin.made("kept")
    for body, field, code in (
        ({"remove_disks": ["scsi0"]}, "remove_disks.0", "disk_boot"),
        ({"remove_disks": ["scsi9"]}, "remove_disks.0", "disk_unknown"),
        ({"remove_networks": ["net0"]}, "remove_networks.0", "nic_first"),
        ({"remove_networks": ["net1"]}, "remove_networks.0", "nic_unknown"),
        ({"add_networks": [{"network": "nowhere"}]}, "add_networks.0.network", "network_unknown"),
        ({"add_networks": [{"network": backend, "ip": "10.77.0.99"}]}, "add_networks.0.ip", "ip_outside_range"),
    ):
        answer = admin.call("PATCH", f"/api/servers/{name}", body)
        assert (answer.status, answer.codes) == (422, {field: code})


def test_a_discarded_network_gives_its_address_back_and_a_second_change_waits_for_the_first(stack: Stack, admin: Api, backend: str) -> None:
    [name] = admin.made("undecided")
    run = admin.change(name, add_networks=[{"network": backend, "ip": "10.77.0.15"}], apply="confirm")["run_id"]
    admin.wait_run(run, "planned")
    again = admin.call("PATCH", f"/api/servers/{name}", {"add_networks": [{"network": backend}]})
    assert again.codes == {"add_networks": "devices_change_waits"}
    assert ("10.77.0.15", False) in held(stack, name)
    admin.post(f"/api/runs/{run}/discard")
    assert len(held(stack, name)) == 1
    assert len(admin.get(f"/api/servers/{name}")["networks"]) == 1


def test_a_failed_removal_is_asked_for_again_and_takes_the_data_then(stack: Stack, admin: Api) -> None:
    [name] = admin.made("stubborn")
    size = admin.get(f"/api/servers/{name}")["disks"][0]["size_gib"]
    admin.wait_run(admin.change(name, disks=[{"size_gib": size}, {"size_gib": 5}])["run_id"], "applied")
    stack.control("fail", method="PUT", suffix="/config", status=500, message="something broke", times=5)
    run = admin.change(name, remove_disks=["scsi1"])["run_id"]
    admin.wait_run(run, "errored")
    stack.control("reset")
    assert len(admin.get(f"/api/servers/{name}")["disks"]) == 2
    again = admin.post(f"/api/runs/{run}/retry").json["run_id"]
    admin.wait_run(again, "applied", "planned_and_finished")
    assert len(admin.get(f"/api/servers/{name}")["disks"]) == 1
    assert not [key for key in config(stack, name) if key.startswith("unused") or key == "scsi1"]
