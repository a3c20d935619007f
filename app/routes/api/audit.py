"""The audit list."""

from flask import Blueprint, Response

from app.domain.permissions import Permission
from app.extensions import db
from app.routes.access import current_actor, needs
from app.routes.api import page
from app.routes.parse import query
from app.schemas.accounts import AuditQuery, audit_json
from app.services import audit

bp = Blueprint("api_audit", __name__, url_prefix="/api/audit")


@bp.get("")
@needs(Permission.VIEW_AUDIT)
def index() -> Response:
    wanted = query(AuditQuery)
    narrowed = audit.AuditFilter(wanted.username, wanted.action, wanted.object_type, wanted.object_id, wanted.q)
    return page(audit.list_page(db.session(), current_actor(), narrowed, wanted.limit, wanted.cursor), audit_json)
