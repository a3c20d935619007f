"""Snapshots as actions: what is checked before the call, the call, and what Proxmox shows when nobody knows its end.

Each is sent once. A snapshot carries the mark of the action that made it, so that a call without an answer is judged by
what there is: ours is there, whole: made. A deleted one is gone: deleted. A rollback leaves no mark: it is not known.
"""

from app.adapters.proxmox.client import ProxmoxClient
from app.adapters.proxmox.types import Config, SnapshotInfo, VmStatus
from app.domain import snapshot, vm_config
from app.domain.action_state import ActionKind
from app.errors import ProxmoxError, ProxmoxNotFound
from app.models import Server
from app.services.action_lease import Job
from app.services.action_outcome import Outcome


def fault(proxmox: ProxmoxClient, job: Job, node: str, status: VmStatus) -> Outcome | None:
    """Return why the call need not be made, from what Proxmox shows now; None when it may be. Raises errors.Proxmox*."""
    name = _name(job)
    found = proxmox.snapshots(node, job.vmid).named(name)
    code = ""
    match job.kind:
        case ActionKind.SNAPSHOT_CREATE if found is not None:
            code = "snapshot_exists"
        case ActionKind.SNAPSHOT_CREATE if job.arguments.get("memory") and not status.running:
            code = "snapshot_memory_stopped"
        case ActionKind.SNAPSHOT_CREATE:
            pass
        case _ if found is None:
            code = "snapshot_missing"
        case ActionKind.SNAPSHOT_ROLLBACK if found.phase:
            code = "snapshot_incomplete"
    return Outcome(False, code, {"snapshot": name}, seen=status, node=node) if code else None


def send(proxmox: ProxmoxClient, job: Job, node: str) -> str:
    """Make the call; returns the task's UPID. Raises errors.Proxmox*."""
    name = _name(job)
    if job.kind == ActionKind.SNAPSHOT_ROLLBACK:
        return proxmox.snapshot_rollback(node, job.vmid, name)
    if job.kind == ActionKind.SNAPSHOT_DELETE:
        return proxmox.snapshot_delete(node, job.vmid, name)
    description = snapshot.marked(str(job.arguments.get("description", "")), job.task_id)
    return proxmox.snapshot_create(node, job.vmid, name, description, bool(job.arguments.get("memory")))


def shows_done(proxmox: ProxmoxClient, job: Job, node: str) -> bool:
    """True when what Proxmox shows proves that a call without a known task was carried out."""
    if job.kind == ActionKind.SNAPSHOT_ROLLBACK:
        return False
    try:
        found = proxmox.snapshots(node, job.vmid).named(_name(job))
    except ProxmoxError:
        return False
    return found is None if job.kind == ActionKind.SNAPSHOT_DELETE else _ours(found, job)


def _ours(found: SnapshotInfo | None, job: Job) -> bool:
    return found is not None and not found.phase and snapshot.made_by(found.description) == job.task_id


def _name(job: Job) -> str:
    return str(job.arguments["name"])


# ---- after a rollback
def rolled_back_config(proxmox: ProxmoxClient, job: Job, node: str, done: bool) -> Config | None:
    """Return the VM's config for the row to follow; None when the VM did not go back. Raises errors.Proxmox*.

    A task that ended well went back. One that failed, or whose end nobody knows, may have all the same: then the VM
    has the snapshot's values. Otherwise the row stays, so that drift is not taken for a rollback.
    """
    config = proxmox.vm_config(node, job.vmid)
    if not done:
        try:
            then = proxmox.snapshot_config(node, job.vmid, _name(job))
        except ProxmoxNotFound:
            return None
        if vm_config.shape(config) != vm_config.shape(then):
            return None
    return config if config.get("description", "").startswith(job.marker) else None


def take_over(server: Server, config: Config) -> None:
    """Let the row have the values of the VM, so that no later plan wants the old ones back.

    The description is not among them: Proxmox keeps a VM's own through a rollback, and with it our marker.
    """
    shape = vm_config.shape(config)
    server.cores, server.memory_mib = shape.cores, shape.memory_mib
    if frozenset(server.tags) != shape.tags:
        server.tags = sorted(shape.tags)
    there = {d.interface: d for d in shape.disks}
    known = [str(d["interface"]) for d in server.disks]
    # The boot disk stays the first.
    order = [i for i in known if i in there] + [i for i in there if i not in known]
    server.disks = [{"interface": i, "storage": there[i].storage, "size_gib": there[i].size_gib} for i in order]
