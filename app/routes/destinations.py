"""Notifications of one's own account: what is wanted, and where else they go."""

from typing import Any

from flask import Blueprint, Response, request, url_for
from flask_babel import LazyString
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from app.domain.delivery import DeliveryState, Kind, Level, Mode
from app.errors import Invalid
from app.extensions import db
from app.routes.access import current_actor, signed_in
from app.routes.forms import done, is_partial, messages, page
from app.services import deliveries, destinations, notifications
from app.services.uow import unit_of_work

bp = Blueprint("destinations", __name__, url_prefix="/account/notifications")
KINDS: dict[Kind, LazyString] = {
    Kind.DECISIONS: _l("Plans that wait for a decision"),
    Kind.RUNS_DONE: _l("Runs that ended as asked for"),
    Kind.RUNS_FAILED: _l("Runs that failed"),
    Kind.ACTIONS_DONE: _l("Power and snapshots that are done"),
    Kind.ACTIONS_FAILED: _l("Power and snapshots that failed"),
}
MODES: dict[Mode, LazyString] = {Mode.TOAST: _l("Toast and inbox"), Mode.INBOX: _l("Inbox only"), Mode.NONE: _l("None")}
LEVELS: dict[Level, LazyString] = {Level.ALL: _l("everything"), Level.FAILURES: _l("failures only")}
STATES: dict[DeliveryState, LazyString] = {DeliveryState.PENDING: _l("On its way"), DeliveryState.SENT: _l("Sent"), DeliveryState.FAILED: _l("Not delivered")}
DOTS = {DeliveryState.PENDING: "applying", DeliveryState.SENT: "applied", DeliveryState.FAILED: "errored"}


def _page(form: dict[str, Any] | None = None, errors: dict[str, str] | None = None) -> Response:
    actor, session = current_actor(), db.session()
    recent = deliveries.recent(session, actor)
    shown: dict[str, Any] = {
        "form": form or {"level": Level.ALL.value}, "errors": errors or {}, "kinds": KINDS, "modes": MODES, "levels": LEVELS, "states": STATES, "dots": DOTS,
        "wanted": notifications.preferences(session, actor), "found": destinations.of(session, actor), "recent": recent,
        "open": any(d.state == DeliveryState.PENDING and not d.error for d in recent), "allowed": destinations.allowed(session, actor),
    }  # fmt: skip
    response = page("destinations/_recent.html" if is_partial() else "destinations/index.html", **shown)
    response.vary.add("HX-Request")
    return response


@bp.get("")
@signed_in
def index() -> Response:
    return _page()


@bp.post("/preferences")
@signed_in
def prefer() -> Response:
    chosen = {kind: request.form.get(kind.value, "") for kind in Kind}
    wanted = {kind: Mode(mode) for kind, mode in chosen.items() if mode in set(Mode)}
    with unit_of_work() as uow:
        notifications.prefer(uow, current_actor(), wanted)
    return done(_("Saved."), url_for(".index"))


@bp.post("")
@signed_in
def create() -> Response:
    form = request.form.to_dict()
    try:
        with unit_of_work() as uow:
            destinations.create(uow, current_actor(), {name: form.get(name, "") for name in ("name", "url", "level")})
    except Invalid as exc:
        return _page(form, messages(exc.errors, fields=("name", "url", "level")))
    return done(_("The destination is added. Send it a test."), url_for(".index") + "#destinations")


@bp.post("/<int:destination_id>/test")
@signed_in
def test(destination_id: int) -> Response:
    with unit_of_work() as uow:
        destinations.test(uow, current_actor(), destination_id)
    return done(_("The test is on its way: its result stands below."), url_for(".index") + "#deliveries")


@bp.post("/<int:destination_id>/switch")
@signed_in
def switch(destination_id: int) -> Response:
    with unit_of_work() as uow:
        row = destinations.change(uow, current_actor(), destination_id, {"enabled": request.form.get("enabled") == "1"})
    return done(_("Notifications go to %(name)s again.", name=row.name) if row.enabled else _("Nothing is sent to %(name)s any more.", name=row.name), url_for(".index"))


@bp.post("/<int:destination_id>/delete")
@signed_in
def delete(destination_id: int) -> Response:
    with unit_of_work() as uow:
        destinations.delete(uow, current_actor(), destination_id)
    return done(_("The destination is forgotten."), url_for(".index"))
