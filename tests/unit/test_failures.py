"""Texts of Proxmox, provider and Terraform, as measured, and what the catalogue makes of them."""

import pytest
from flask import Flask
from flask_babel import Babel

from app.domain.failures import CATALOGUE, Explained, explain
from app.messages import HINTS, MESSAGES, hint_of, text_of
from scripts.failures import PLACE
from scripts.failures import text as page

# What the runner says beside a code of its own.
RUNNERS = ("vmid", "server", "found", "wanted", "times", "by", "reason", "path", "privilege", "seconds", "user")
CLONE = "VM clone\nAll attempts fail:\n#1: error cloning VM: "


@pytest.mark.parametrize(
    ("text", "code", "args"),
    [
        (CLONE + 'failed to perform HTTP POST request - Reason: Post "https://x": dial tcp 10.0.0.1:8006: connect: connection refused', "proxmox_unreachable", {}),
        (CLONE + "dial tcp: lookup pve.invalid: no such host", "proxmox_unreachable", {}),
        (CLONE + "tls: failed to verify certificate: x509: certificate signed by unknown authority", "proxmox_certificate", {"reason": "certificate signed by unknown authority"}),
        (CLONE + "received an HTTP 401 response - Reason: authentication failure", "proxmox_unauthorized", {}),
        (CLONE + "received an HTTP 403 response - Reason: Permission check failed (/vms/9000, VM.Clone)", "proxmox_forbidden", {"path": "/vms/9000", "privilege": "VM.Clone"}),
        (CLONE + "received an HTTP 500 response - Reason: unable to create VM 777: config file already exists", "vmid_taken", {"vmid": "777"}),
        (CLONE + "received an HTTP 500 response - Reason: Configuration file 'nodes/pve1/qemu-server/9999.conf' does not exist", "template_missing", {"vmid": "9999"}),
        (CLONE + "received an HTTP 500 response - Reason: no such cluster node 'pve9'", "node_unknown", {"node": "pve9"}),
        (CLONE + "received an HTTP 500 response - Reason: storage 'nope' does not exist", "storage_unknown", {"storage": "nope"}),
        (CLONE + "received an HTTP 400 response - Reason: Parameter verification failed. (storage: storage 'local' does not support vm images)", "storage_not_images", {"storage": "local"}),
        ('VM clone\ntask "UPID:x" failed to complete with exit code: clone failed: unable to write to storage \'shared\': No space left on device', "storage_no_space", {"storage": "shared"}),
        (CLONE + "received an HTTP 595 response - Reason: No route to host", "node_offline", {}),
        (CLONE + "received an HTTP 500 response - Reason: cluster not ready - no quorum?", "no_quorum", {}),
        (CLONE + "received an HTTP 500 response - Reason: VM is locked (backup)", "vm_locked", {"lock": "backup"}),
        (CLONE + "received an HTTP 500 response - Reason: can't lock file '/var/lock/qemu-server/lock-9000.conf' - got timeout", "clone_lock_timeout", {"vmid": "9000"}),
        ("VM start\nerror starting VM: All attempts fail: #1: received an HTTP 500 response - Reason: start failed: QEMU exited with code 1", "start_failed", {"reason": "QEMU exited with code 1"}),
        (CLONE + "received an HTTP 502 response - Reason: Bad Gateway", "proxmox_proxy", {}),
        ("update\nreceived an HTTP 400 response - Reason: Parameter verification failed. (tags: invalid format - invalid characters in tag)", "config_refused", {"reason": "tags: invalid format - invalid characters in tag"}),
        ("disk resize failure: requested size (5G) is lower than current size (10G)", "disk_shrink_refused", {}),
        ("Error saving state\nHTTP error: 409", "state_save_failed", {}),
        ("Failed to write plan file\nThe plan file could not be written: failed to create module manifest: write run.tfplan: no space left on device.", "work_disk_full", {}),
        (CLONE + 'failed to perform HTTP POST request - Reason: Post "https://x/clone": EOF', "proxmox_unreachable", {}),
        ("update\nreceived an HTTP 500 response - Reason: can't lock file '/var/lock/qemu-server/lock-600.conf' - got timeout", "config_lock_timeout", {"vmid": "600"}),
        (CLONE + "received an HTTP 500 response - Reason: can't lock file '/var/lock/pve-manager/pve-storage-data-zfs' - got timeout", "storage_busy", {"storage": "data-zfs"}),
        ("Failed to load plugin schemas\nfailed to instantiate provider to obtain schema: Unrecognized remote plugin message: \nFailed to read any lines from plugin's stdout", "provider_died", {}),
        ("Request cancelled\nThe plugin6.(*GRPCProvider).ApplyResourceChange request was cancelled.", "provider_died", {}),
        ("Saved plan is stale\nThe given plan file can no longer be applied", "plan_stale", {}),
    ],
)  # fmt: skip
def test_a_known_failure_gets_its_code_and_arguments(text: str, code: str, args: dict[str, str]) -> None:
    found = explain([text])
    assert (found.code, found.args) == (code, args)


def test_an_unknown_failure_shows_terraforms_own_words() -> None:
    assert explain(["Something new\nwith details\nand a log"]) == Explained("terraform_failed", {"reason": "Something new: with details"}, 0)
    assert explain(["VM start\n\nAll attempts fail:\n#1: the moon is wrong"]).args == {"reason": "VM start: the moon is wrong"}


def test_the_cause_is_found_among_its_consequences() -> None:
    found = explain(["Something new", CLONE + "received an HTTP 401 response"])
    assert (found.code, found.index) == ("proxmox_unauthorized", 1)


def test_a_failed_run_is_told_without_gaps() -> None:
    # What a run knows of itself, whatever Terraform said.
    known = {"endpoint": "https://pve:8006", "auth_id": "tpm@pve!tpm", "node": "pve1"}
    app = Flask(__name__)
    Babel(app)
    with app.app_context():
        for failure in CATALOGUE:
            args = known | {name.rstrip("2"): "x" for name in (failure.pattern.groupindex if failure.pattern else RUNNERS)}
            assert "…" not in text_of(failure.code, args) + hint_of(failure.code, args), failure.code


def test_every_code_has_a_text_and_a_hint() -> None:
    codes = [f.code for f in CATALOGUE]
    assert len(codes) == len(set(codes))
    assert {c for c in codes if c not in MESSAGES} == set()
    assert {c for c in codes if c not in HINTS} == set()


def test_the_page_for_people_is_the_catalogue() -> None:
    assert PLACE.read_text(encoding="utf-8") == page(), "run: python -m scripts.failures"
