"""Example requests about work that starts by itself."""

from app.schemas.schedules import ScheduleCreate
from app.services import schedules
from app.services.actor import Actor
from app.services.uow import unit_of_work
from tests.integration import rows
from tests.integration.walk import Example, Values, World

NEW = {"name": "walked", "kind": "every", "every_s": 3600, "work": {"action": "shutdown", "servers": ["web"]}}
FORM = {"name": "walked", "action": "shutdown", "names": "web", "kind": "every", "amount": "1", "unit": "3600", "timezone": "UTC"}


def _server(world: World) -> Values:
    rows.workspace(world.admin)
    return {}


def _one(world: World) -> Values:
    _server(world)
    with unit_of_work() as uow:
        return {"schedule_id": schedules.create(uow, Actor.of(world.admin), ScheduleCreate.model_validate(NEW)).id}


EXAMPLES = {
    "api_schedules.create": Example("schedule.create", _server, lambda _: dict(NEW)),
    "api_schedules.change": Example("schedule.change", _one, lambda _: {"paused": True}),
    "api_schedules.remove": Example("schedule.delete", _one),
    "api_schedules.run": Example("schedule.run", _one),
    "schedules.create": Example("schedule.create", _server, lambda _: dict(FORM)),
    "schedules.pause": Example("schedule.change", lambda world: {**_one(world), "what": "pause"}),
    "schedules.run": Example("schedule.run", _one),
    "schedules.delete": Example("schedule.delete", _one),
}
