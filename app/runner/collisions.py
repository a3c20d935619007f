"""Somebody else took a VMID that we hold for a server which is not there yet: it stays his, ours gets another one."""

from dataclasses import replace

from app.adapters.proxmox.client import ProxmoxClient
from app.adapters.proxmox.types import Resources
from app.domain.run_state import RunKind
from app.runner import preflight
from app.runner.context import RunContext
from app.runner.patience import patient
from app.services import run_inputs, states


def move_away(context: RunContext, client: ProxmoxClient, resources: Resources) -> bool:
    """Reserve other VMIDs where guests of others sit on ours; True when any was moved and a new plan is due.

    Only for servers that Terraform's state does not have: one that it has is no new server, and a person must look.
    Raises ProxmoxError, Conflict.
    """
    if context.facts.kind != RunKind.CREATE:
        return False
    taken = []
    for target in context.facts.servers:
        guest = resources.guest(target.vmid)
        if guest is not None and not preflight.is_ours(client, guest, target):
            taken.append(target)
    if not taken:
        return False
    known = states.instances(context.state.read().body)
    slugs = {t.slug for t in taken if t.slug not in known or known[t.slug].vmid != t.vmid}
    if not slugs:
        return False
    seen = {g.vmid for g in resources.guests}
    moved = patient(lambda uow: run_inputs.move(uow, context.run_id, context.fence, slugs, seen))
    context.facts = replace(
        context.facts, servers=tuple(replace(t, vmid=moved.get(t.slug, t.vmid)) for t in context.facts.servers)
    )
    for target in taken:
        if target.slug in moved:
            context.say(f"VMID {target.vmid} belongs to a guest of somebody else now, {target.name} gets {moved[target.slug]}")
    return True
