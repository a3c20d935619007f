"""Power actions: start, shutdown, stop, reboot, reset, one server or many."""

from uuid import UUID

from flask import Blueprint, Response

from app.domain.action_state import FINAL, ActionKind, ActionState
from app.domain.permissions import Permission
from app.errors import NotFound
from app.extensions import db
from app.messages import hint_of, text_of
from app.models import Action, ActionGroup
from app.routes.access import current_actor, needs
from app.routes.api import answer
from app.routes.api.servers import once
from app.routes.parse import body
from app.schemas.actions import BulkAction
from app.services import actions
from app.services.idempotency import Stored
from app.services.uow import UnitOfWork

bp = Blueprint("api_power", __name__, url_prefix="/api")


@bp.post("/servers/<name>/<any(start, shutdown, stop, reboot, reset):action>")
@needs(Permission.POWER)
def power(name: str, action: str) -> Response:
    actor = current_actor()

    def work(uow: UnitOfWork) -> Stored:
        task_id = str(actions.request(uow, actor, name, ActionKind(action)).task_id)
        return Stored({"success": True, "task_id": task_id}, f"/api/tasks/{task_id}")

    return once(work)


@bp.post("/servers/bulk_action/async")
@needs(Permission.POWER)
def bulk() -> Response:
    wanted, actor = body(BulkAction), current_actor()
    made: list[tuple[ActionGroup, list[Action]]] = []

    def work(uow: UnitOfWork) -> Stored:
        group, found = actions.request_many(uow, actor, wanted.names, wanted.action)
        made.append((group, found))
        task_ids = [str(a.task_id) for a in found]
        return Stored({"success": True, "group_id": str(group.id), "task_ids": task_ids}, f"/api/result/group/{group.id}")

    given = once(work)
    for group, found in made:
        actions.announce_group(group, found)
    return given


@bp.get("/result/group/<group_id>")
@needs(Permission.VIEW)
def group_result(group_id: str) -> Response:
    """200 all done, 202 not yet, 500 when any failed; from rows, so it outlives Redis."""
    try:
        wanted = UUID(group_id)
    except ValueError:
        raise NotFound(kind="group") from None
    found = actions.of_group(db.session(), current_actor(), wanted)
    final = all(a.state in FINAL for a in found)
    failed = any(a.state != ActionState.SUCCEEDED for a in found)
    shown = {
        "group_id": wanted,
        "ready": final,
        "successful": final and not failed,
        "results": [_result(a) for a in found],
    }
    return answer(shown, 202 if not final else 500 if failed else 200)


def _result(action: Action) -> dict[str, object]:
    error = action.error and {
        "code": action.error["code"], "message": text_of(action.error["code"], action.error["args"]),
        "hint": hint_of(action.error["code"], action.error["args"]),
    }  # fmt: skip
    return {
        "task_id": action.task_id, "server": action.server.name, "action": action.kind, "status": action.state,
        "error": error or None, "finished_at": action.finished_at,
    }  # fmt: skip
