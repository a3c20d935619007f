"""Example requests about where notifications go."""

from app.services import destinations
from app.services.actor import Actor
from app.services.uow import unit_of_work
from tests.integration.walk import Example, Values, World

NEW = {"name": "walked", "url": "json://192.0.2.1/hook", "level": "all"}


def _one(world: World) -> Values:
    with unit_of_work() as uow:
        return {"destination_id": destinations.create(uow, Actor.of(world.admin), NEW).id}


def _new(_world: World) -> Values:
    return dict(NEW)


EXAMPLES = {
    "api_destinations.create": Example("destination.create", lambda _: {}, _new),
    "api_destinations.change": Example("destination.change", _one, lambda _: {"enabled": False}),
    "api_destinations.delete": Example("destination.delete", _one),
    "api_destinations.test": Example("destination.test", _one),
    "destinations.create": Example("destination.create", lambda _: {}, _new),
    "destinations.switch": Example("destination.change", _one, lambda _: {"enabled": ""}),
    "destinations.delete": Example("destination.delete", _one),
    "destinations.test": Example("destination.test", _one),
}
