"""Workspaces over the API: their state versions, compared and downloaded, and their lock."""

from typing import Any

from flask import Blueprint, Response

from app.domain.permissions import Permission
from app.extensions import db
from app.models import Workspace
from app.routes.access import current_actor, needs
from app.routes.api import answer, page
from app.routes.api.servers import accept
from app.routes.parse import json_body, query
from app.schemas.accounts import PageQuery
from app.schemas.workspaces import CompareQuery, WorkspaceQuery
from app.services import state_history, state_rollbacks, workspace_locks, workspaces
from app.services.state_history import Comparison, Difference, Version
from app.services.uow import unit_of_work
from app.services.workspace_locks import Holders

bp = Blueprint("api_workspaces", __name__, url_prefix="/api/workspaces")


@bp.get("")
@needs(Permission.VIEW)
def index() -> Response:
    wanted, session = query(WorkspaceQuery), db.session()
    found = workspaces.list_page(session, current_actor(), wanted.q, wanted.limit, wanted.cursor)
    counts = workspaces.server_counts(session, [w.id for w in found.items])
    return page(found, lambda w: {**workspace_json(w), "servers": counts.get(w.id, 0), "locked": w.locked_at is not None})


@bp.get("/<name>")
@needs(Permission.VIEW)
def show(name: str) -> Response:
    return _shown(name)


def _shown(name: str) -> Response:
    actor, session = current_actor(), db.session()
    workspace = workspaces.get(session, actor, name)
    servers = [server.name for server in workspaces.servers(session, actor, workspace)]
    held = workspace_locks.holders(session, workspace)
    return answer({**workspace_json(workspace), "servers": servers, "locked": held.person is not None, "lock": holders_json(held)})


@bp.get("/<name>/states")
@needs(Permission.VIEW)
def states(name: str) -> Response:
    wanted, session = query(PageQuery), db.session()
    workspace = workspaces.get(session, current_actor(), name)
    return page(state_history.list_page(session, workspace, wanted.limit, wanted.cursor), version_json)


@bp.get("/<name>/states/compare")
@needs(Permission.VIEW)
def compare(name: str) -> Response:
    wanted, session = query(CompareQuery), db.session()
    workspace = workspaces.get(session, current_actor(), name)
    return answer(comparison_json(state_history.compare(session, workspace, wanted.old, wanted.new)))


@bp.get("/<name>/states/<int:version_id>/download")
@needs(Permission.DOWNLOAD_STATE)
def download(name: str, version_id: int) -> Response:
    with unit_of_work() as uow:
        workspace = workspaces.get(uow.session, current_actor(), name)
        version, body = state_history.download(uow, current_actor(), workspace, version_id)
    headers = {"Content-Disposition": f'attachment; filename="{workspace.name}-{version.serial}.tfstate"', "Cache-Control": "no-store"}
    return Response(body, mimetype="application/json", headers=headers)


@bp.post("/<name>/states/<int:version_id>/rollback")
@needs(Permission.ROLL_BACK_STATE)
def roll_back(name: str, version_id: int) -> Response:
    actor = current_actor()
    return accept(lambda uow: state_rollbacks.roll_back(uow, actor, name, version_id))


@bp.post("/<name>/lock")
@needs(Permission.LOCK)
def lock(name: str) -> Response:
    raw = json_body()
    with unit_of_work() as uow:
        workspace_locks.lock(uow, current_actor(), name, raw)
    return _shown(name)


@bp.post("/<name>/unlock")
@needs(Permission.LOCK)
def unlock(name: str) -> Response:
    with unit_of_work() as uow:
        workspace_locks.unlock(uow, current_actor(), name)
    return _shown(name)


@bp.post("/<name>/break-lock")
@needs(Permission.LOCK)
def break_lock(name: str) -> Response:
    raw = json_body()
    with unit_of_work() as uow:
        workspace_locks.break_lock(uow, current_actor(), name, raw)
    return _shown(name)


# ---------------------------------------------------------------- as JSON
def workspace_json(workspace: Workspace) -> dict[str, Any]:
    return {
        "id": workspace.id, "name": workspace.name, "flavour": workspace.flavour,
        "terraform_version": workspace.terraform_version, "created_at": workspace.created_at,
    }  # fmt: skip


def holders_json(held: Holders) -> dict[str, Any]:
    run, person = held.run, held.person
    return {
        "holder": held.holder,
        "run": {"id": run.run_id, "state": run.state, "since": run.since, "renewed_at": run.renewed_at, "breakable": run.breakable} if run else None,
        "person": {"by": person.by, "reason": person.reason, "since": person.since} if person else None,
    }


def version_json(version: Version) -> dict[str, Any]:
    return {
        "id": version.id, "serial": version.serial, "lineage": version.lineage, "run_id": version.run_id,
        "resources": version.resources, "stored_bytes": version.stored_bytes, "created_at": version.created_at,
    }  # fmt: skip


def _difference_json(found: Difference) -> dict[str, Any]:
    """An attribute that may not be shown has no `before` and no `after`."""
    return {"path": found.path, **({"before": found.before, "after": found.after} if found.shown else {})}


def comparison_json(found: Comparison) -> dict[str, Any]:
    servers = [
        {"key": s.key, "name": s.name, "action": s.action, "attributes": [_difference_json(a) for a in s.attributes]}
        for s in found.servers
    ]  # fmt: skip
    return {"old": version_json(found.old), "new": version_json(found.new), "servers": servers}
