"""Tasks and results by task id: of runs, of actions and of each time of a schedule alike, read from rows."""

from typing import Any
from uuid import UUID

from flask import Blueprint, Response

from app.domain import action_state, run_state
from app.domain.permissions import Permission
from app.domain.run_state import RunState
from app.domain.schedule import ExecutionState
from app.errors import NotFound
from app.extensions import db
from app.messages import text_of
from app.models import Action, Execution, Run
from app.routes.access import current_actor, needs
from app.routes.api import answer
from app.schemas.runs import run_task_json, told
from app.services import actions, runs, schedules

bp = Blueprint("api_tasks", __name__, url_prefix="/api")
STOPPED = {RunState.CANCELED: "run_canceled", RunState.DISCARDED: "run_discarded"}


def action_task_json(action: Action) -> dict[str, Any]:
    """An action as `GET /api/tasks/<task_id>` shows it; its server must be loaded."""
    error = told(action.error)
    final = action.state in action_state.FINAL
    return {
        "task_id": action.task_id, "kind": action.kind, "status": action.state,
        "progress": {"done": 1 if final else 0, "total": 1}, "waiting_for": None,
        "error": {k: error[k] for k in ("code", "message", "hint")} if error else None, "servers": [action.server.name],
        "run_id": None, "created_at": action.created_at, "finished_at": action.finished_at if final else None,
    }  # fmt: skip


def execution_task_json(found: Execution) -> dict[str, Any]:
    """A time of a schedule as `GET /api/tasks/<task_id>` shows it."""
    error = told(found.error)
    ended = found.finished_at is not None
    return {
        "task_id": found.task_id, "kind": "schedule", "status": found.state, "progress": {"done": int(ended), "total": 1}, "waiting_for": None,
        "error": {k: error[k] for k in ("code", "message", "hint")} if error else None, "servers": (found.result or {}).get("servers", []),
        "run_id": found.run_id, "group_id": found.bulk_id, "schedule_id": found.schedule_id, "created_at": found.created_at, "finished_at": found.finished_at,
    }  # fmt: skip


def _find(text: str) -> Run | Action | Execution:
    try:
        task_id = UUID(text)
    except ValueError:
        raise NotFound(kind="task", name=text[:64]) from None
    session, actor = db.session(), current_actor()
    try:
        return runs.by_task(session, actor, task_id) or actions.get(session, actor, task_id)
    except NotFound:
        # Seldom asked for, so looked for last.
        if found := schedules.by_task(session, actor, task_id):
            return found
        raise


def _shown(found: Run | Action | Execution) -> dict[str, Any]:
    if isinstance(found, Execution):
        return execution_task_json(found)
    return run_task_json(found) if isinstance(found, Run) else action_task_json(found)


@bp.get("/tasks/<task_id>")
@needs(Permission.VIEW)
def show(task_id: str) -> Response:
    return answer(_shown(_find(task_id)))


@bp.get("/result/<task_id>")
@needs(Permission.VIEW)
def result(task_id: str) -> Response:
    """200 the result, 202 not finished, 404 unknown, 500 failed, with the error."""
    found = _find(task_id)
    if isinstance(found, Run):
        final, good = found.state in run_state.FINAL, found.state in run_state.GOOD
    elif isinstance(found, Execution):
        final, good = found.finished_at is not None, found.state in (ExecutionState.SUCCEEDED, ExecutionState.SKIPPED)
    else:
        final, good = found.state in action_state.FINAL, found.state == action_state.ActionState.SUCCEEDED
    shown = _shown(found)
    if isinstance(found, Run):
        shown["result"] = found.result
        if found.state in STOPPED and shown["error"] is None:
            # Nothing went wrong, but what was asked for was not done: a script must not find an empty reason.
            code = STOPPED[found.state]
            shown["error"] = {"code": code, "message": text_of(code, {"servers": found.names}), "hint": ""}
    return answer(shown, 200 if good else 500 if final else 202)
