"""Example requests about safe changes."""

from sqlalchemy import update

from app.domain.safe_change import SafeChangeState
from app.models import SafeChange
from app.services import clock, safe_changes
from app.services.actor import Actor
from app.services.uow import unit_of_work
from tests.integration.walk import Example, Values, World

WANTED = {"change": {"cores": 2}, "verify": "agent"}


def _server(world: World) -> Values:
    return {"name": world.make_server("walked", running=True, agent=True).name}


def _asked(world: World) -> Values:
    """One that waits for an answer."""
    name = _server(world)["name"]
    with unit_of_work() as uow:
        made = safe_changes.create(uow, Actor.of(world.admin), name, WANTED)
    with unit_of_work() as uow:
        uow.session.execute(update(SafeChange).values(state=SafeChangeState.VERIFY, verify_at=clock.later(0)))
    return {"safe_change_id": made.id, "what": "keep"}


EXAMPLES = {
    "api_safe_changes.create": Example("server.safe_change", _server, lambda _: dict(WANTED)),
    "api_safe_changes.decide": Example("server.safe_change_keep", _asked),
    "safe_changes.decide": Example("server.safe_change_keep", _asked),
}
