"""Projects: when their plans wait for approval, and for whose."""

from typing import Any

from flask import Blueprint, Response, request, url_for
from flask_babel import gettext as _

from app.domain.permissions import Permission
from app.errors import Invalid
from app.extensions import db
from app.routes.access import current_actor, needs
from app.routes.forms import done, messages, page
from app.schemas.projects import project_json
from app.services import projects
from app.services.uow import unit_of_work

bp = Blueprint("admin_projects", __name__, url_prefix="/admin/projects")
FIELDS = ("approval", "approver_role")


def _page(edited: int = 0, form: dict[str, Any] | None = None, errors: dict[str, str] | None = None) -> Response:
    rows = [(p, {**project_json(p), **(form or {} if p.id == edited else {})}) for p in projects.list_all(db.session(), current_actor())]
    return page("admin/projects.html", rows=rows, edited=edited, errors=errors or {})


@bp.get("")
@needs(Permission.MANAGE_PROJECTS)
def index() -> Response:
    return _page()


@bp.post("/<int:project_id>")
@needs(Permission.MANAGE_PROJECTS)
def change(project_id: int) -> Response:
    asked = request.form
    data = {"approval": asked.get("approval", ""), "approver_role": asked.get("approver_role") or None, "four_eyes": "four_eyes" in asked}
    try:
        with unit_of_work() as uow:
            project = projects.change(uow, current_actor(), project_id, data)
    except Invalid as exc:
        return _page(project_id, data, messages(exc.errors, fields=FIELDS))
    return done(_("The rule of %(name)s is saved; it holds at once, also for plans that wait.", name=project.name), url_for(".index"))
