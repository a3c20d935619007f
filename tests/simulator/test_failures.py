"""Each known failure as it comes from the simulated cluster through the real provider and the real Terraform.

Failures of different servers are brought about in one apply: Terraform tells of each under its server's key.
"""

import io
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from babel.messages.pofile import read_po
from flask_babel import Babel

from app.adapters.terraform.events import Diagnostic
from app.adapters.terraform.skeleton import Skeleton
from app.adapters.terraform.tfvars import DiskInput, NicInput, ServerInput
from app.adapters.terraform.workdir import write_imports
from app.domain.failures import CATALOGUE, explain
from app.messages import HINTS, MESSAGES
from tests.simulator.conftest import FIRST_OURS, Sim
from tests.simulator.terraform import PLAN, Terraform, server_input, skeleton_or_skip
from tests.stack import ROOT, eventually

# What a run knows of itself, whatever Terraform said.
KNOWN = {"endpoint": "https://pve:8006", "auth_id": "tpm@pve!tpm", "node": "pve1"}
KOREAN = read_po(io.BytesIO((ROOT / "app/translations/ko/LC_MESSAGES/messages.po").read_bytes()))
NOBODY = "tpm@pve!tpm=00000000-0000-4000-8000-000000000000"
CLONE = "/qemu/9000/clone"
Arrange = Callable[[Sim, int], object]


@dataclass(frozen=True)
class Row:
    """One failure: the trouble that is made for a server (its VMID is given), and the code and arguments it must get.

    `wanted` are other values of the server's inputs, None its removal; VMID stands for its number in the arguments.
    """

    code: str
    args: dict[str, str] = field(default_factory=dict)
    arrange: Arrange = lambda _sim, _vmid: None
    wanted: dict[str, Any] | None = field(default_factory=dict)


def refuses(method: str, path: str, **how: Any) -> Arrange:
    """Let Proxmox refuse a request about this VM."""
    return lambda sim, vmid: sim.control("fail", method=method, suffix=f"/qemu/{vmid}{path}", **how)


def task_ends(kind: str, message: str) -> Arrange:
    """Let Proxmox accept the task for this VM, and end it in an error."""
    return lambda sim, vmid: sim.control("task_fails", type=kind, vmid=vmid, message=message)


def disk(storage: str, gib: int = 20) -> dict[str, Any]:
    return {"disks": [DiskInput("scsi0", storage, gib)]}


def taken(sim: Sim, vmid: int) -> None:
    sim.control("create_foreign", vmid=vmid, name="foreign", node="pve1")


CREATES = [
    Row("vmid_taken", {"vmid": "VMID"}, taken),
    Row("node_unknown", {"node": "pve9"}, wanted={"node": "pve9"}),
    Row("storage_unknown", {"storage": "nope"}, wanted=disk("nope")),
    Row("storage_not_images", {"storage": "local"}, wanted=disk("local")),
    Row("storage_no_space", {"storage": "ceph"}, lambda sim, _: sim.control("fill", storage="ceph", gib=8000), disk("ceph")),
    Row("storage_local", {"storage": "local-lvm"}, wanted={"node": "pve2", **disk("local-lvm")}),
    Row("storage_busy", {"storage": "nfs"}, task_ends("qmclone", "clone failed: cfs-lock 'storage-nfs' error: got lock request timeout")),
    Row("task_failed", {"reason": "clone failed: copy failed: command 'qemu-img convert' failed: exit code 1"},
        task_ends("qmclone", "clone failed: copy failed: command 'qemu-img convert' failed: exit code 1")),
    Row("task_stopped", {}, task_ends("qmclone", "interrupted by signal")),
    Row("bridge_missing", {"bridge": "vmbr9"}, wanted={"nics": [NicInput("vmbr9", None, "10.20.1.200/22", "10.20.0.1")]}),
    Row("config_refused", {"reason": "tags: invalid format - invalid characters in tag"}, wanted={"tags": ["a b!"]}),
    Row("disk_shrink_refused", {}, wanted=disk("nfs", 5)),
    Row("disk_too_slow", {"command": "/usr/bin/qemu-img"},
        refuses("PUT", "/resize", message="command '/usr/bin/qemu-img resize -f qcow2 /mnt/disk.qcow2 5368709120' failed: got timeout")),
    Row("config_lock_timeout", {"vmid": "VMID"}, refuses("PUT", "/config", error="config_lock_timeout")),
    Row("proxmox_root_only", {"what": "set 'scsi0' config"}, refuses("PUT", "/config", error="only_root_can_set_config")),
    Row("proxmox_not_implemented", {"reason": "Method 'PUT /nodes/pve1' not implemented"},
        refuses("PUT", "/config", status=501, message="Method 'PUT /nodes/pve1' not implemented")),
    Row("node_silent", {}, refuses("PUT", "/config", status=596, message="Connection timed out")),
    Row("proxmox_refused", {"reason": "the moon is in the wrong house"}, refuses("PUT", "/config", message="the moon is in the wrong house")),
    Row("start_failed", {"reason": "QEMU exited with code 1"}, refuses("POST", "/status/start", error="qemu_exited_code")),
    Row("start_failed", {"reason": "failed to get VNC port"}, task_ends("qmstart", "start failed: failed to get VNC port")),
    Row("worker_not_started", {}, refuses("POST", "/status/start", message="got no worker upid - start worker failed")),
    Row("node_without_kvm", {}, task_ends("qmstart", "KVM virtualisation configured, but not available. Either disable in VM configuration or enable in BIOS.")),
    Row("memory_missing", {}, task_ends("qmstart", "start failed: command '/usr/bin/kvm -id 5' failed: exit code 1: Cannot allocate memory")),
]  # fmt: skip

CHANGES = [
    Row("disk_shrink_refused", {}, wanted=disk("nfs", 15)),
    Row("vm_locked", {"lock": "backup"}, lambda sim, vmid: sim.control("lock", vmid=vmid, lock="backup"), {"cores": 3}),
    Row("storage_no_space", {"storage": "nfs"}, refuses("PUT", "/resize", message="unable to write to storage 'nfs': No space left on device"), disk("nfs", 25)),
    Row("snapshot_prevents", {}, refuses("PUT", "/resize", message="qemu-img: Can't resize an image which has snapshots"), disk("nfs", 25)),
    Row("disk_in_use", {"volume": "local:100/vm-100-disk-0.raw"}, refuses("PUT", "/config", error="unable_delete_volume_still_use"), {"cores": 3}),
    Row("stop_failed", {}, task_ends("qmstop", "VM quit/powerdown failed - got timeout"), {"cores": 3}),
    Row("proxmox_proxy", {}, refuses("PUT", "/config", status=502, message="Bad Gateway"), {"cores": 3}),
    Row("proxmox_proxy", {}, refuses("PUT", "/config", status=503, message="Service Unavailable"), {"cores": 3}),
    Row("proxmox_proxy", {}, refuses("PUT", "/config", status=504, message="Gateway Timeout"), {"cores": 3}),
    Row("vm_protected", {}, lambda sim, vmid: sim.control("set", vmid=vmid, config={"protection": 1}), None),
    Row("proxmox_forbidden", {"path": "/vms/1", "privilege": "VM.Config.CPU"},
        refuses("PUT", "/config", status=403, message="Permission check failed (/vms/1, VM.Config.CPU)"), {"cores": 3}),
]  # fmt: skip

# For one server whose plan is made and applied again and again: trouble of the template, the cluster or the connection.
CLONES = [
    Row("proxmox_unreachable", {}, lambda sim, _: sim.control("down", seconds=60)),
    Row("proxmox_unreachable", {}, lambda sim, _: sim.control("network", drop_rate=1.0)),
    Row("proxmox_forbidden", {"path": "/vms/9000", "privilege": "VM.Clone"},
        lambda sim, _: sim.control("fail", method="POST", suffix=CLONE, status=403, message="Permission check failed (/vms/9000, VM.Clone)")),
    Row("template_missing", {"vmid": "9000"}, lambda sim, _: sim.control("fail", method="POST", suffix=CLONE, error="configuration_file_does_not_exist")),
    Row("vm_elsewhere", {"vmid": "9000", "node": "pve1"},
        lambda sim, _: sim.control("fail", method="POST", suffix=CLONE, error="unable_find_configuration_file")),
    Row("template_local", {"node": "pve1"},
        lambda sim, _: sim.control("fail", method="POST", suffix=CLONE, message="can't clone VM to node 'pve1' (VM uses local storage)")),
    Row("storage_disabled", {"storage": "nfs"}, lambda sim, _: sim.control("fail", method="POST", suffix=CLONE, message="storage 'nfs' is disabled")),
    Row("storage_elsewhere", {"storage": "nfs", "node": "pve1"},
        lambda sim, _: sim.control("fail", method="POST", suffix=CLONE, message="storage 'nfs' is not available on node 'pve1'")),
    Row("no_quorum", {}, lambda sim, _: sim.control("quorum", quorate=False)),
    Row("node_offline", {}, lambda sim, _: sim.control("node", node="pve1", online=False)),
    Row("vm_locked", {"lock": "backup"}, lambda sim, _: sim.control("lock", vmid=9000, lock="backup")),
    Row("clone_lock_timeout", {"vmid": "9000"}, lambda sim, _: sim.control("lock", vmid=9000, file=True)),
    Row("clone_timed_out", {}, lambda sim, _: sim.control("time", clone_seconds=60)),
]  # fmt: skip
# Whose tests stand by themselves.
ALONE = {
    "proxmox_unauthorized", "proxmox_certificate", "credentials_malformed", "proxmox_unreachable_not_tls", "endpoint_insecure", "node_offline",
    "linked_clone_unsupported", "import_failed", "provider_refused", "state_save_failed", "state_locked", "plan_stale", "provider_missing",
    "provider_died",
}  # fmt: skip
PRODUCED = {row.code for row in (*CREATES, *CHANGES, *CLONES)} | ALONE
CREATED, CHANGED, CLONED = 300, 400, 450  # first VMIDs


def slug(index: int) -> str:
    return f"s{index}"


def named(rows: list[Row]) -> list[Any]:
    return [pytest.param(index, row, id=f"{index}-{row.code}") for index, row in enumerate(rows)]


def told(diagnostics: list[Diagnostic], code: str, args: dict[str, str], vmid: int = 0) -> None:
    """What Terraform said is explained by this code, and the texts of the code leave nothing open in any language."""
    found = explain([f"{d.summary}\n{d.detail}" for d in diagnostics])
    assert (found.code, found.args) == (code, {k: str(vmid) if v == "VMID" else v for k, v in args.items()}), diagnostics
    app = Flask("app")
    Babel(app)
    with app.app_context():
        for text in (str(MESSAGES[code]), str(HINTS[code])):
            translated = KOREAN.get(text)
            assert translated is not None, text
            # Fails for a place that nothing fills.
            assert text % (KNOWN | found.args) != str(translated.string) % (KNOWN | found.args)


@pytest.fixture(scope="module")
def skeleton(tmp_path_factory: pytest.TempPathFactory) -> Skeleton:
    return skeleton_or_skip(tmp_path_factory.mktemp("skeleton"))


@pytest.fixture(scope="module")
def workspace(sim_process: Sim, skeleton: Skeleton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Terraform]]:
    """`workspace()`: a new working directory with a state of its own."""
    made: list[Terraform] = []

    def make() -> Terraform:
        made.append(Terraform(sim_process, skeleton, tmp_path_factory.mktemp("runs") / "work"))
        return made[-1]

    yield make
    for terraform in made:
        terraform.close()


@pytest.fixture(autouse=True)
def quick(sim: Sim) -> None:
    """A cluster without faults in which nothing takes long."""
    sim.control("time", scale=0.01, clone_seconds=0.05)


@dataclass(frozen=True)
class Batch:
    """Servers that failed in one apply, and what Terraform said about each; about one that it removes without its key."""

    terraform: Terraform
    said: list[Diagnostic]

    def about(self, key: str | None) -> list[Diagnostic]:
        return [d for d in self.said if d.slug == key]


def the_server(row: Row, index: int, first: int) -> ServerInput:
    return replace(server_input(slug(index), first + index, f"10.20.{first // 100}.{1 + index}/22"), **(row.wanted or {}))


@pytest.fixture(scope="module")
def creates(sim_process: Sim, workspace: Callable[[], Terraform]) -> Batch:
    """All servers of CREATES, made at once."""
    sim_process.control("time", scale=0.01, clone_seconds=0.05)
    terraform = workspace()
    for index, row in enumerate(CREATES):
        row.arrange(sim_process, CREATED + index)
    terraform.give(*(the_server(row, index, CREATED) for index, row in enumerate(CREATES)))
    terraform.plan()
    return Batch(terraform, terraform.failing_apply())


@pytest.fixture(scope="module")
def changes(sim_process: Sim, workspace: Callable[[], Terraform]) -> Batch:
    """Servers that are there, changed as in CHANGES."""
    sim_process.control("time", scale=0.01, clone_seconds=0.05)
    terraform = workspace()
    terraform.give(*(the_server(Row(""), index, CHANGED) for index in range(len(CHANGES))))
    terraform.make()
    for index, row in enumerate(CHANGES):
        row.arrange(sim_process, CHANGED + index)
    terraform.give(*(the_server(row, index, CHANGED) for index, row in enumerate(CHANGES) if row.wanted is not None))
    terraform.plan()
    return Batch(terraform, terraform.failing_apply())


@pytest.mark.parametrize(("index", "row"), named(CREATES))
def test_a_server_that_cannot_be_made_is_explained(creates: Batch, index: int, row: Row) -> None:
    told(creates.about(slug(index)), row.code, row.args, CREATED + index)


@pytest.mark.parametrize(("index", "row"), named(CHANGES))
def test_a_server_that_cannot_be_changed_is_explained(changes: Batch, index: int, row: Row) -> None:
    told(changes.about(None if row.wanted is None else slug(index)), row.code, row.args, CHANGED + index)


@pytest.fixture(scope="module")
def one_server(sim_process: Sim, workspace: Callable[[], Terraform]) -> Terraform:
    """A plan for one server; an empty state's plan may be applied again after a failure."""
    terraform = workspace()
    terraform.give(replace(server_input("web", CLONED, "10.20.3.1/22"), clone_timeout=2))
    terraform.plan()
    return terraform


@pytest.mark.parametrize(("_index", "row"), named(CLONES))
def test_trouble_with_cluster_or_template_is_explained(sim: Sim, one_server: Terraform, _index: int, row: Row) -> None:  # noqa: PT019 - part of the name
    one_server.state.kept = b""
    row.arrange(sim, CLONED)
    told(one_server.failing_apply(), row.code, row.args, CLONED)


# ---------------------------------------------------------------- the way to Proxmox
@pytest.mark.parametrize(
    ("variable", "value", "code", "args"),
    [
        ("PROXMOX_VE_API_TOKEN", NOBODY, "proxmox_unauthorized", {}),
        ("SSL_CERT_FILE", "/dev/null", "proxmox_certificate", {"reason": "certificate signed by unknown authority"}),
    ],
)
def test_a_cluster_that_does_not_trust_us_or_we_it_is_explained(
    one_server: Terraform, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, code: str, args: dict[str, str]
) -> None:
    monkeypatch.setitem(one_server.env, variable, value)
    one_server.state.kept = b""
    told(one_server.failing_apply(), code, args)


def test_a_token_that_is_none_is_explained(workspace: Callable[[], Terraform], monkeypatch: pytest.MonkeyPatch) -> None:
    terraform = workspace()
    monkeypatch.setitem(terraform.env, "PROXMOX_VE_API_TOKEN", "nonsense")
    terraform.give(server_input("web", CLONED, "10.20.3.1/22"))
    told(terraform.failing_plan(), "credentials_malformed", {})


@pytest.mark.parametrize(
    ("endpoint", "code"),
    [("https://127.0.0.1:9", "proxmox_unreachable"), ("https://pve.invalid:8006", "proxmox_unreachable"), ("http://127.0.0.1:8006", "endpoint_insecure")],
)
def test_an_address_that_leads_nowhere_is_explained(
    sim: Sim, changes: Batch, workspace: Callable[[], Terraform], monkeypatch: pytest.MonkeyPatch, endpoint: str, code: str
) -> None:
    monkeypatch.setitem(sim.info, "url", endpoint)
    terraform = workspace()
    # A plan of servers that are there asks for them.
    terraform.state.kept = changes.terraform.state.kept
    terraform.give(server_input(slug(0), CHANGED, "10.20.4.1/22"))
    told(terraform.failing_plan(), code, {})


def test_a_port_without_tls_is_explained(sim: Sim, workspace: Callable[[], Terraform], monkeypatch: pytest.MonkeyPatch) -> None:
    terraform = workspace()
    monkeypatch.setitem(sim.info, "url", f"https://127.0.0.1:{sim.ports[1]}")
    terraform.give(server_input("web", CLONED, "10.20.3.1/22"))
    terraform.plan()
    told(terraform.failing_apply(), "proxmox_unreachable_not_tls", {})


@pytest.mark.parametrize(
    ("token", "online", "code"),
    [(NOBODY, True, "proxmox_unauthorized"), (None, False, "node_offline")],
    ids=["token", "node"],
)
def test_a_plan_that_cannot_look_at_its_servers_is_explained(
    sim: Sim, changes: Batch, monkeypatch: pytest.MonkeyPatch, token: str | None, online: bool, code: str
) -> None:
    if CHANGED not in {vm["vmid"] for vm in sim.control("vms")}:
        sim.control("create_foreign", vmid=CHANGED, name=slug(0), node="pve1")
    sim.control("node", node="pve1", online=online)
    if token:
        monkeypatch.setitem(changes.terraform.env, "PROXMOX_VE_API_TOKEN", token)
    told(changes.terraform.failing_plan(), code, {})


# ---------------------------------------------------------------- templates and values
def test_a_linked_clone_of_a_disk_that_is_no_base_is_explained(sim: Sim, workspace: Callable[[], Terraform]) -> None:
    terraform = workspace()
    sim.control("create_foreign", vmid=499, name="raw", node="pve1", template=True, storage="nfs")
    sim.control("set", vmid=499, config={"scsi0": "nfs:499/vm-499-disk-0.qcow2,size=8G"})
    (terraform.folder / "linked_override.tf").write_text(
        'resource "proxmox_virtual_environment_vm" "server" {\n  clone {\n    vm_id = 499\n    full = false\n    retries = 1\n  }\n}\n'
    )
    terraform.give(server_input("web", CLONED, "10.20.3.1/22"))
    terraform.plan()
    told(terraform.failing_apply(), "linked_clone_unsupported", {})


def test_a_vm_that_vanished_before_it_was_taken_in_is_explained(workspace: Callable[[], Terraform]) -> None:
    terraform = workspace()
    terraform.give(server_input("web", CLONED, "10.20.3.1/22"))
    write_imports(terraform.folder, [("web", f"pve1/{CLONED}")])
    told(terraform.failing_plan(), "import_failed", {"server": "web"})


def test_a_value_that_the_provider_refuses_is_explained(workspace: Callable[[], Terraform]) -> None:
    terraform = workspace()
    terraform.give(replace(server_input("web", FIRST_OURS, "10.20.3.1/22"), vmid=5))
    told(terraform.failing_plan(), "provider_refused", {"reason": "expected vm_id to be in the range (100 - 2147483647), got 5"})


# ---------------------------------------------------------------- Terraform itself
def test_a_state_that_is_not_taken_is_explained(one_server: Terraform, sim: Sim) -> None:
    one_server.state.kept, one_server.state.refuses = b"", 409
    try:
        told(one_server.failing_apply(), "state_save_failed", {})
    finally:
        one_server.state.refuses = 0


def test_a_state_that_somebody_holds_is_explained(one_server: Terraform, monkeypatch: pytest.MonkeyPatch) -> None:
    for method in ("LOCK", "UNLOCK"):
        monkeypatch.setitem(one_server.env, f"TF_HTTP_{method}_ADDRESS", one_server.state.address)
    monkeypatch.setattr(one_server.state, "holder", "somebody")
    told(one_server.failing_plan(), "state_locked", {})


def test_a_plan_of_a_former_state_is_explained(creates: Batch) -> None:
    told(creates.terraform.failing_apply(), "plan_stale", {})


def test_a_provider_that_is_not_there_is_explained(workspace: Callable[[], Terraform]) -> None:
    terraform = workspace()
    terraform.give(server_input("web", CLONED, "10.20.3.1/22"))
    for link in (terraform.folder / ".terraform" / "providers").rglob("*"):
        if link.is_symlink():
            link.unlink()
    told(terraform.failing_plan(), "provider_missing", {})


def test_a_provider_that_is_killed_is_explained(sim: Sim, workspace: Callable[[], Terraform]) -> None:
    terraform = workspace()
    terraform.give(server_input("web", CLONED, "10.20.3.1/22"))
    terraform.plan()
    sim.control("time", clone_seconds=5)
    said: list[Diagnostic] = []
    apply = threading.Thread(target=lambda: said.extend(terraform.failing_apply()))
    apply.start()
    eventually(lambda: CLONED in {vm["vmid"] for vm in sim.control("vms")}, 30, "the clone has begun")
    for pid in providers_of(terraform.folder):
        os.kill(pid, signal.SIGKILL)
    apply.join()
    told(said, "provider_died", {})


def providers_of(folder: Path) -> list[int]:
    """Return the provider processes that work in this directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder and "terraform-provi" in (process / "comm").read_text():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def test_a_guest_agent_that_never_answers_is_no_failure(sim: Sim, workspace: Callable[[], Terraform]) -> None:
    terraform = workspace()
    sim.control("agent", vmid=CLONED, answers=False)
    (terraform.folder / "agent_override.tf").write_text(
        'resource "proxmox_virtual_environment_vm" "server" {\n  agent {\n    enabled = true\n    timeout = "1s"\n  }\n}\n'
    )
    terraform.give(server_input("web", CLONED, "10.20.3.1/22", agent=True))
    terraform.plan()
    code, out = terraform.run("apply", "-input=false", PLAN)
    assert code == 0, out
    assert "timeout while waiting for the QEMU agent" in out


def test_what_is_not_produced_here_is_named() -> None:
    patterns = {failure.code for failure in CATALOGUE if failure.pattern}
    assert len(PRODUCED) >= 20
    # A full disk of the worker's machine is tests/chaos' doing; a hung request has no second way to end than its time limit.
    assert patterns - PRODUCED == {"work_disk_full", "timed_out"}
