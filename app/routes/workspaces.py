"""The workspace's page: its servers, its lock, its state versions and what differs between two of them."""

from flask import Blueprint, Response, make_response, render_template, request, url_for
from flask_babel import gettext as _

from app.domain.permissions import Permission
from app.errors import Invalid
from app.extensions import db
from app.routes.access import current_actor, needs
from app.routes.forms import done, go, messages, page
from app.services import state_history, state_rollbacks, workspace_locks, workspaces
from app.services.uow import unit_of_work

bp = Blueprint("workspaces", __name__)


def _page(name: str, errors: dict[str, str] | None = None) -> Response:
    actor, session = current_actor(), db.session()
    workspace = workspaces.get(session, actor, name)
    versions = state_history.list_page(session, workspace, cursor=request.args.get("cursor"))
    old, new = sorted(request.args.get(side, 0, type=int) for side in ("old", "new"))
    chosen = (old, new) if old else tuple(v.id for v in reversed(versions.items[:2]))
    return page(
        "workspaces/show.html", workspace=workspace, servers=workspaces.servers(session, actor, workspace),
        held=workspace_locks.holders(session, workspace), page=versions, chosen=chosen,
        compared=state_history.compare(session, workspace, old, new) if old else None,
        form=request.form.to_dict(), errors=errors or {},
    )  # fmt: skip


@bp.get("/workspaces/<name>")
@needs(Permission.VIEW)
def show(name: str) -> Response:
    return _page(name)


@bp.get("/workspaces/<name>/lock-card")
@needs(Permission.VIEW)
def lock_card(name: str) -> Response:
    session = db.session()
    workspace = workspaces.get(session, current_actor(), name)
    return make_response(render_template("workspaces/_lock.html", workspace=workspace, held=workspace_locks.holders(session, workspace)))


@bp.post("/workspaces/<name>/roll-back")
@needs(Permission.ROLL_BACK_STATE)
def roll_back(name: str) -> Response:
    with unit_of_work() as uow:
        accepted = state_rollbacks.roll_back(uow, current_actor(), name, request.form.get("version", 0, type=int))
    return go(url_for("runs.detail", run_id=accepted.run.id))


@bp.post("/workspaces/<name>/lock")
@needs(Permission.LOCK)
def lock(name: str) -> Response:
    try:
        with unit_of_work() as uow:
            workspace_locks.lock(uow, current_actor(), name, {"reason": request.form.get("reason", "")})
    except Invalid as exc:
        return _page(name, messages(exc.errors))
    return done(_("The workspace is locked."), url_for(".show", name=name))


@bp.post("/workspaces/<name>/unlock")
@needs(Permission.LOCK)
def unlock(name: str) -> Response:
    with unit_of_work() as uow:
        workspace_locks.unlock(uow, current_actor(), name)
    return done(_("The workspace is unlocked."), url_for(".show", name=name))


@bp.post("/workspaces/<name>/break-lock")
@needs(Permission.LOCK)
def break_lock(name: str) -> Response:
    # A name of its own: both forms stand on the page, and a field's name is its id there.
    given = request.form.get("break_reason", "")
    try:
        with unit_of_work() as uow:
            run = workspace_locks.break_lock(uow, current_actor(), name, {"reason": given})
    except Invalid as exc:
        return _page(name, messages(exc.errors, lambda f: f"break_{f}"))
    return done(_("Run #%(n)s has ended.", n=run.id), url_for(".show", name=name))
