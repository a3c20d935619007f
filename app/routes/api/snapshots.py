"""Snapshots of a server over the API: list, make, go back to, delete."""

from collections.abc import Callable

from flask import Blueprint, Response, request, url_for

from app.domain.permissions import Permission
from app.extensions import db
from app.models import Action
from app.routes.access import current_actor, needs
from app.routes.api import answer
from app.routes.parse import idempotency_key, json_body
from app.schemas.snapshots import snapshot_json
from app.services import idempotency, snapshots
from app.services.idempotency import Stored
from app.services.snapshots import Look
from app.services.uow import UnitOfWork, unit_of_work

bp = Blueprint("api_snapshots", __name__, url_prefix="/api/servers/<name>/snapshots")


def _accept(name: str, work: Callable[[UnitOfWork, Look], Action]) -> Response:
    """Look at Proxmox, do the work once per Idempotency-Key, and answer 202 with the task's address."""
    actor = current_actor()
    seen = snapshots.look(db.session(), actor, name)

    def first(uow: UnitOfWork) -> Stored:
        task_id = str(work(uow, seen).task_id)
        return Stored({"success": True, "task_id": task_id}, url_for("api_tasks.show", task_id=task_id))

    # The path is part of what is compared: the route is cut at 120 characters.
    same = idempotency.digest(request.path.encode() + b"\n" + request.get_data())
    with unit_of_work() as uow:
        route = f"{request.method} {request.path}"[:120]
        stored = idempotency.once(uow, actor, route, idempotency_key(), same, lambda: first(uow))
    return answer(stored.answer, 202, location=stored.location)


@bp.get("")
@needs(Permission.VIEW)
def index(name: str) -> Response:
    found = snapshots.read(db.session(), current_actor(), name)
    return answer({"items": [snapshot_json(item, found) for item in found.items], "next_cursor": None})


@bp.post("")
@needs(Permission.SNAPSHOT)
def create(name: str) -> Response:
    data, actor = json_body(), current_actor()
    return _accept(name, lambda uow, seen: snapshots.create(uow, actor, name, data, seen))


@bp.post("/<snapshot>/rollback")
@needs(Permission.SNAPSHOT)
def rollback(name: str, snapshot: str) -> Response:
    actor = current_actor()
    return _accept(name, lambda uow, seen: snapshots.rollback(uow, actor, name, snapshot, seen))


@bp.delete("/<snapshot>")
@needs(Permission.SNAPSHOT)
def delete(name: str, snapshot: str) -> Response:
    actor = current_actor()
    return _accept(name, lambda uow, seen: snapshots.delete(uow, actor, name, snapshot, seen))
