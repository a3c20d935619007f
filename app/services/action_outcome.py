"""How an action ended, in codes, and what Proxmox showed at that moment."""

from dataclasses import dataclass, field
from typing import Any

from app.adapters.proxmox.types import Config, VmStatus
from app.domain.action_state import ActionKind
from app.errors import ProxmoxError


@dataclass(frozen=True)
class Outcome:
    """How an action ended, and what Proxmox shows of the VM (None: not known).

    `config` is there when the VM has become another one, and the row must take its values.
    """

    ok: bool
    code: str = ""
    args: dict[str, Any] = field(default_factory=dict)
    detail: str = ""
    seen: VmStatus | None = None
    node: str | None = None
    config: Config | None = None


def failed(exc: ProxmoxError, seen: VmStatus | None = None, node: str | None = None) -> Outcome:
    """The outcome of a call that Proxmox refused."""
    code = "vm_locked" if "is locked" in str(exc.args_.get("reason", "")) else exc.code
    return Outcome(False, code, {k: str(v)[:400] for k, v in exc.args_.items()}, exc.detail, seen, node)


# What a task of snapshots says at its end → our code.
_SNAPSHOT_ENDS = (
    ("feature is not available", "snapshot_unsupported"),
    ("already used", "snapshot_exists"),
    ("is not most recent snapshot", "snapshot_not_newest"),
    ("incomplete snapshot", "snapshot_incomplete"),
)


def task_code(kind: ActionKind, exit_status: str) -> str:
    """Return the most telling code of how Proxmox's task ended."""
    text = exit_status.lower()
    if "timeout" in text and kind in (ActionKind.SHUTDOWN, ActionKind.REBOOT):
        return "shutdown_timeout"
    if "is locked" in text or "can't lock" in text:
        return "vm_locked"
    if kind.value.startswith("snapshot_"):
        if text.startswith("snapshot '") and text.endswith("does not exist"):
            return "snapshot_missing"
        return next((code for words, code in _SNAPSHOT_ENDS if words in text), "action_task_failed")
    return "action_task_failed"
