"""Networks as numbers, and the configs addresses are read from."""

import time

import pytest

from app.adapters.proxmox.privileges import REQUIRED, missing_privileges
from app.domain import addressing, vm_config


@pytest.mark.parametrize(
    ("cidr", "gateway", "low", "high", "codes"),
    [
        ("10.0.0.0/24", "10.0.0.1", "10.0.0.10", "10.0.0.20", set()),
        ("10.0.0.5/24", None, None, None, {("cidr", "cidr_host_bits")}),
        ("10.0.0/24", None, None, None, {("cidr", "cidr_malformed")}),
        ("10.0.0.0", None, None, None, {("cidr", "cidr_malformed")}),
        ("fd00::/64", None, None, None, {("cidr", "cidr_malformed")}),
        ("10.0.0.0/31", None, None, None, {("cidr", "cidr_prefix")}),
        (
            "10.0.0.0/24",
            "10.0.1.1",
            "x",
            "10.0.0.255",
            {("gateway", "ip_outside_network"), ("range_low", "ip_malformed"), ("range_high", "ip_not_a_host")},
        ),
        ("10.0.0.0/24", None, "10.0.0.20", "10.0.0.10", {("range_high", "range_reversed")}),
        ("nonsense", "also", None, None, {("cidr", "cidr_malformed"), ("gateway", "ip_malformed")}),
    ],
)
def test_every_fault_of_a_networks_numbers_is_told(
    cidr: str, gateway: str | None, low: str | None, high: str | None, codes: set[tuple[str, str]]
) -> None:
    assert {(f, c) for f, c, _ in addressing.network_faults(cidr, gateway, low, high)} == codes


def test_free_addresses_skip_what_is_taken_and_start_low() -> None:
    taken = addressing.reserved("10.0.0.0/29", "10.0.0.1")
    assert list(addressing.free("10.0.0.0", "10.0.0.7", taken)) == [f"10.0.0.{n}" for n in range(2, 7)]


def test_a_large_range_is_quick() -> None:
    begun = time.monotonic()
    low, high = addressing.default_range("10.0.0.0/8")
    assert next(addressing.free(low, high, set())) == "10.0.0.1"
    assert time.monotonic() - begun < 0.1


def test_static_addresses_come_from_ipconfig_and_containers() -> None:
    config = {
        "ipconfig0": "ip=10.0.0.5/24,gw=10.0.0.1,ip6=fd00::5/64",
        "ipconfig1": "ip=dhcp",
        "net0": "virtio,bridge=vmbr0",
    }
    assert vm_config.static_addresses(config) == ["10.0.0.5", "fd00::5"]
    assert vm_config.static_addresses({"net0": "name=eth0,bridge=vmbr0,ip=10.1.0.7/16"}) == ["10.1.0.7"]


def test_the_boot_disk_follows_the_boot_order() -> None:
    config = {
        "boot": "order=virtio0;net0",
        "scsi0": "nfs:1/a.qcow2,size=5G",
        "virtio0": "lvm:vm-1-disk-0,size=10240M",
        "ide2": "nfs:x,media=cdrom",
    }
    assert vm_config.boot_disk(config) == vm_config.BootDisk("virtio0", "lvm", 10)
    assert vm_config.boot_disk({"ide2": "nfs:x,media=cdrom"}) is None


@pytest.mark.parametrize(
    ("agent", "on"), [("1", True), ("enabled=1,fstrim_cloned_disks=1", True), ("0", False), ("enabled=0", False)]
)
def test_the_agent_switch_is_read_in_every_spelling(agent: str, on: bool) -> None:
    assert vm_config.agent_on({"agent": agent}) is on


def test_missing_privileges_are_named_with_their_path() -> None:
    held = {path: dict.fromkeys((n.split("|")[0] for n in names), 1) for path, names in REQUIRED.items()}
    assert missing_privileges(held) == []
    del held["/vms"]["VM.Clone"]
    held["/storage"] = {}
    assert missing_privileges(held) == [
        ("VM.Clone", "/vms"),
        ("Datastore.AllocateSpace", "/storage"),
        ("Datastore.Audit", "/storage"),
    ]
    assert (
        missing_privileges({"/": {n: 1 for names in REQUIRED.values() for name in names for n in name.split("|")}})
        == []
    )


def test_a_privilege_on_some_storages_or_a_pool_is_enough() -> None:
    held = {
        path: dict.fromkeys((n.split("|")[-1] for n in names), 1)
        for path, names in REQUIRED.items()
        if path != "/storage"
    }
    assert missing_privileges(held | {"/storage/nfs": {"Datastore.AllocateSpace": 1, "Datastore.Audit": 1}}) == []
    assert missing_privileges(held | {"/pool/x": {"Datastore.AllocateSpace": 1, "Datastore.Audit": 1}}) == []
