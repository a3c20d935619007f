"""Tasks and results by task id, read from rows: of runs, actions, safe changes (a chain), times of a schedule, and groups."""

from typing import Any
from uuid import UUID

from flask import Blueprint, Response

from app.domain import action_state, run_state, safe_change
from app.domain.permissions import Permission
from app.domain.run_state import RunState
from app.domain.schedule import ExecutionState
from app.errors import NotFound
from app.extensions import db
from app.messages import text_of
from app.models import Action, Execution, Run
from app.routes.access import current_actor, needs
from app.routes.api import answer
from app.routes.api.bulk import group_answer
from app.routes.api.safe_changes import safe_change_task_json
from app.schemas.runs import run_task_json, told
from app.services import actions, runs, safe_changes, schedules
from app.services.safe_change_parts import Shown

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


def _task_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFound(kind="task", name=text[:64]) from None


def _find(task_id: UUID) -> Run | Action | Execution | Shown:
    session, actor = db.session(), current_actor()
    try:
        return runs.by_task(session, actor, task_id) or actions.get(session, actor, task_id)
    except NotFound:
        # Seldom asked for, so looked for last.
        return schedules.by_task(session, actor, task_id) or safe_changes.get(session, actor, task_id)


def _shown(found: Run | Action | Execution | Shown) -> dict[str, Any]:
    if isinstance(found, Execution):
        return execution_task_json(found)
    if isinstance(found, Shown):
        return safe_change_task_json(found)
    return run_task_json(found) if isinstance(found, Run) else action_task_json(found)


@bp.get("/tasks/<task_id>")
@needs(Permission.VIEW)
def show(task_id: str) -> Response:
    return answer(_shown(_find(_task_id(task_id))))


@bp.get("/result/<task_id>")
@needs(Permission.VIEW)
def result(task_id: str) -> Response:
    """200 the result, 202 not finished, 404 unknown, 500 failed, with the error; a group's id answers like its own address."""
    wanted = _task_id(task_id)
    try:
        found = _find(wanted)
    except NotFound:
        if (group := group_answer(wanted)) is not None:
            return group
        raise
    if isinstance(found, Shown):
        final, good = found.row.state in safe_change.FINAL, found.row.state == safe_change.SafeChangeState.KEPT
    elif isinstance(found, Run):
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
