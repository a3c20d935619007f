"""Rolling a workspace's state back: a run that writes the former version as the newest one and plans everything.

Nothing in Proxmox changes before a person has seen what Terraform would do now. Servers that the former version does not
have are taken into it first, so that none of them is made a second time.
"""

import json

from sqlalchemy import func, select

from app.adapters import crypto
from app.domain.permissions import Permission
from app.domain.run_state import ApplyMode, RunKind
from app.errors import Conflict, NotFound
from app.models import Server, StateVersion
from app.services import audit, run_execution, runs, servers, states, workspaces
from app.services.actor import Actor
from app.services.servers import Accepted
from app.services.uow import UnitOfWork


class StateIsNewest(Conflict):
    """The version is the newest one already."""

    code = "state_is_newest"


class StateOfAnother(Conflict):
    """The version's lineage is not the newest one's: they are states of different things."""

    code = "state_other_lineage"


class WorkspaceEmpty(Conflict):
    """The workspace has no server whose state could be rolled back."""

    code = "workspace_empty"


def roll_back(uow: UnitOfWork, actor: Actor, name: str, version_id: int) -> Accepted:
    """Start a run that rolls the state back. Raises Forbidden, NotFound, StateIsNewest, StateOfAnother, WorkspaceEmpty."""
    actor.need(Permission.ROLL_BACK_STATE)
    workspace = workspaces.get(uow.session, actor, name)
    version = uow.session.execute(
        select(StateVersion.id, StateVersion.serial, StateVersion.lineage).where(StateVersion.workspace_id == workspace.id, StateVersion.id == version_id)
    ).first()
    if version is None:
        raise NotFound(kind="state", name=str(version_id))
    newest = uow.session.execute(
        select(StateVersion.id, StateVersion.lineage).where(StateVersion.workspace_id == workspace.id).order_by(StateVersion.id.desc()).limit(1)
    ).one()
    if newest.id == version.id:
        raise StateIsNewest(serial=version.serial)
    if newest.lineage != version.lineage:
        raise StateOfAnother(serial=version.serial)
    alive = uow.session.scalars(select(Server).where(Server.workspace_id == workspace.id, Server.deleted_at.is_(None)).order_by(Server.id)).all()
    if not alive:
        raise WorkspaceEmpty
    intent = {"servers": {}, "version": version.id, "there": [s.slug for s in alive]}
    run = servers.run_for(
        actor, workspace.id, RunKind.ROLLBACK, [s.slug for s in alive], [s.name for s in alive], intent, ApplyMode.CONFIRM
    )
    uow.session.add(run)
    uow.session.flush()
    runs.add_event(uow, run, "requested", "requested", by=actor.username)
    audit.record(uow, actor, "state.roll_back", "workspace", workspace.id, workspace.name, run=run.id, serial=version.serial)
    runs.promote(uow, workspace.id)
    uow.session.flush()
    return Accepted(run, list(run.names))


def write(uow: UnitOfWork, run_id: int, fence: int) -> bool:
    """Make the run's version the newest one, once; False when this run has done so before. Raises NotFound, Undecryptable."""
    run = run_execution.guard(uow, run_id, fence)
    if uow.session.scalar(select(StateVersion.id).where(StateVersion.run_id == run.id).limit(1)):
        return False
    version = uow.session.get(StateVersion, run.intent["version"])
    if version is None or version.workspace_id != run.workspace_id:
        raise NotFound(kind="state", name=str(run.intent["version"]))
    newest = uow.session.scalar(select(func.max(StateVersion.serial)).where(StateVersion.workspace_id == run.workspace_id)) or 0
    body = {**json.loads(crypto.unseal(version.body)), "serial": newest + 1}
    states.save(uow, run.workspace_id, run.id, fence, json.dumps(body, indent=2).encode())
    runs.add_event(uow, run, "rolled_back", "rolled_back", serial=newest + 1, former=version.serial)
    return True
