"""Example requests about the locks of workspaces."""

from sqlalchemy import select

from app.domain.run_state import RunState
from app.extensions import db
from app.models import StateVersion
from app.services import workspace_locks
from app.services.actor import Actor
from app.services.uow import unit_of_work
from tests.integration import rows
from tests.integration.walk import Example, Values, World


def _free(world: World) -> Values:
    return {"name": rows.workspace(world.admin).name}


def _locked(world: World) -> Values:
    name = rows.workspace(world.admin).name
    with unit_of_work() as uow:
        workspace_locks.lock(uow, Actor.of(world.admin), name, {"reason": "walk"})
    return {"name": name}


def _dead(world: World) -> Values:
    workspace = rows.workspace(world.admin)
    rows.lease(rows.run(workspace, world.admin, RunState.APPLYING), age_s=60)
    return {"name": workspace.name}


def _reason(_world: World) -> Values:
    return {"reason": "walk"}


def _kept(world: World) -> Values:
    workspace = rows.workspace(world.admin)
    run = rows.run(workspace, world.admin)
    version = rows.keep(run, rows.state(1, web={}))
    rows.keep(run, rows.state(2, web={}))
    return {"name": workspace.name, "version_id": version}


def _version(_world: World) -> Values:
    """The one before the newest."""
    return {"version": db.session.scalar(select(StateVersion.id).order_by(StateVersion.id.desc()).offset(1).limit(1))}


EXAMPLES = {
    "api_workspaces.roll_back": Example("state.roll_back", _kept),
    "workspaces.roll_back": Example("state.roll_back", _kept, _version),
    "api_workspaces.lock": Example("workspace.lock", _free, _reason),
    "api_workspaces.unlock": Example("workspace.unlock", _locked),
    "api_workspaces.break_lock": Example("workspace.break_lock", _dead, _reason),
    "workspaces.lock": Example("workspace.lock", _free, _reason),
    "workspaces.unlock": Example("workspace.unlock", _locked),
    "workspaces.break_lock": Example("workspace.break_lock", _dead, lambda _: {"break_reason": "walk"}),
}
