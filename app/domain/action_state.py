"""Actions on a server (power, snapshots): their kinds, states and what may be sent twice."""

from enum import StrEnum


class ActionKind(StrEnum):
    START = "start"
    SHUTDOWN = "shutdown"
    STOP = "stop"
    REBOOT = "reboot"
    RESET = "reset"
    SNAPSHOT_CREATE = "snapshot_create"
    SNAPSHOT_ROLLBACK = "snapshot_rollback"
    SNAPSHOT_DELETE = "snapshot_delete"


class ActionState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


FINAL = frozenset({ActionState.SUCCEEDED, ActionState.FAILED, ActionState.CANCELED})
SNAPSHOT = frozenset({ActionKind.SNAPSHOT_CREATE, ActionKind.SNAPSHOT_ROLLBACK, ActionKind.SNAPSHOT_DELETE})
POWER = frozenset(ActionKind) - SNAPSHOT
# Sending these again leads to the same state; the others end "outcome unknown" when in doubt.
IDEMPOTENT = frozenset({ActionKind.START, ActionKind.SHUTDOWN, ActionKind.STOP})
# What Proxmox calls the task of each kind.
TASK_TYPES = {kind: f"qm{kind.value}" for kind in POWER} | {
    ActionKind.SNAPSHOT_CREATE: "qmsnapshot",
    ActionKind.SNAPSHOT_ROLLBACK: "qmrollback",
    ActionKind.SNAPSHOT_DELETE: "qmdelsnapshot",
}
