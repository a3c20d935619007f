"""Projects over the API: their approval rules."""

from flask import Blueprint, Response

from app.domain.permissions import Permission
from app.extensions import db
from app.routes.access import current_actor, needs
from app.routes.api import answer, page
from app.routes.parse import json_body
from app.schemas.page import Page
from app.schemas.projects import project_json
from app.services import projects
from app.services.uow import unit_of_work

bp = Blueprint("api_projects", __name__, url_prefix="/api/projects")


@bp.get("")
@needs(Permission.MANAGE_PROJECTS)
def index() -> Response:
    return page(Page(projects.list_all(db.session(), current_actor()), None), project_json)


@bp.patch("/<int:project_id>")
@needs(Permission.MANAGE_PROJECTS)
def change(project_id: int) -> Response:
    with unit_of_work() as uow:
        project = projects.change(uow, current_actor(), project_id, json_body())
    return answer(project_json(project))
