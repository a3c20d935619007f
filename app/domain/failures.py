"""Known failures of Proxmox, provider and Terraform: a pattern of their text, and the code that explains it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Remedy(StrEnum):
    """What a button can do about a failure; who may not press it reads the hint alone."""

    RETRY = "retry"  # the same once more: what failed was outside and may be over
    OTHER_NODE = "other_node"  # the form with the same values, at the field to change
    OTHER_STORAGE = "other_storage"
    OTHER_TEMPLATE = "other_template"
    OTHER_NETWORK = "other_network"
    CHANGE = "change"  # the form, at nothing in particular
    CLUSTER = "cluster"  # the cluster's address, certificate or token
    FORGET = "forget"  # the server's page, where it can be taken off the list
    NONE = "none"


@dataclass(frozen=True)
class Failure:
    """`code` names cause and fix in the catalogue of texts; named groups of the pattern are its arguments."""

    code: str
    pattern: re.Pattern[str]
    remedy: Remedy


def _row(code: str, remedy: Remedy, pattern: str) -> Failure:
    return Failure(code, re.compile(pattern, re.IGNORECASE | re.DOTALL), remedy)


R = Remedy
# The first match wins: narrow before wide. tests/simulator/test_failures.py produces each of them.
CATALOGUE: tuple[Failure, ...] = (
    _row("proxmox_unreachable", R.RETRY, r"connection refused|no such host|i/o timeout|network is unreachable|no route to host.*dial|connection reset|: (?:unexpected )?EOF\b"),
    _row("proxmox_certificate", R.CLUSTER, r"failed to verify certificate: (?:x509: )?(?P<reason>[^\n]+)|x509: (?P<reason2>[^\n]+)"),
    _row("endpoint_insecure", R.CLUSTER, r"must specify a secure endpoint"),
    _row("credentials_malformed", R.CLUSTER, r"Unable to create Proxmox VE API credentials"),
    _row("proxmox_unauthorized", R.CLUSTER, r"HTTP 401|authentication failure|invalid token"),
    _row("proxmox_forbidden", R.RETRY, r"Permission check failed \((?P<path>[^,)]+), (?P<privilege>[^)]+)\)"),
    _row("vmid_taken", R.RETRY, r"unable to create VM (?P<vmid>\d+): config file already exists|VM (?P<vmid2>\d+) already exists"),
    _row("template_missing", R.OTHER_TEMPLATE, r"Configuration file '[^']*/(?P<vmid>\d+)\.conf' does not exist"),
    _row("node_unknown", R.OTHER_NODE, r"no such cluster node '(?P<node>[^']+)'|hostname lookup '(?P<node2>[^']+)' failed"),
    _row("storage_unknown", R.OTHER_STORAGE, r"storage '(?P<storage>[^']+)' does not exist"),
    _row("storage_not_images", R.OTHER_STORAGE, r"storage '(?P<storage>[^']+)' does not support vm images"),
    # Of this machine, as Go words it: path before reason.
    _row("work_disk_full", R.RETRY, r"(?:write|open|mkdir|create|rename|copy_file_range) [^\s:]+: (?:no space left on device|disk quota exceeded|file too large)"),
    _row("storage_no_space", R.OTHER_STORAGE, r"(?:write to storage '(?P<storage>[^']+)': )?No space left on device"),
    _row("linked_clone_unsupported", R.OTHER_TEMPLATE, r"Linked clone feature is not supported"),
    _row("node_offline", R.OTHER_NODE, r"HTTP 595"),
    _row("no_quorum", R.RETRY, r"no quorum"),
    _row("clone_lock_timeout", R.RETRY, r"cloning VM: .*can't lock file '[^']*lock-(?P<vmid>\d+)\.conf' - got timeout"),
    _row("config_lock_timeout", R.RETRY, r"can't lock file '[^']*lock-(?P<vmid>\d+)\.conf' - got timeout"),
    _row("vm_locked", R.RETRY, r"VM is locked \((?P<lock>[^)]+)\)"),
    _row("memory_missing", R.OTHER_NODE, r"Cannot allocate memory"),
    _row("start_failed", R.RETRY, r"start failed: (?P<reason>[^\n]+)"),
    _row("bridge_missing", R.OTHER_NETWORK, r"bridge '(?P<bridge>[^']+)' does not exist"),
    _row("proxmox_proxy", R.RETRY, r"HTTP 50[234]\b"),
    _row("worker_not_started", R.RETRY, r"got no worker upid"),
    _row("config_refused", R.CHANGE, r"Parameter verification failed\. \((?P<reason>.+?)\)\s*(?:\n|$)"),
    _row("disk_shrink_refused", R.CHANGE, r"Cannot shrink|shrinking disks is not supported|lower than current size"),
    _row("state_save_failed", R.RETRY, r"Failed to (?:save|persist) state|Error saving state"),
    _row("state_locked", R.RETRY, r"Error acquiring the state lock"),
    _row("plan_stale", R.RETRY, r"Saved plan is stale|Saved plan does not match"),
    _row("provider_missing", R.RETRY, r"Inconsistent dependency lock file|Failed to query available provider packages|Required plugins are not installed"),
    _row("timed_out", R.RETRY, r"timeout while waiting|context deadline exceeded"),
    _row("proxmox_refused", R.RETRY, r"HTTP 500 response - Reason: (?P<reason>[^\n]+)"),
)
# What a run finds out by itself, before or beside Terraform.
OWN: dict[str, Remedy] = {
    "terraform_failed": R.RETRY, "terraform_dies": R.RETRY, "resumed_too_often": R.RETRY, "run_deadline": R.RETRY, "lock_broken": R.RETRY,
    "former_terraform_hangs": R.RETRY, "plan_changed": R.RETRY, "import_failed": R.RETRY, "forget_failed": R.RETRY, "vmid_foreign": R.RETRY,
    "terraform_missing": R.RETRY, "terraform_flavour": R.RETRY, "terraform_too_old": R.RETRY, "internal_error": R.RETRY,
    "server_replaced": R.FORGET, "server_is_there": R.NONE, "restart_failed": R.NONE, "server_gone": R.NONE,
}  # fmt: skip


def remedy(code: str) -> Remedy:
    """Return what can be done about a failure with a button."""
    return next((failure.remedy for failure in CATALOGUE if failure.code == code), OWN.get(code, Remedy.NONE))


def explain(texts: Iterable[str]) -> tuple[str, dict[str, Any]]:
    """Return code and arguments of the first known failure in these texts; `terraform_failed` when none is known."""
    parts = [re.sub(r"All attempts fail:\s*|#\d+:\s*", "", text) for text in texts]
    for failure in CATALOGUE:
        for text in parts:
            if match := failure.pattern.search(text):
                found = {k.rstrip("2"): v for k, v in match.groupdict().items() if v}
                return failure.code, found
    return "terraform_failed", {"reason": parts[0].splitlines()[0][:300] if parts and parts[0] else ""}
