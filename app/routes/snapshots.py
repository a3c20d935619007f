"""A server's snapshots as a page and as a part of the server's page: list, make, go back to, delete."""

from typing import Any

from flask import Blueprint, Response, request, url_for
from flask_babel import gettext as _

from app.domain.permissions import Permission
from app.errors import AppError, Invalid
from app.extensions import db
from app.messages import hint_of, text_of
from app.routes.access import current_actor, needs
from app.routes.forms import done, is_partial, messages, page
from app.services import servers, snapshots
from app.services.snapshots import Row
from app.services.uow import unit_of_work

bp = Blueprint("snapshots", __name__, url_prefix="/servers/<name>/snapshots")
FIELDS = ("snapshot_name", "snapshot_description", "snapshot_memory")


def _shown(name: str) -> dict[str, Any]:
    actor, session = current_actor(), db.session()
    server = servers.get(session, actor, name)
    try:
        found = snapshots.read(session, actor, name)
    except AppError as exc:
        trouble = f"{text_of(exc.code, exc.args_)} {hint_of(exc.code, exc.args_)}".strip()
        return {"server": server, "rows": [], "running": False, "trouble": trouble}
    return {"server": server, "rows": snapshots.tree(found), "running": found.running, "trouble": ""}


def _page(name: str, errors: dict[str, str] | None = None) -> Response:
    template = "snapshots/_list.html" if is_partial() else "snapshots/index.html"
    response = page(template, **_shown(name), form=request.form.to_dict(), errors=errors or {})
    response.vary.add("HX-Request")
    return response


def _back(name: str) -> str:
    return url_for("servers.detail", name=name) + "#snapshots"


@bp.get("")
@needs(Permission.VIEW)
def index(name: str) -> Response:
    return _page(name)


@bp.post("")
@needs(Permission.SNAPSHOT)
def create(name: str) -> Response:
    form, actor = request.form, current_actor()
    data: dict[str, Any] = {"name": form.get("snapshot_name", ""), "description": form.get("snapshot_description", "")}
    if form.get("snapshot_memory"):
        data["memory"] = True
    seen = snapshots.look(db.session(), actor, name)
    try:
        with unit_of_work() as uow:
            snapshots.create(uow, actor, name, data, seen)
    except Invalid as exc:
        return _page(name, messages(exc.errors, lambda field: f"snapshot_{field}", FIELDS))
    return done(_("The snapshot %(snapshot)s is being made.", snapshot=data["name"].strip()), _back(name))


def _question(kind: str, name: str, row: Row) -> Response:
    """Ask on a page of its own: for browsers without scripts, where no dialog does."""
    server = servers.get(db.session(), current_actor(), name)
    return page("snapshots/confirm.html", server=server, snapshot=row, kind=kind)


@bp.post("/<snapshot>/rollback")
@needs(Permission.SNAPSHOT)
def rollback(name: str, snapshot: str) -> Response:
    seen = snapshots.look(db.session(), current_actor(), name)
    if request.form.get("sure") != "1":
        return _question("rollback", name, snapshots.row(snapshots.named(seen, snapshot)))
    with unit_of_work() as uow:
        snapshots.rollback(uow, current_actor(), name, snapshot, seen)
    return done(_("%(name)s goes back to %(snapshot)s.", name=name, snapshot=snapshot), _back(name))


@bp.post("/<snapshot>/delete")
@needs(Permission.SNAPSHOT)
def delete(name: str, snapshot: str) -> Response:
    seen = snapshots.look(db.session(), current_actor(), name)
    if request.form.get("sure") != "1":
        return _question("delete", name, snapshots.row(snapshots.named(seen, snapshot)))
    with unit_of_work() as uow:
        snapshots.delete(uow, current_actor(), name, snapshot, seen)
    return done(_("The snapshot %(snapshot)s is being deleted.", snapshot=snapshot), _back(name))
