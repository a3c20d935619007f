"""Names, marks and trees of snapshots; what a config says of a VM; disks that a state has and the VM has not."""

import json
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from app.domain import snapshot, vm_config
from app.domain.action_state import POWER, SNAPSHOT, TASK_TYPES, ActionKind
from app.services.state_disks import without_gone


@dataclass(frozen=True)
class Leaf:
    name: str
    parent: str | None = None


@pytest.mark.parametrize("name", ["ab", "before-upgrade", "Auto_2026-11-25", "x" * 40, "currently"])
def test_a_name_that_proxmox_takes_is_taken(name: str) -> None:
    assert snapshot.name_fault(name) is None


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", "snapshot_name_empty"), ("a", "snapshot_name_length"), ("x" * 41, "snapshot_name_length"),
        ("1st", "snapshot_name_bad"), ("-a", "snapshot_name_bad"), ("a b", "snapshot_name_bad"), ("a/b", "snapshot_name_bad"),
        ("ab\n", "snapshot_name_bad"), ("äb", "snapshot_name_bad"), ("CURRENT", "snapshot_name_reserved"), ("pending", "snapshot_name_reserved"),
    ],
)  # fmt: skip
def test_a_name_that_proxmox_refuses_has_a_reason(name: str, code: str) -> None:
    assert snapshot.name_fault(name) == code


@pytest.mark.parametrize("text", ["", "one line", "two\nlines", "managed-by:tpm/action/nonsense"])
def test_a_mark_is_found_again_and_people_do_not_see_it(text: str) -> None:
    task_id = uuid4()
    assert snapshot.made_by(snapshot.marked(text, task_id) + "\n") == task_id
    assert snapshot.unmarked(snapshot.marked(text, task_id)) == text
    assert snapshot.made_by(text) is None and snapshot.unmarked(text) == text


def test_only_the_last_line_is_a_mark() -> None:
    forged, ours = uuid4(), uuid4()
    assert snapshot.made_by(snapshot.marked(snapshot.marked("x", forged), ours)) == ours
    assert snapshot.made_by(snapshot.marked("x", ours) + "\nmore") is None


def test_a_tree_has_children_below_their_parents_and_leaves_nothing_out() -> None:
    items = [Leaf("a"), Leaf("b", "a"), Leaf("c", "a"), Leaf("d", "b"), Leaf("lost", "gone"), Leaf("self", "self"), Leaf("x", "y"), Leaf("y", "x")]
    shown = [(depth, leaf.name) for depth, leaf in snapshot.tree(items)]
    assert shown == [(0, "a"), (1, "b"), (2, "d"), (1, "c"), (0, "lost"), (0, "self"), (0, "x"), (0, "y")]


def test_every_kind_of_action_is_of_one_sort_and_has_its_task() -> None:
    assert POWER | SNAPSHOT == set(ActionKind) and not POWER & SNAPSHOT
    assert len(set(TASK_TYPES.values())) == len(ActionKind)


def test_a_config_tells_size_tags_and_real_disks() -> None:
    shape = vm_config.shape({
        "cores": "2", "memory": "current=2048", "tags": "b;a", "boot": "order=scsi0", "scsihw": "virtio-scsi-single",
        "scsi10": "ceph:vm-1-disk-2,size=5G", "scsi2": "ceph:vm-1-disk-1,size=512M", "scsi0": "nfs:1/vm-1-disk-0.qcow2,size=10G",
        "ide2": "ceph:vm-1-cloudinit,media=cdrom,size=4M", "unused0": "ceph:vm-1-disk-9", "sata0": "none",
    })  # fmt: skip
    assert (shape.cores, shape.memory_mib, shape.tags) == (2, 2048, {"a", "b"})
    assert [(d.interface, d.storage, d.size_gib) for d in shape.disks] == [("scsi0", "nfs", 10), ("scsi2", "ceph", 1), ("scsi10", "ceph", 5)]
    assert vm_config.shape({}) == vm_config.Shape(1, 512, frozenset(), ())


def _state(**servers: list[str]) -> bytes:
    instances: list[dict[str, Any]] = [
        {"index_key": key, "attributes": {"vm_id": 1, "disk": [{"interface": i, "size": 5} for i in disks]}} for key, disks in servers.items()
    ]
    resource = {"mode": "managed", "type": "proxmox_virtual_environment_vm", "name": "server", "instances": instances}
    return json.dumps({"version": 4, "serial": 7, "lineage": "x", "resources": [resource]}).encode()


def test_a_disk_that_is_gone_leaves_the_state_and_nothing_else_does() -> None:
    changed = without_gone(_state(a=["scsi0", "scsi1"], b=["scsi0", "scsi1"], c=["scsi0"]), {"a": {"scsi0"}, "c": {"scsi0", "scsi1"}})
    assert changed is not None
    body, gone = changed
    assert gone == {"a": ["scsi1"]}
    parsed = json.loads(body)
    assert (parsed["serial"], parsed["lineage"]) == (8, "x")
    kept = {i["index_key"]: [d["interface"] for d in i["attributes"]["disk"]] for i in parsed["resources"][0]["instances"]}
    assert kept == {"a": ["scsi0"], "b": ["scsi0", "scsi1"], "c": ["scsi0"]}


@pytest.mark.parametrize("there", [{}, {"a": {"scsi0", "scsi1"}}, {"a": set()}])
def test_a_state_that_fits_or_that_nobody_compared_stays_as_it_is(there: dict[str, set[str]]) -> None:
    assert without_gone(_state(a=["scsi0", "scsi1"]), there) is None
