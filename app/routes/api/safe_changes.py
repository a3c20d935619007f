"""Safe changes over the API: asking for one, and deciding before its time is over."""

from typing import Any
from uuid import UUID

from flask import Blueprint, Response, url_for
from flask_babel import gettext as _

from app.domain.permissions import Permission
from app.domain.safe_change import FINAL
from app.extensions import db
from app.routes.access import current_actor, needs
from app.routes.api import answer
from app.routes.api.servers import once
from app.routes.parse import json_body
from app.schemas.runs import told
from app.services import safe_changes
from app.services.idempotency import Stored
from app.services.safe_change_parts import Shown
from app.services.uow import UnitOfWork, in_peace

bp = Blueprint("api_safe_changes", __name__, url_prefix="/api")


def safe_change_task_json(shown: Shown) -> dict[str, Any]:
    """A safe change as `GET /api/tasks/<task_id>` shows it."""
    row, error = shown.row, told(shown.row.error)
    parts = [{"part": p.state, "status": p.status, "task_id": p.task_id, "run_id": p.run_id} for p in shown.parts]
    return {
        "task_id": row.id, "kind": "safe_change", "status": row.state,
        "progress": {"done": sum(p.status == "done" for p in shown.parts), "total": len(parts)}, "waiting_for": None,
        "error": error and {k: error[k] for k in ("code", "message", "hint")}, "servers": [row.server.name], "run_id": shown.run_id, "parts": parts,
        "verify": {"by": row.verify_by, "port": row.port, "timeout_s": row.timeout_s, "tries": row.tries}, "snapshot": row.snapshot,
        "created_at": row.created_at, "finished_at": row.finished_at if row.state in FINAL else None,
    }  # fmt: skip


@bp.post("/servers/<name>/safe_change/async")
@needs(Permission.CHANGE)
def create(name: str) -> Response:
    """202 with the task id of the whole chain."""
    data, actor = json_body(), current_actor()

    def work(uow: UnitOfWork) -> Stored:
        row = safe_changes.create(uow, actor, name, data)
        message = _("A snapshot of %(name)s is made, then it is changed.", name=name)
        return Stored({"success": True, "task_id": str(row.id), "servers": [name], "message": message}, url_for("api_tasks.show", task_id=row.id))

    return once(work)


@bp.post("/safe_changes/<uuid:safe_change_id>/<any(keep, roll_back):what>")
@needs(Permission.CHANGE)
def decide(safe_change_id: UUID, what: str) -> Response:
    """Decide instead of waiting for an answer. 409 when it is not waited for one."""
    actor = current_actor()
    in_peace(lambda uow: safe_changes.decide(uow, actor, safe_change_id, keep=what == "keep"))
    return answer(safe_change_task_json(safe_changes.get(db.session(), actor, safe_change_id)), 202)
