"""One's own notifications."""

from flask import Blueprint, Response

from app.domain.permissions import Permission
from app.extensions import db
from app.routes.access import current_actor, needs
from app.routes.api import answer, page
from app.routes.parse import query
from app.schemas.accounts import NotificationQuery, notification_json
from app.services import notifications
from app.services.notifications import NotificationFilter
from app.services.uow import unit_of_work

bp = Blueprint("api_notifications", __name__, url_prefix="/api/notifications")


@bp.get("")
@needs(Permission.VIEW)
def index() -> Response:
    wanted, actor, session = query(NotificationQuery), current_actor(), db.session()
    found = notifications.list_page(session, actor, wanted.limit, wanted.cursor, NotificationFilter(bool(wanted.unread), bool(wanted.failures), wanted.q))
    return page(found, notification_json, unread=notifications.unread_count(session, actor))


@bp.post("/<int:notification_id>/read")
@needs(Permission.VIEW)
def read(notification_id: int) -> Response:
    with unit_of_work() as uow:
        row = notifications.mark_read(uow, current_actor(), notification_id)
    return answer(notification_json(row))


@bp.post("/read-all")
@needs(Permission.VIEW)
def read_all() -> Response:
    with unit_of_work() as uow:
        count = notifications.mark_all_read(uow, current_actor())
    return answer({"success": True, "read": count})
