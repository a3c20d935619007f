"""Words for values: states, kinds, roles; in the reader's language."""

from flask_babel import LazyString
from flask_babel import lazy_gettext as _l

from app.domain.action_state import ActionKind, ActionState
from app.domain.approval import APPROVER_ROLES, ApprovalPolicy
from app.domain.bulk import BulkKind
from app.domain.permissions import Role
from app.domain.run_state import RunKind, RunState
from app.domain.safe_change import SafeChangeState
from app.domain.server_status import ServerStatus
from app.services.run_steps import StepName

SERVER_STATUS: dict[str, LazyString] = {
    ServerStatus.RUNNING: _l("Running"),
    ServerStatus.STOPPED: _l("Stopped"),
    ServerStatus.PAUSED: _l("Paused"),
    ServerStatus.CREATING: _l("Creating"),
    ServerStatus.DELETING: _l("Deleting"),
    ServerStatus.FAILED: _l("Failed"),
    ServerStatus.UNKNOWN: _l("Unknown"),
}
RUN_STATES: dict[str, LazyString] = {
    RunState.PENDING: _l("Waiting"),
    RunState.PLAN_QUEUED: _l("Waiting to plan"),
    RunState.PLANNING: _l("Planning"),
    RunState.PLANNED: _l("Needs confirmation"),
    RunState.APPLY_QUEUED: _l("Waiting to apply"),
    RunState.APPLYING: _l("Applying"),
    RunState.APPLIED: _l("Applied"),
    RunState.PLANNED_AND_FINISHED: _l("No changes"),
    RunState.ERRORED: _l("Failed"),
    RunState.CANCELED: _l("Canceled"),
    RunState.DISCARDED: _l("Discarded"),
}
RUN_KINDS: dict[str, LazyString] = {
    RunKind.CREATE: _l("Create"),
    RunKind.CHANGE: _l("Change"),
    RunKind.DELETE: _l("Delete"),
    RunKind.ROLLBACK: _l("Roll back"),
}
RUN_TITLES: dict[str, LazyString] = {
    RunKind.CREATE: _l("Create %(names)s"),
    RunKind.CHANGE: _l("Change %(names)s"),
    RunKind.DELETE: _l("Delete %(names)s"),
    RunKind.ROLLBACK: _l("Roll back the state of %(names)s"),
}
ACTIONS: dict[str, LazyString] = {
    ActionKind.START: _l("Start"),
    ActionKind.SHUTDOWN: _l("Shut down"),
    ActionKind.STOP: _l("Stop"),
    ActionKind.REBOOT: _l("Reboot"),
    ActionKind.RESET: _l("Reset"),
    ActionKind.SNAPSHOT_CREATE: _l("Make snapshot"),
    ActionKind.SNAPSHOT_ROLLBACK: _l("Roll back"),
    ActionKind.SNAPSHOT_DELETE: _l("Delete snapshot"),
}
ACTION_STATES: dict[str, LazyString] = {
    ActionState.QUEUED: _l("Waiting"),
    ActionState.RUNNING: _l("Running"),
    ActionState.SUCCEEDED: _l("Done"),
    ActionState.FAILED: _l("Failed"),
    ActionState.CANCELED: _l("Canceled"),
}
BULK: dict[str, LazyString] = {
    **{kind: ACTIONS[kind] for kind in BulkKind if kind in ACTIONS},
    BulkKind.TAG: _l("Change tags"),
    BulkKind.DELETE: _l("Delete"),
}
# What becomes of each server, and what that means.
BULK_EFFECTS: dict[str, LazyString] = {
    BulkKind.START: _l("is started"),
    BulkKind.SHUTDOWN: _l("shuts down cleanly"),
    BulkKind.REBOOT: _l("reboots"),
    BulkKind.STOP: _l("is switched off at once"),
    BulkKind.RESET: _l("is reset"),
    BulkKind.SNAPSHOT: _l("gets a snapshot"),
    BulkKind.TAG: _l("gets other tags"),
    BulkKind.DELETE: _l("is deleted with its disks"),
}
BULK_NOTES: dict[str, LazyString] = {
    BulkKind.START: _l("Each is started by itself: one that fails stops no other."),
    BulkKind.SHUTDOWN: _l("They shut down cleanly. Services on them stop answering."),
    BulkKind.REBOOT: _l("Services on them stop answering for a moment."),
    BulkKind.STOP: _l("As if the plug were pulled: what is not written to disk is lost."),
    BulkKind.RESET: _l("As if the reset button were pressed: what is not written to disk is lost."),
    BulkKind.SNAPSHOT: _l("A snapshot keeps the disks and settings of this moment, to come back to."),
    BulkKind.TAG: _l("Goes through one run of each workspace, so that Proxmox shows the same."),
    BulkKind.DELETE: _l("Their disks are erased and their addresses are given back. This cannot be undone."),
}
# How an action's state is drawn: the dots of runs.
ACTION_DOTS: dict[str, str] = {
    ActionState.QUEUED: "pending",
    ActionState.RUNNING: "applying",
    ActionState.SUCCEEDED: "applied",
    ActionState.FAILED: "errored",
    ActionState.CANCELED: "canceled",
}
PLAN_ACTIONS: dict[str, LazyString] = {
    "create": _l("create"),
    "update": _l("change"),
    "delete": _l("delete"),
    "replace": _l("replace"),
    "import": _l("import"),
    "no-op": _l("no change"),
}
SIGNS = {"create": "+", "update": "~", "delete": "−", "replace": "±", "import": "↧", "no-op": "="}
STEPS: dict[str, LazyString] = {
    "clone": _l("clone"),
    "configure": _l("configuration"),
    "start": _l("start"),
    "shutdown": _l("shutdown"),
    "restart": _l("restart"),
    "delete": _l("removal"),
    "move": _l("move"),
    "work": _l("in progress"),
}
RUN_STEPS: dict[str, LazyString] = {
    StepName.WAITING: _l("Waiting"),
    StepName.PLANNING: _l("Planning"),
    StepName.CONFIRMING: _l("Confirmation"),
    StepName.APPLYING: _l("Applying"),
}
PART_STATES: dict[str, LazyString] = {
    "done": _l("done"),
    "failed": _l("not done"),
    "missing": _l("not made"),
    "waiting": _l("not begun"),
}
# What leads back to the form, and the field to look at there.
EVENTS: dict[str, LazyString] = {
    "requested": _l("Requested"),
    "cancel_requested": _l("Cancel asked for"),
    "plan_queued": _l("Queued for planning"),
    "planning": _l("Planning began"),
    "planned": _l("Plan is ready"),
    "apply_queued": _l("Queued for applying"),
    "applying": _l("Applying began"),
    "applied": _l("Applied"),
    "planned_and_finished": _l("Nothing to change"),
    "resumed": _l("Taken over by a new runner"),
    "stop_requested": _l("Stop at once asked for"),
    "stopped": _l("Terraform was killed, what there is was taken in"),
    "runner_lost": _l("The runner does not answer"),
    "killed_hung_runner": _l("The hung runner was ended"),
    "took_over": _l("Taken over from the former runner"),
    "adopted": _l("Servers begun before were adopted"),
    "state_taken_in": _l("State that could not be saved was taken in"),
    "state_refused": _l("A left-over state was kept aside: it does not follow the newest one"),
    "again": _l("Going on with what is left"),
    "interrupted": _l("Interrupted"),
    "vmid_moved": _l("Another VMID was reserved: the first one is somebody else’s now"),
    "replanned": _l("Planned again: the state is newer than the approved plan"),
    "rolled_back": _l("The state was rolled back"),
    "left": _l("The worker’s machine was shut down; another one goes on"),
    "left_behind": _l("Proxmox kept what is not used any more"),
    "stalled": _l("Nothing moves"),
    "moving": _l("It moves again"),
    "retry_of": _l("Asked for again after"),
    "retried": _l("Asked for again as"),
}
ROLES: dict[str, LazyString] = {
    Role.ADMINISTRATOR: _l("Administrator"),
    Role.OPERATOR: _l("Operator"),
    Role.DEVELOPER: _l("Developer"),
    Role.VIEWER: _l("Viewer"),
}
ROLE_NOTES: dict[str, LazyString] = {
    Role.ADMINISTRATOR: _l("Everything, with clusters, users and settings."),
    Role.OPERATOR: _l("Everybody’s servers, approvals, networks and templates; reads the audit list."),
    Role.DEVELOPER: _l("Makes and changes own servers, sees no others."),
    Role.VIEWER: _l("Sees everything, changes nothing."),
}
POLICIES: dict[str, LazyString] = {
    ApprovalPolicy.NEVER: _l("never"),
    ApprovalPolicy.DESTROYING: _l("when they delete or replace servers"),
    ApprovalPolicy.ADDS_ONLY: _l("unless they only create servers"),
    ApprovalPolicy.ALWAYS: _l("always"),
}
_AT_LEAST: dict[str, LazyString] = {
    Role.ADMINISTRATOR: _l("administrators"),
    Role.OPERATOR: _l("operators and administrators"),
    Role.DEVELOPER: _l("developers, operators and administrators"),
}
APPROVERS: dict[str, LazyString] = {role: _AT_LEAST[role] for role in APPROVER_ROLES}
SOURCES: dict[str, LazyString] = {
    "environment": _l("environment"),
    ".env": _l(".env file"),
    "instance": _l("made at first start"),
    "default": _l("default"),
    "database": _l("changed here"),
}
FAMILY_ICONS = {
    "ubuntu": "brand-ubuntu",
    "debian": "brand-debian",
    "windows": "brand-windows",
    "redhat": "brand-redhat",
    "rhel": "brand-redhat",
    "rocky": "mountain",
    "alma": "mountain",
    "alpine": "mountain",
    "linux": "terminal-2",
}
OTHER_FAMILY = "disc"


# ---- safe changes
SAFE_CHANGE_PARTS: dict[str, LazyString] = {
    SafeChangeState.SNAPSHOT: _l("Make snapshot"),
    SafeChangeState.CHANGE: _l("Change"),
    SafeChangeState.VERIFY: _l("Wait for an answer"),
    SafeChangeState.ROLL_BACK: _l("Put back"),
    SafeChangeState.START: _l("Start again"),
    SafeChangeState.CLEAN_UP: _l("Delete snapshot"),
}
SAFE_CHANGE_STATES: dict[str, LazyString] = {
    SafeChangeState.SNAPSHOT: _l("Making a snapshot"),
    SafeChangeState.CHANGE: _l("Changing"),
    SafeChangeState.VERIFY: _l("Waiting for an answer"),
    SafeChangeState.ROLL_BACK: _l("Putting back"),
    SafeChangeState.START: _l("Starting again"),
    SafeChangeState.CLEAN_UP: _l("Deleting the snapshot"),
    SafeChangeState.KEPT: _l("Kept"),
    SafeChangeState.ROLLED_BACK: _l("Taken back"),
    SafeChangeState.FAILED: _l("Failed"),
}
# As a run's states look; everything else is under way.
SAFE_CHANGE_DOTS: dict[str, str] = {SafeChangeState.KEPT: "applied", SafeChangeState.ROLLED_BACK: "planned", SafeChangeState.FAILED: "errored"}
