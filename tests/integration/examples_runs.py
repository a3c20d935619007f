"""Example requests about runs."""

from app.domain.run_state import RunKind, RunState
from app.domain.server_status import ServerStatus
from app.services import runs
from app.services.actor import Actor
from app.services.uow import unit_of_work
from tests.integration import rows
from tests.integration.walk import Example, Values, World


def _planned(world: World) -> Values:
    return {"run_id": rows.run(rows.workspace(world.admin), world.admin, RunState.PLANNED).id}


def _applying(world: World) -> Values:
    return {"run_id": rows.run(rows.workspace(world.admin), world.admin, RunState.APPLYING).id}


def _canceling(world: World) -> Values:
    values = _applying(world)
    with unit_of_work() as uow:
        runs.cancel(uow, Actor.of(world.admin), values["run_id"])
    return values


def _failed_change(world: World) -> Values:
    return {"run_id": rows.run(rows.workspace(world.admin), world.admin, RunState.ERRORED, cores=2).id}


def _failed_create(world: World) -> Values:
    workspace = rows.workspace(world.admin, status=ServerStatus.FAILED)
    return {"run_id": rows.run(workspace, world.admin, RunState.ERRORED, kind=RunKind.CREATE).id}


EXAMPLES = {
    "api_runs.apply": Example("run.apply", _planned),
    "api_runs.discard": Example("run.discard", _planned),
    "api_runs.cancel": Example("run.cancel", _applying),
    "api_runs.retry": Example("server.change", _failed_change),
    "api_runs.stop": Example("run.stop", _canceling),
    "runs.approve": Example("run.apply", _planned),
    "runs.discard": Example("run.discard", _planned),
    "runs.cancel": Example("run.cancel", _applying),
    "runs.retry": Example("server.create", _failed_create),
    "runs.stop": Example("run.stop", _canceling),
}
