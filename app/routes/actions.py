"""The list of actions: power and snapshots, whoever asked for them."""

from flask import Blueprint, Response, make_response, render_template, request

from app.domain.action_state import ActionKind
from app.domain.permissions import Permission
from app.extensions import db
from app.routes import labels
from app.routes.access import current_actor, needs
from app.routes.forms import is_partial
from app.services import actions
from app.services.actions import ActionFilter

bp = Blueprint("actions", __name__)
FILTERS = ("state", "mine", "server", "kind", "cursor")


@bp.get("/actions")
@needs(Permission.VIEW)
def index() -> Response:
    args = request.args
    kind = args.get("kind", "")
    wanted = ActionFilter(args.get("state") or None, bool(args.get("mine")), args.get("server", "").strip() or None, ActionKind(kind) if kind in set(ActionKind) else None)
    html = render_template(
        "actions/_table.html" if is_partial() else "actions/index.html", dots=labels.ACTION_DOTS, states=labels.ACTION_STATES,
        page=actions.list_page(db.session(), current_actor(), wanted, cursor=args.get("cursor")), filtered=any(args.get(k) for k in FILTERS),
    )  # fmt: skip
    response = make_response(html)
    response.vary.add("HX-Request")
    return response
