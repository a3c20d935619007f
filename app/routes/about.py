"""What this is made of."""

from flask import Blueprint, Response, make_response, render_template

from app.domain.permissions import Permission
from app.extensions import db
from app.routes.access import needs
from app.services import about

bp = Blueprint("about", __name__)


@bp.get("/about")
@needs(Permission.VIEW)
def index() -> Response:
    return make_response(render_template("about/index.html", parts=about.parts(db.session()), packages=about.packages(), simulator=any(p.name == "fakepve" for p in about.packages())))
