"""Example requests about a server's snapshots."""

from sqlalchemy import select

from app.models import Action
from app.services import action_execution
from app.services.uow import unit_of_work
from tests.integration.walk import Example, Values, World


def _server(world: World) -> Values:
    return {"name": world.make_server("walked").name}


def _snapshot(world: World) -> Values:
    name = _server(world)["name"]
    answer = world.client.post(f"/api/servers/{name}/snapshots", json={"name": "before"})
    action_execution.execute(answer.json["task_id"])
    with unit_of_work() as uow:
        assert uow.session.scalars(select(Action.error)).all() == [None]
    return {"name": name, "snapshot": "before"}


def _sure(_world: World) -> Values:
    return {"sure": "1"}


EXAMPLES = {
    "api_snapshots.create": Example("server.snapshot_create", _server, lambda _: {"name": "before"}),
    "api_snapshots.rollback": Example("server.snapshot_rollback", _snapshot),
    "api_snapshots.delete": Example("server.snapshot_delete", _snapshot),
    "snapshots.create": Example("server.snapshot_create", _server, lambda _: {"snapshot_name": "before"}),
    "snapshots.rollback": Example("server.snapshot_rollback", _snapshot, _sure),
    "snapshots.delete": Example("server.snapshot_delete", _snapshot, _sure),
}
