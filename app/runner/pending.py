"""What waits in a VM's config for its next start, when the restart that should have followed was lost.

Proxmox merges what is pending into the config that it shows, so that Terraform's next plan finds nothing to do while the
server still runs as before. Whoever was told that the change restarts the server gets that restart.
"""

import time

from app.domain.action_state import ActionKind
from app.domain.run_state import RunKind, RunState
from app.errors import ProxmoxUnreachable, RunFailed
from app.runner import leaving
from app.runner.context import RunContext
from app.runner.patience import patient
from app.services import run_execution

POLL_S = 0.5
PATIENCE_S = 600.0


def restart(context: RunContext) -> None:
    """Restart the servers of a change, once its apply has begun, that wait for one. Raises RunFailed, ProxmoxError."""
    if context.facts.kind != RunKind.CHANGE or not _begun(context):
        return
    with context.proxmox() as client:
        resources = client.resources()
        for target in context.facts.servers:
            guest = resources.guest(target.vmid)
            if guest is None or guest.status != "running" or not client.pending(guest.node_name, target.vmid):
                continue
            context.say(f"What was changed waits for a restart of {target.name}: restarting it")
            upid = client.power(guest.node_name, target.vmid, ActionKind.REBOOT)
            end = time.monotonic() + PATIENCE_S
            while True:
                leaving.check(context)
                try:
                    task = client.task_status(guest.node_name, upid)
                except ProxmoxUnreachable:
                    task = None
                if task is not None and not task.running:
                    break
                if time.monotonic() > end:
                    raise RunFailed("restart_failed", server=target.name, reason="timeout")
                time.sleep(POLL_S)
            if not task.ok:
                raise RunFailed("restart_failed", server=target.name, reason=task.exit_status or "")


def _begun(context: RunContext) -> bool:
    return patient(lambda uow: run_execution.guard(uow, context.run_id, context.fence).state) == RunState.APPLYING
