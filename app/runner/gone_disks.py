"""Before a plan: taking out of the state the disks that the run's VMs do not have any more."""

from app.domain import vm_config
from app.errors import ProxmoxError
from app.log import get_logger
from app.runner.context import RunContext
from app.services import state_disks, states

log = get_logger(__name__)


def forget(context: RunContext) -> None:
    """Write a state without them, so that Terraform plans with what there is. What cannot be looked at stays."""
    body = context.state.read().body
    known = states.instances(body)
    if body is None or not known.keys() & set(context.slugs):
        return
    there: dict[str, set[str]] = {}
    with context.proxmox() as client:
        for target in context.facts.servers:
            instance = known.get(target.slug)
            if instance is None or instance.vmid != target.vmid or instance.node is None:
                continue
            try:
                config = client.vm_config(instance.node, target.vmid)
            except ProxmoxError as exc:
                log.info("disks_not_looked_at", run_id=context.run_id, vmid=target.vmid, code=exc.code)
                continue
            there[target.slug] = {disk.interface for disk in vm_config.shape(config).disks}
    changed = state_disks.without_gone(body, there)
    if changed is not None:
        context.state.save(changed[0])
        named = ", ".join(f"{slug} {' '.join(disks)}" for slug, disks in changed[1].items())
        context.say(f"Not in Proxmox any more, and so out of the state: {named}")
