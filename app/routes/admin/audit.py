"""The audit list."""

from flask import Blueprint, Response, make_response, render_template, request

from app.domain.permissions import Permission
from app.extensions import db
from app.routes.access import current_actor, needs
from app.routes.forms import is_partial
from app.services import audit
from app.services.audit import AuditFilter

bp = Blueprint("admin_audit", __name__, url_prefix="/admin/audit")


@bp.get("")
@needs(Permission.VIEW_AUDIT)
def index() -> Response:
    args = request.args
    wanted = AuditFilter(
        username=args.get("username", "").strip(), action=args.get("action", "").strip(), object_type=args.get("object_type", ""),
        object_id=args.get("object_id", ""), q=args.get("q", "").strip(),
    )  # fmt: skip
    found = audit.list_page(db.session(), current_actor(), wanted, cursor=args.get("cursor"))
    response = make_response(render_template("admin/_audit_table.html" if is_partial() else "admin/audit.html", page=found))
    response.vary.add("HX-Request")
    return response
