"""Where one's notifications go, what of them is wanted, and what became of each delivery."""

from flask import Blueprint, Response

from app.domain.permissions import Permission
from app.extensions import db
from app.routes.access import current_actor, needs
from app.routes.api import answer
from app.routes.parse import body, json_body
from app.schemas.destinations import Preferences, delivery_json, destination_json
from app.services import deliveries, destinations, notifications
from app.services.uow import unit_of_work

bp = Blueprint("api_destinations", __name__, url_prefix="/api")


@bp.get("/destinations")
@needs(Permission.VIEW)
def index() -> Response:
    return answer({"items": [destination_json(row) for row in destinations.of(db.session(), current_actor())], "next_cursor": None})


@bp.post("/destinations")
@needs(Permission.VIEW)
def create() -> Response:
    raw = json_body()
    with unit_of_work() as uow:
        shown = destination_json(destinations.create(uow, current_actor(), raw))
    return answer(shown, 201, location=f"/api/destinations/{shown['id']}")


@bp.patch("/destinations/<int:destination_id>")
@needs(Permission.VIEW)
def change(destination_id: int) -> Response:
    raw = json_body()
    with unit_of_work() as uow:
        shown = destination_json(destinations.change(uow, current_actor(), destination_id, raw))
    return answer(shown)


@bp.delete("/destinations/<int:destination_id>")
@needs(Permission.VIEW)
def delete(destination_id: int) -> Response:
    with unit_of_work() as uow:
        destinations.delete(uow, current_actor(), destination_id)
    return answer({"success": True})


@bp.post("/destinations/<int:destination_id>/test")
@needs(Permission.VIEW)
def test(destination_id: int) -> Response:
    with unit_of_work() as uow:
        delivery_id = destinations.test(uow, current_actor(), destination_id)
    return answer({"success": True, "delivery_id": delivery_id}, 202)


@bp.get("/deliveries")
@needs(Permission.VIEW)
def recent() -> Response:
    return answer({"items": [delivery_json(row) for row in deliveries.recent(db.session(), current_actor(), 50)], "next_cursor": None})


@bp.get("/notification-preferences")
@needs(Permission.VIEW)
def preferences() -> Response:
    return answer({"preferences": notifications.preferences(db.session(), current_actor())})


@bp.put("/notification-preferences")
@needs(Permission.VIEW)
def prefer() -> Response:
    wanted = body(Preferences)
    with unit_of_work() as uow:
        notifications.prefer(uow, current_actor(), wanted.preferences)
    return answer({"preferences": notifications.preferences(db.session(), current_actor())})
