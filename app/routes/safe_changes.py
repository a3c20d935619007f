"""A safe change's page: its parts, what is asked of the server, and the decision before the time is over."""

from uuid import UUID

from flask import Blueprint, Response, make_response, render_template, url_for
from flask_babel import gettext as _

from app.domain.permissions import Permission
from app.extensions import db
from app.routes import labels
from app.routes.access import current_actor, needs
from app.routes.forms import done, is_partial
from app.services import safe_changes
from app.services.uow import in_peace

bp = Blueprint("safe_changes", __name__, url_prefix="/safe_changes")

@bp.get("/<uuid:safe_change_id>")
@needs(Permission.VIEW)
def detail(safe_change_id: UUID) -> Response:
    shown = safe_changes.get(db.session(), current_actor(), safe_change_id)
    template = "safe_changes/_show.html" if is_partial() else "safe_changes/show.html"
    words = {"parts": labels.SAFE_CHANGE_PARTS, "states": labels.SAFE_CHANGE_STATES, "dots": labels.SAFE_CHANGE_DOTS}
    response = make_response(render_template(template, c=shown.row, shown=shown, **words))
    response.vary.add("HX-Request")
    return response


@bp.post("/<uuid:safe_change_id>/<any(keep, roll_back):what>")
@needs(Permission.CHANGE)
def decide(safe_change_id: UUID, what: str) -> Response:
    keep, actor = what == "keep", current_actor()
    row = in_peace(lambda uow: safe_changes.decide(uow, actor, safe_change_id, keep=keep))
    text = _("%(name)s stays changed.", name=row.server.name) if keep else _("%(name)s is put back.", name=row.server.name)
    return done(text, url_for(".detail", safe_change_id=safe_change_id))
