"""What is checked in Proxmox before a plan and again before an apply: a plan on an empty state never contacts it."""

import time
from collections.abc import Mapping

from app.adapters.proxmox.client import ProxmoxClient
from app.adapters.proxmox.types import Config, GuestResource, Resources
from app.domain import vm_config
from app.domain.run_state import RunKind
from app.errors import ProxmoxNotFound, RunFailed
from app.runner import leaving
from app.runner.context import RunContext, Target

WORKING_POLL_S = 0.5
WORKING_PATIENCE_S = 1800.0


def look(context: RunContext, client: ProxmoxClient) -> Resources:
    """Read the cluster once. Raises ProxmoxError."""
    return client.resources()


def check(context: RunContext, client: ProxmoxClient, resources: Resources) -> dict[str, Config]:
    """Refuse what cannot succeed or would touch what is not ours; returns the configs of ours that are there, by slug.

    Raises RunFailed, ProxmoxError.
    """
    configs: dict[str, Config] = {}
    nodes = {n.name: n.online for n in resources.nodes}
    for target in context.facts.servers:
        guest = resources.guest(target.vmid)
        node = guest.node_name if guest else target.node
        if context.facts.kind == RunKind.CREATE or guest:
            if node not in nodes:
                raise RunFailed("node_unknown", node=node)
            if not nodes[node]:
                raise RunFailed("node_offline", node=node)
        if guest is None:
            continue
        config = ours(client, guest, target)
        if config is None:
            code = "vmid_foreign" if context.facts.kind == RunKind.CREATE else "server_replaced"
            raise RunFailed(code, vmid=target.vmid, server=target.name, found=guest.name)
        configs[target.slug] = config
    return configs


def check_template(resources: Resources, template_vmid: int, name: str) -> None:
    """Refuse a template that Proxmox no longer has. Raises RunFailed."""
    guest = resources.guest(template_vmid)
    if guest is None or not guest.template:
        raise RunFailed("template_missing", vmid=template_vmid, template=name)


def is_ours(client: ProxmoxClient, guest: GuestResource, target: Target) -> bool:
    """True when the VM carries our marker for this very server, or is locked `clone` (in doubt: ours by reservation)."""
    return ours(client, guest, target) is not None


def ours(client: ProxmoxClient, guest: GuestResource, target: Target) -> Config | None:
    """Return the config of a VM that is ours in the sense of `is_ours`; None for any other."""
    try:
        config = client.vm_config(guest.node_name, guest.vmid)
    except ProxmoxNotFound:
        return None
    if not config.get("description") and (guest.lock == "clone" or config.get("lock") == "clone"):
        return config
    return config if vm_config.carries(config, target.marker) else None


def working(client: ProxmoxClient, targets: Mapping[int, Target]) -> set[int]:
    """Return the VMIDs on which Proxmox runs a task or holds a lock."""
    busy = {int(t.vmid) for t in client.cluster_tasks() if t.exit_status is None and t.vmid.isdigit() and int(t.vmid) in targets}
    # A clone's task carries the template's id: only the lock on the new VM shows it.
    return busy | {g.vmid for g in client.resources().guests if g.vmid in targets and g.lock}


def wait_quiet(context: RunContext, client: ProxmoxClient, for_s: float = 0.0) -> Resources:
    """Wait until Proxmox works on none of our VMIDs, and has not for so long; then read the cluster. Raises RunFailed, ProxmoxError."""
    targets = {t.vmid: t for t in context.facts.servers}
    end = time.monotonic() + WORKING_PATIENCE_S
    told, quiet_since = False, time.monotonic()
    while (busy := working(client, targets)) or time.monotonic() - quiet_since < for_s:
        leaving.check(context)
        if context.reason == "fenced" or time.monotonic() > end:
            raise RunFailed("vm_locked", lock="clone", vmid=min(busy, default=0))
        if busy:
            quiet_since = time.monotonic()
        if busy and not told:
            told = True
            context.say("Waiting until Proxmox has finished with " + ", ".join(targets[v].name for v in sorted(busy)))
        time.sleep(WORKING_POLL_S)
    return client.resources()

