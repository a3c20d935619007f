"""Example requests about the locks of workspaces."""

from app.domain.run_state import RunState
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


EXAMPLES = {
    "api_workspaces.lock": Example("workspace.lock", _free, _reason),
    "api_workspaces.unlock": Example("workspace.unlock", _locked),
    "api_workspaces.break_lock": Example("workspace.break_lock", _dead, _reason),
    "workspaces.lock": Example("workspace.lock", _free, _reason),
    "workspaces.unlock": Example("workspace.unlock", _locked),
    "workspaces.break_lock": Example("workspace.break_lock", _dead, lambda _: {"break_reason": "walk"}),
}
