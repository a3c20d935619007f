"""Known failures of Proxmox, provider and Terraform, and what can be done about each: one table.

`explain` finds the row of a failed Terraform's texts. Rows without a pattern are found by the runner itself. What happened
and what to do are texts of the code (app/messages*.py); docs/failures.md shows the table to people.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Remedy(StrEnum):
    """What a button on the failure's card does; a change or a deletion names its server, so another choice is no remedy for it."""

    RETRY = "retry"  # the same once more: what failed was outside and may be over
    OTHER_NODE = "other_node"  # the form with the same values but this one
    OTHER_STORAGE = "other_storage"
    OTHER_TEMPLATE = "other_template"
    OTHER_NETWORK = "other_network"
    CHANGE = "change"  # the form, with nothing in particular changed
    CLUSTER = "cluster"  # its address, certificate or account is changed there
    RAISE_TIMEOUT = "raise_timeout"
    WORKSPACE = "workspace"  # its lock and its state versions
    FORGET = "forget"  # the server's page, where it can be taken off the list
    NONE = "none"


@dataclass(frozen=True)
class Failure:
    """Named groups of the pattern are the texts' arguments; a digit at a name's end only keeps two groups apart."""

    code: str
    remedy: Remedy
    pattern: re.Pattern[str] | None = None


@dataclass(frozen=True)
class Explained:
    """A failure's code and arguments, and which of the texts tells it."""

    code: str
    args: dict[str, Any]
    index: int


def _row(code: str, remedy: Remedy, pattern: str | None = None) -> Failure:
    return Failure(code, remedy, re.compile(pattern, re.IGNORECASE | re.DOTALL) if pattern else None)


R = Remedy
UNKNOWN = "terraform_failed"
# The first match wins: narrow before wide.
CATALOGUE: tuple[Failure, ...] = (
    # reaching Proxmox
    _row("proxmox_unreachable_not_tls", R.CLUSTER, r"server gave HTTP response to HTTPS client|first record does not look like a TLS handshake"),
    _row("proxmox_unreachable", R.RETRY, r"connection refused|no such host|i/o timeout|TLS handshake timeout|network is unreachable|no route to host.*dial|connection reset|broken pipe|: (?:unexpected )?EOF\b"),
    _row("proxmox_certificate", R.CLUSTER, r"failed to verify certificate: (?:x509: )?(?P<reason>[^\n]+)|x509: (?P<reason2>[^\n]+)"),
    _row("endpoint_insecure", R.CLUSTER, r"must specify a secure endpoint"),
    _row("credentials_malformed", R.CLUSTER, r"Unable to create Proxmox VE API credentials|API token must be in the format"),
    _row("proxmox_unauthorized", R.CLUSTER, r"HTTP 401|authentication failure|invalid token"),
    _row("proxmox_root_only", R.CLUSTER, r"Permission check failed \(user != root@pam\)|only root can (?P<what>[^\n]+)"),
    _row("proxmox_forbidden", R.RETRY, r"Permission check failed \((?P<path>[^,)]+), (?P<privilege>[^)]+)\)"),
    _row("proxmox_not_implemented", R.CLUSTER, r"HTTP 501 response - Reason: (?P<reason>[^\n]+)"),
    _row("node_silent", R.RETRY, r"HTTP 596"),
    _row("node_offline", R.OTHER_NODE, r"HTTP 595"),
    _row("proxmox_proxy", R.RETRY, r"HTTP 50[234]\b"),
    _row("no_quorum", R.RETRY, r"no quorum"),
    # what the request names
    _row("vmid_taken", R.RETRY, r"unable to create VM (?P<vmid>\d+): config file already exists|VM (?P<vmid2>\d+) already exists"),
    _row("template_missing", R.OTHER_TEMPLATE, r"Configuration file '[^']*/(?P<vmid>\d+)\.conf' does not exist"),
    _row("vm_elsewhere", R.RETRY, r"unable to find configuration file for \w+ (?P<vmid>\d+) on node '(?P<node>[^']+)'"),
    _row("template_local", R.OTHER_NODE, r"can't clone VM to node '(?P<node>[^']+)' \(VM uses local storage\)"),
    _row("node_unknown", R.OTHER_NODE, r"no such cluster node '(?P<node>[^']+)'|hostname lookup '(?P<node2>[^']+)' failed"),
    _row("storage_local", R.OTHER_STORAGE, r"can't clone to non-shared storage '(?P<storage>[^']+)'"),
    _row("storage_elsewhere", R.OTHER_STORAGE, r"storage '(?P<storage>[^']+)' is not available on node '(?P<node>[^']+)'"),
    _row("storage_disabled", R.OTHER_STORAGE, r"storage '(?P<storage>[^']+)' is (?:disabled|not online)"),
    _row("storage_unknown", R.OTHER_STORAGE, r"storage '(?P<storage>[^']+)' does not exist"),
    _row("storage_not_images", R.OTHER_STORAGE, r"storage '(?P<storage>[^']+)' does not support vm images"),
    # Of this machine, as Go words it: path before reason, in lower case.
    _row("work_disk_full", R.RETRY, r"(?:write|open|mkdir|create|rename|copy_file_range) [^\s:]+: (?:no space left on device|disk quota exceeded|file too large)"),
    _row("storage_no_space", R.OTHER_STORAGE, r"(?:write to storage '(?P<storage>[^']+)': )?(?-i:No space left on device)"),
    _row("linked_clone_unsupported", R.OTHER_TEMPLATE, r"Linked clone feature is not supported"),
    _row("bridge_missing", R.OTHER_NETWORK, r"bridge '(?P<bridge>[^']+)' does not exist"),
    _row("config_refused", R.CHANGE, r"Parameter verification failed\. \((?P<reason>.+?)\)\s*(?:\n|$)"),
    _row("provider_refused", R.CHANGE, r"(?P<reason>(?:expected \S+ to be|invalid value for) [^\n]+)"),
    _row("disk_shrink_refused", R.CHANGE, r"Cannot shrink|shrinking disks is not supported|lower than current size"),
    _row("snapshot_prevents", R.RETRY, r"image which has snapshots|non-migratable snapshot exists|disk with snapshots|contains snapshots"),
    _row("disk_in_use", R.RETRY, r"(?:unable to delete|base volume) '(?P<volume>[^']+)'[^\n]*still in use"),
    _row("vm_protected", R.RETRY, r"protection mode enabled"),
    # what Proxmox is busy with
    _row("clone_lock_timeout", R.RETRY, r"cloning VM: .*can't lock file '[^']*lock-(?P<vmid>\d+)\.conf' - got timeout"),
    _row("config_lock_timeout", R.RETRY, r"can't lock file '[^']*lock-(?P<vmid>\d+)\.conf' - got timeout"),
    _row("storage_busy", R.RETRY, r"cfs-lock 'storage-(?P<storage>[^']+)' error|can't lock file '[^']*pve-storage-(?P<storage2>[^']+)' - got timeout"),
    _row("vm_locked", R.RETRY, r"VM is locked \((?P<lock>[^)]+)\)"),
    # tasks that end in an error
    _row("task_stopped", R.RETRY, r"exit code: (?:interrupted by signal|received interrupt)"),
    _row("disk_too_slow", R.RETRY, r"command '(?P<command>[^' ]+)[^'\n]*' failed: got timeout"),
    _row("worker_not_started", R.RETRY, r"got no worker upid"),
    _row("stop_failed", R.RETRY, r"VM quit/powerdown failed"),
    _row("node_without_kvm", R.OTHER_NODE, r"KVM virtualisation configured, but not available"),
    _row("memory_missing", R.OTHER_NODE, r"Cannot allocate memory"),
    _row("start_failed", R.RETRY, r"start failed: (?P<reason>[^\n]+)|(?P<reason2>QEMU exited with code [^\n]+)"),
    _row("task_failed", R.RETRY, r"failed to complete with exit code: (?P<reason>[^\n]+)"),
    # Terraform itself
    _row("state_save_failed", R.WORKSPACE, r"Failed to (?:save|persist) state|Error saving state"),
    _row("state_locked", R.WORKSPACE, r"Error acquiring the state lock"),
    _row("plan_stale", R.RETRY, r"Saved plan is stale|Saved plan does not match"),
    _row("provider_missing", R.RETRY, r"Inconsistent dependency lock file|Failed to query available provider packages|Required plugins are not installed"),
    _row("provider_died", R.RETRY, r"Plugin did not respond|GRPCProvider\)\.\w+ request was cancelled|The plugin encountered an error|plugin exited before|Unrecognized remote plugin message"),
    _row("import_failed", R.RETRY, r"Cannot import non-existent remote object.*?server\[\\?\"(?P<server>[^\"\\]+)"),
    _row("clone_timed_out", R.RAISE_TIMEOUT, r"timeout while waiting for task \"UPID:[^\"]*:qmclone:"),
    _row("timed_out", R.RETRY, r"timeout while waiting|context deadline exceeded"),
    _row("proxmox_refused", R.RETRY, r"HTTP 500 response - Reason: (?P<reason>[^\n]+)"),
    # found by the runner: before Terraform begins, or of its own doing
    _row("proxmox_node_offline", R.OTHER_NODE), _row("proxmox_not_found", R.RETRY), _row("proxmox_error", R.RETRY),
    _row("vmid_foreign", R.RETRY), _row("terraform_missing", R.RETRY), _row("terraform_flavour", R.RETRY),
    _row("terraform_too_old", R.RETRY), _row("terraform_dies", R.RETRY), _row("resumed_too_often", R.RETRY),
    _row("former_terraform_hangs", R.RETRY), _row("run_deadline", R.RETRY), _row("plan_changed", R.RETRY),
    _row("lock_broken", R.RETRY), _row("forget_failed", R.RETRY), _row("plan_output_lost", R.RETRY), _row("internal_error", R.RETRY),
    _row("server_replaced", R.FORGET), _row("server_is_there", R.NONE), _row("restart_failed", R.NONE), _row("server_gone", R.NONE),
    _row("requester_inactive", R.NONE),
    _row(UNKNOWN, R.RETRY),
)  # fmt: skip
_REMEDIES = {failure.code: failure.remedy for failure in CATALOGUE}


def remedy_of(code: str) -> Remedy:
    """Return what can be done about a code; a code outside the table is worth another try."""
    return _REMEDIES.get(code, Remedy.RETRY)


def explain(texts: Sequence[str]) -> Explained:
    """Return the first known failure in these texts; `terraform_failed` with Terraform's own words when none is known."""
    parts = [re.sub(r"All attempts fail:\s*|#\d+:\s*", "", text).strip() for text in texts]
    for failure in CATALOGUE:
        for index, text in enumerate(parts):
            if failure.pattern and (match := failure.pattern.search(text)):
                found = {name.rstrip("2"): value.strip() for name, value in match.groupdict().items() if value}
                return Explained(failure.code, found, index)
    return Explained(UNKNOWN, {"reason": _words(parts[0]) if parts else ""}, 0)


def _words(text: str) -> str:
    """Return summary and first line of the detail: a summary alone may be no more than "VM start"."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return ": ".join(line.rstrip(":") for line in lines[:2])[:300]
