"""Asking once more for what a run that ended without success was asked for."""

from sqlalchemy import select

from app.domain.run_state import RunKind, RunState
from app.errors import NotFound, RunStateConflict
from app.models import Run, Server
from app.services import runs, servers
from app.services.actor import Actor
from app.services.servers import Accepted
from app.services.uow import UnitOfWork

UNSUCCESSFUL = frozenset({RunState.ERRORED, RunState.CANCELED, RunState.DISCARDED})
# A create goes through its form, where names, addresses and sizes can be looked at again.
KINDS = frozenset({RunKind.CHANGE, RunKind.DELETE})


def possible(run: Run) -> bool:
    """True when the run can be asked for again as it is."""
    return run.state in UNSUCCESSFUL and run.kind in KINDS


def retry(uow: UnitOfWork, actor: Actor, run_id: int) -> Accepted:
    """Start a new run of the same intent, checked as any request. Raises RunStateConflict, NotFound and what those raise."""
    former = runs.get(uow.session, actor, run_id)
    if not possible(former):
        raise RunStateConflict(state=former.state.value, wanted="retry")
    [slug] = former.targets
    found = select(Server.name).where(Server.workspace_id == former.workspace_id, Server.slug == slug, Server.deleted_at.is_(None))
    name = uow.session.scalar(found)
    if name is None:
        raise NotFound(kind="server", name=former.names[0])
    if former.kind == RunKind.DELETE:
        accepted = servers.delete(uow, actor, name, {"confirm": name, "apply": former.apply_mode.value})
    else:
        wanted = dict(former.intent.get("servers", {}).get(slug, {}))
        if "disks" in wanted:
            wanted["disks"] = [{"size_gib": d["size_gib"], "storage": d["storage"]} for d in wanted["disks"]]
        accepted = servers.change(uow, actor, name, {**wanted, "apply": former.apply_mode.value})
    runs.add_event(uow, accepted.run, "retry_of", "retry_of", other=former.id)
    runs.add_event(uow, former, f"retried:{accepted.run.id}", "retried", other=accepted.run.id, by=actor.username)
    return accepted
