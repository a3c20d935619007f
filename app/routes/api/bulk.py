"""The same work on many servers over the API, and what became of it."""

from uuid import UUID

from flask import Blueprint, Response

from app.domain.permissions import Permission
from app.errors import NotFound
from app.extensions import db
from app.routes.access import current_actor, needs
from app.routes.api import answer
from app.routes.api.servers import once
from app.routes.parse import body
from app.schemas.bulk import BulkAction
from app.schemas.runs import told
from app.services import bulk, bulk_results
from app.services.bulk import Started
from app.services.bulk_results import Item, Result
from app.services.idempotency import Stored
from app.services.uow import UnitOfWork

bp = Blueprint("api_bulk", __name__, url_prefix="/api")


@bp.post("/servers/bulk_action/async")
@needs(Permission.VIEW)
def create() -> Response:
    wanted, actor = body(BulkAction), current_actor()
    made: list[Started] = []

    def work(uow: UnitOfWork) -> Stored:
        started = bulk.start(uow, actor, wanted.names, wanted)
        made.append(started)
        group_id = str(started.bulk.id)
        begun = {"task_ids": list(map(str, started.task_ids)), "run_ids": [run.id for run in started.runs]}
        return Stored({"success": True, "group_id": group_id, **begun}, f"/api/result/group/{group_id}")

    given = once(work)
    if made:
        bulk.announce(made[-1])
    return given


@bp.get("/result/group/<group_id>")
@needs(Permission.VIEW)
def result(group_id: str) -> Response:
    """200 all done, 202 not yet, 500 when any failed; from rows, so it outlives Redis."""
    try:
        wanted = UUID(group_id)
    except ValueError:
        raise NotFound(kind="group") from None
    return _group(bulk_results.get(db.session(), current_actor(), wanted))


def group_answer(group_id: UUID) -> Response | None:
    """Return what a group came to; None when there is none that the actor may see."""
    try:
        return _group(bulk_results.get(db.session(), current_actor(), group_id))
    except NotFound:
        return None


def _group(found: Result) -> Response:
    kind = found.bulk.kind
    shown = {
        "group_id": found.bulk.id, "action": kind, "ready": not found.open, "successful": not found.open and not found.failed,
        "results": [_item(item, kind) for item in found.items],
    }  # fmt: skip
    return answer(shown, 202 if found.open else 500 if found.failed else 200)


def _item(item: Item, action: str) -> dict[str, object]:
    error = told(dict(item.error)) if item.error else None
    return {
        "task_id": item.task_id, "server": item.server, "action": action, "status": item.state, "run_id": item.run_id,
        "error": error and {k: error[k] for k in ("code", "message", "hint")}, "finished_at": item.finished_at,
    }  # fmt: skip
