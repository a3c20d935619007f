"""Known failures of Proxmox, provider and Terraform: a pattern of their text, and the code that explains it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Failure:
    """`code` names cause and fix in the catalogue of texts; named groups of the pattern are its arguments."""

    code: str
    pattern: re.Pattern[str]


def _row(code: str, pattern: str) -> Failure:
    return Failure(code, re.compile(pattern, re.IGNORECASE | re.DOTALL))


# The first match wins: narrow before wide.
CATALOGUE: tuple[Failure, ...] = (
    _row("proxmox_unreachable", r"connection refused|no such host|i/o timeout|network is unreachable|no route to host.*dial|connection reset"),
    _row("proxmox_certificate", r"failed to verify certificate: (?:x509: )?(?P<reason>[^\n]+)|x509: (?P<reason2>[^\n]+)"),
    _row("proxmox_unauthorized", r"HTTP 401|authentication failure|invalid token"),
    _row("proxmox_forbidden", r"Permission check failed \((?P<path>[^,)]+), (?P<privilege>[^)]+)\)"),
    _row("vmid_taken", r"unable to create VM (?P<vmid>\d+): config file already exists|VM (?P<vmid2>\d+) already exists"),
    _row("template_missing", r"Configuration file '[^']*/(?P<vmid>\d+)\.conf' does not exist"),
    _row("node_unknown", r"no such cluster node '(?P<node>[^']+)'|hostname lookup '(?P<node2>[^']+)' failed"),
    _row("storage_unknown", r"storage '(?P<storage>[^']+)' does not exist"),
    _row("storage_not_images", r"storage '(?P<storage>[^']+)' does not support vm images"),
    # Of this machine, as Go words it: path before reason.
    _row("work_disk_full", r"(?:write|open|mkdir|create|rename|copy_file_range) [^\s:]+: (?:no space left on device|disk quota exceeded|file too large)"),
    _row("storage_no_space", r"(?:write to storage '(?P<storage>[^']+)': )?No space left on device"),
    _row("linked_clone_unsupported", r"Linked clone feature is not supported"),
    _row("node_offline", r"HTTP 595"),
    _row("no_quorum", r"no quorum"),
    _row("clone_lock_timeout", r"can't lock file '[^']*lock-(?P<vmid>\d+)\.conf' - got timeout"),
    _row("vm_locked", r"VM is locked \((?P<lock>[^)]+)\)"),
    _row("start_failed", r"start failed: (?P<reason>[^\n]+)"),
    _row("bridge_missing", r"bridge '(?P<bridge>[^']+)' does not exist"),
    _row("proxmox_proxy", r"HTTP 50[234]\b"),
    _row("config_refused", r"Parameter verification failed\. \((?P<reason>[^\n]+)\)"),
    _row("disk_shrink_refused", r"Cannot shrink|shrinking disks is not supported|lower than current size"),
    _row("state_save_failed", r"Failed to (?:save|persist) state|Error saving state"),
    _row("state_locked", r"Error acquiring the state lock"),
    _row("plan_stale", r"Saved plan is stale|Saved plan does not match"),
    _row("provider_missing", r"Inconsistent dependency lock file|Failed to query available provider packages|Required plugins are not installed"),
    _row("timed_out", r"timeout while waiting|context deadline exceeded"),
    _row("proxmox_refused", r"HTTP 500 response - Reason: (?P<reason>[^\n]+)"),
)


def explain(texts: Iterable[str]) -> tuple[str, dict[str, Any]]:
    """Return code and arguments of the first known failure in these texts; `terraform_failed` when none is known."""
    parts = [re.sub(r"All attempts fail:\s*|#\d+:\s*", "", text) for text in texts]
    for failure in CATALOGUE:
        for text in parts:
            if match := failure.pattern.search(text):
                found = {k.rstrip("2"): v for k, v in match.groupdict().items() if v}
                return failure.code, found
    return "terraform_failed", {"reason": parts[0].splitlines()[0][:300] if parts and parts[0] else ""}
