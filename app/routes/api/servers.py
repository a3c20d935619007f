"""Servers over the API: list, one, and the requests that become runs."""

from collections.abc import Callable

from flask import Blueprint, Response, request, url_for
from flask_babel import ngettext

from app.domain.permissions import Permission
from app.extensions import db
from app.routes.access import current_actor, needs
from app.routes.api import answer, page
from app.routes.parse import body_hash, idempotency_key, json_body, query
from app.schemas.page import clamp
from app.schemas.runs import ServerQuery, server_json
from app.services import idempotency, server_lists, servers
from app.services.idempotency import Stored
from app.services.server_lists import Order, ServerFilter
from app.services.servers import Accepted
from app.services.uow import UnitOfWork, in_peace

bp = Blueprint("api_servers", __name__, url_prefix="/api/servers")


def _accepted(accepted: Accepted) -> Stored:
    task_id, count = str(accepted.run.task_id), len(accepted.servers)
    message = ngettext("Run %(run)s is queued for %(num)d server.", "Run %(run)s is queued for %(num)d servers.", count, run=accepted.run.id)
    body = {"success": True, "task_id": task_id, "run_id": accepted.run.id, "servers": accepted.servers, "message": message}
    return Stored(body, url_for("api_tasks.show", task_id=task_id))


def accept(work: Callable[[UnitOfWork], Accepted]) -> Response:
    """Do the work once per Idempotency-Key and answer 202 with the task's address."""
    return once(lambda uow: _accepted(work(uow)))


def once(work: Callable[[UnitOfWork], Stored], status: int = 202) -> Response:
    """Do the work once per Idempotency-Key; a repeated request gets the first one's answer and status."""
    actor = current_actor()
    route = f"{request.method} {request.path}"[:120]
    key, same = idempotency_key(), body_hash()
    stored = in_peace(lambda uow: idempotency.once(uow, actor, route, key, same, lambda: work(uow)))
    return answer(stored.answer, status, location=stored.location)


@bp.get("")
@needs(Permission.VIEW)
def index() -> Response:
    q = query(ServerQuery)
    wanted = ServerFilter(q.q, q.status, q.node, q.tag, q.owner, q.template)
    return page(server_lists.list_page(db.session(), current_actor(), wanted, Order(), clamp(q.limit), q.cursor), server_json)


@bp.get("/<name>")
@needs(Permission.VIEW)
def show(name: str) -> Response:
    return answer(server_json(servers.get(db.session(), current_actor(), name)))


@bp.post("/async")
@needs(Permission.CREATE)
def create() -> Response:
    data, actor = json_body(), current_actor()
    return accept(lambda uow: servers.create(uow, actor, data))


@bp.patch("/<name>")
@needs(Permission.CHANGE)
def change(name: str) -> Response:
    data, actor = json_body(), current_actor()
    return accept(lambda uow: servers.change(uow, actor, name, data))


@bp.delete("/<name>")
@needs(Permission.DELETE)
def delete(name: str) -> Response:
    data, actor = json_body(), current_actor()
    return accept(lambda uow: servers.delete(uow, actor, name, data))
