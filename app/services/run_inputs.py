"""A run's rendered inputs: made once, stored, and used by every later plan of the same run."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import select

from app.models import Server
from app.services import reservations, run_execution, run_settlement, runs, workspaces
from app.services.uow import UnitOfWork


def of(uow: UnitOfWork, run_id: int, fence: int, running: Mapping[str, bool]) -> dict[str, Any]:
    """Return the run's inputs, rendering them at its first plan, so that later requests never leak into it."""
    run = run_execution.guard(uow, run_id, fence)
    if run.inputs is None:
        run.inputs = workspaces.render_inputs(uow.session, run, running)
    return run.inputs


def single(uow: UnitOfWork, run_id: int, fence: int, slug: str) -> dict[str, Any]:
    """Return inputs that hold one server of a delete too."""
    run = run_execution.guard(uow, run_id, fence)
    server = uow.session.scalars(select(Server).where(Server.workspace_id == run.workspace_id, Server.slug == slug)).one()
    return workspaces.single_input(uow.session, server, run)


def move(uow: UnitOfWork, run_id: int, fence: int, slugs: Collection[str], seen: Collection[int]) -> dict[str, int]:
    """Give these servers of the run, which are not there yet, other VMIDs; returns the VMID of each. Raises Conflict.

    Repeated after a lost answer it finds them moved: a server whose VMID Proxmox does not show (`seen`) keeps it.
    """
    run = run_execution.guard(uow, run_id, fence)
    inputs = run.inputs and {**run.inputs, "servers": {k: dict(v) for k, v in run.inputs["servers"].items()}}
    out: dict[str, int] = {}
    for server in run_settlement.targets(uow, run):
        if server.slug not in slugs:
            continue
        former = server.vmid
        if former in seen:
            server.vmid = reservations.another_vmid(uow, server, seen)
            runs.add_event(uow, run, f"vmid_moved:{server.slug}:{former}", "vmid_moved", servers=[server.name], former=former, vmid=server.vmid)
            run_settlement.tell(uow, server)
        out[server.slug] = server.vmid
        if inputs and server.slug in inputs["servers"]:
            inputs["servers"][server.slug]["vmid"] = server.vmid
    if inputs:
        run.inputs = inputs
    return out


def note_volumes(uow: UnitOfWork, run_id: int, fence: int, there: Mapping[str, Mapping[str, str]]) -> None:
    """Note the volumes of disks that the run removes; `there` are those of its VMs by slug and interface.

    Of our rows' disks only, and once: after the apply they are elsewhere.
    """
    run = run_execution.guard(uow, run_id, fence)
    known: dict[str, dict[str, str]] = {slug: dict(found) for slug, found in run.intent.get("volumes", {}).items()}
    for server in run_settlement.targets(uow, run):
        wanted = run.intent.get("servers", {}).get(server.slug, {}).get("disks")
        if wanted is None:
            continue
        gone = {str(d["interface"]) for d in server.disks} - {str(d["interface"]) for d in wanted}
        found = {name: volume for name, volume in there.get(server.slug, {}).items() if name in gone}
        known[server.slug] = {**found, **known.get(server.slug, {})}
    if known != run.intent.get("volumes", {}):
        run.intent = {**run.intent, "volumes": known}


def removed_volumes(uow: UnitOfWork, run_id: int, fence: int) -> dict[str, set[str]]:
    """Return the volumes that the run may destroy once they are unused, by slug."""
    run = run_execution.guard(uow, run_id, fence)
    return {slug: set(found.values()) for slug, found in run.intent.get("volumes", {}).items()}
