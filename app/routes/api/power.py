"""Power actions on one server: start, shutdown, stop, reboot, reset."""

from flask import Blueprint, Response

from app.domain.action_state import ActionKind
from app.domain.permissions import Permission
from app.routes.access import current_actor, needs
from app.routes.api.servers import once
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
