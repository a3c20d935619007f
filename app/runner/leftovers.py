"""What Terraform leaves behind in a VM that lost a disk or a NIC: the address of a NIC that is gone, and unused volumes.

The provider never takes an `ipconfigN` away; as long as one is there, every plan wants an update that restarts the server.
A disk that is removed stays as `unusedN` and keeps its space. Only volumes that this very run was asked to remove are
destroyed: their names are noted before the plan.
"""

import re
import time
from collections.abc import Mapping

from app.adapters.proxmox.types import Config
from app.domain.run_state import RunKind
from app.errors import ProxmoxError, ProxmoxUnreachable
from app.log import get_logger
from app.runner import preflight
from app.runner.context import RunContext
from app.runner.patience import patient
from app.services import run_inputs

log = get_logger(__name__)
PATIENCE_S, POLL_S = 30.0, 1.0
DISK = re.compile(r"(scsi|virtio|sata|ide)\d+")


def note(context: RunContext, configs: Mapping[str, Config]) -> None:
    """Note the volumes of the disks that the run removes; `configs` are of our VMs, by slug."""
    if context.facts.kind != RunKind.CHANGE:
        return
    volumes = {slug: {key: value.split(",")[0] for key, value in config.items() if DISK.fullmatch(key)} for slug, config in configs.items()}
    patient(lambda uow: run_inputs.note_volumes(uow, context.run_id, context.fence, volumes))


def clean(context: RunContext, *, at_end: bool) -> None:
    """Take it away. What cannot be taken away is told and left: the change itself is done.

    `at_end`: Terraform has nothing more to do. A disk that is still there then was left by an update that failed: the
    state has lost sight of it.
    """
    if context.facts.kind != RunKind.CHANGE:
        return
    removed = patient(lambda uow: run_inputs.removed_volumes(uow, context.run_id, context.fence))
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            _clean(context, removed, at_end)
        except ProxmoxUnreachable as exc:
            if time.monotonic() < end and context.reason is None:
                time.sleep(POLL_S)
                continue
            log.warning("leftovers_not_seen", run_id=context.run_id, reason=str(exc))
        return


def _clean(context: RunContext, removed: Mapping[str, set[str]], at_end: bool) -> None:
    with context.proxmox() as client:
        resources = client.resources()
        for target in context.facts.servers:
            guest = resources.guest(target.vmid)
            config = preflight.ours(client, guest, target) if guest else None
            if guest is None or config is None:
                continue
            volumes = removed.get(target.slug, set())
            attached = still_there(config, volumes) if at_end else []
            keys = attached or stale(config, volumes)
            if not keys:
                continue
            try:
                client.delete_config_keys(guest.node_name, target.vmid, keys)
                if attached and (keys := stale(client.vm_config(guest.node_name, target.vmid), volumes)):
                    client.delete_config_keys(guest.node_name, target.vmid, keys)
                context.say(f"Taken away from {target.name}: {' '.join(sorted({*attached, *keys}))}")
            except ProxmoxUnreachable:
                raise
            except ProxmoxError as exc:
                context.note("left_behind", servers=[target.name], what=keys)
                context.say(f"Proxmox kept {' '.join(keys)} of {target.name}: {exc}")


def still_there(config: Config, removed: set[str]) -> list[str]:
    """Return the interfaces of removed volumes that the VM still has."""
    return sorted(key for key, value in config.items() if DISK.fullmatch(key) and value.split(",")[0] in removed)


def stale(config: Config, removed: set[str]) -> list[str]:
    """Return the keys of a VM's config that nothing belongs to any more."""
    addresses = [key for key in config if re.fullmatch(r"ipconfig\d+", key) and key.replace("ipconfig", "net") not in config]
    unused = [key for key, value in config.items() if re.fullmatch(r"unused\d+", key) and value.split(",")[0] in removed]
    return sorted(addresses + unused)
