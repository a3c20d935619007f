"""What Proxmox reports: nodes, storages, bridges, guests."""

from flask import Blueprint, Response, make_response, render_template

from app.domain.permissions import Permission
from app.extensions import db
from app.routes.access import current_actor, needs
from app.services import overview

bp = Blueprint("nodes", __name__)


@bp.get("/nodes")
@needs(Permission.VIEW)
def index() -> Response:
    return _render("nodes/index.html")


@bp.get("/nodes/_body")
@needs(Permission.VIEW)
def body() -> Response:
    return _render("nodes/_body.html")


def _render(template: str) -> Response:
    return make_response(render_template(template, clusters=overview.cluster_views(db.session(), current_actor())))
