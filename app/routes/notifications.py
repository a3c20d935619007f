"""The inbox, the bell, and the text of one notification for a toast."""

from collections.abc import Mapping

from flask import Blueprint, Response, jsonify, make_response, render_template, request, url_for
from flask_babel import gettext as _

from app.extensions import db
from app.messages import note_text
from app.routes.access import current_actor, safe_next, signed_in
from app.routes.forms import done, go, is_partial
from app.services import notifications, overview
from app.services.notifications import NotificationFilter
from app.services.uow import unit_of_work

bp = Blueprint("notifications", __name__)
IN_BELL = 8


@bp.get("/notifications")
@signed_in
def index() -> Response:
    response = _render("notifications/_inbox.html" if is_partial() else "notifications/index.html", 50, _filter(request.args))
    response.vary.add("HX-Request")
    return response


@bp.get("/notifications/_bell")
@signed_in
def bell() -> Response:
    return _render("partials/bell.html", IN_BELL, NotificationFilter())


def _filter(args: Mapping[str, str]) -> NotificationFilter:
    return NotificationFilter(bool(args.get("unread")), bool(args.get("failures")), args.get("q", "").strip()[:100] or None)


def _render(template: str, limit: int, wanted: NotificationFilter) -> Response:
    actor, session = current_actor(), db.session()
    found = notifications.list_page(session, actor, limit, request.args.get("cursor"), wanted)
    counts = notifications.counts(session, actor)
    return make_response(render_template(template, page=found, unread=counts["unread"], counts=counts, wanted=wanted))


@bp.get("/notifications/<int:notification_id>/text")
@signed_in
def text(notification_id: int) -> Response:
    """The sentence of a notification in the reader's language: events carry codes only."""
    row = overview.notification(db.session(), current_actor(), notification_id)
    return jsonify(text=note_text(row), severity=row.severity, link=row.link)


@bp.post("/notifications/<int:notification_id>/read")
@signed_in
def read(notification_id: int) -> Response:
    with unit_of_work() as uow:
        notifications.mark_read(uow, current_actor(), notification_id)
    return go(safe_next(request.form.get("next")))


@bp.post("/notifications/read-all")
@signed_in
def read_all() -> Response:
    with unit_of_work() as uow:
        notifications.mark_all_read(uow, current_actor(), _filter(request.form))
        left = notifications.unread_count(uow.session, current_actor())
    return done(_("All notifications are read.") if not left else _("They are read."), url_for(".index"), unread=left)
