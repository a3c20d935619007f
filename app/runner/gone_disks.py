"""Before a plan: taking out of the state the disks that the run's VMs do not have any more."""

from collections.abc import Mapping

from app.adapters.proxmox.types import Config
from app.domain import vm_config
from app.runner.context import RunContext
from app.services import state_disks, states


def forget(context: RunContext, configs: Mapping[str, Config]) -> None:
    """Write a state without them, so that Terraform plans with what there is; `configs` are of our VMs, by slug."""
    if not configs:
        return
    body = context.state.read().body
    known = states.instances(body)
    there = {
        target.slug: {disk.interface for disk in vm_config.shape(configs[target.slug]).disks}
        for target in context.facts.servers
        if target.slug in configs and target.slug in known and known[target.slug].vmid == target.vmid
    }
    changed = state_disks.without_gone(body, there) if body is not None and there else None
    if changed is not None:
        context.state.save(changed[0])
        named = ", ".join(f"{slug} {' '.join(disks)}" for slug, disks in changed[1].items())
        context.say(f"Not in Proxmox any more, and so out of the state: {named}")
