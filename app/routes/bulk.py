"""Work on many servers: what it would do to each, the question, and what became of each."""

from typing import Any
from uuid import UUID

from flask import Blueprint, Response, jsonify, make_response, render_template, request, url_for
from flask_babel import LazyString
from flask_babel import lazy_gettext as _l
from pydantic import ValidationError

from app.domain import bulk as domain
from app.domain.bulk import BulkKind
from app.domain.permissions import Permission
from app.domain.run_state import ApplyMode
from app.errors import FieldError, Invalid
from app.extensions import db
from app.routes import labels, server_list
from app.routes.access import current_actor, needs
from app.routes.forms import done, first_text, go, is_partial, messages, page
from app.schemas.bulk import BulkWork
from app.schemas.faults import field_errors
from app.services import bulk, bulk_results, server_lists
from app.services.bulk_results import Item, Result
from app.services.uow import in_peace

bp = Blueprint("bulk", __name__, url_prefix="/servers/bulk")
FIELDS = ("add", "remove", "snapshot_name", "snapshot_description", "snapshot_memory", "confirm")
STATES: dict[str, LazyString] = {**labels.RUN_STATES, **labels.ACTION_STATES, "refused": _l("Not begun"), "unchanged": _l("Nothing to change")}
DOTS = {**{state: state for state in labels.RUN_STATES}, **labels.ACTION_DOTS, "refused": "errored", "unchanged": "planned_and_finished"}


def _kind() -> BulkKind:
    asked = request.form.get("action", "")
    if asked not in set(BulkKind):
        raise Invalid([FieldError("action", "not_one_of")])
    return BulkKind(asked)


def _review(kind: BulkKind, errors: dict[str, str]) -> Response:
    try:
        parts = bulk.preview(db.session(), current_actor(), request.form.getlist("names"), kind)
    except Invalid as exc:
        return done(first_text(exc), url_for("server_list.index"), kind="error")
    able = [part for part in parts if part.left is None]
    waits = next((part.waits for part in able if part.waits), None)
    return page(
        "bulk/review.html", kind=kind.value, parts=parts, able=able, waits=waits, sure=domain.sure(len(able)), form=request.form.to_dict(), errors=errors,
        effect=labels.BULK_EFFECTS[kind], note=labels.BULK_NOTES[kind],
    )


@bp.get("")
@needs(Permission.VIEW)
def index() -> Response:
    """Where somebody comes back to who was asked and went elsewhere."""
    return go(url_for("server_list.index"))


@bp.get("/names")
@needs(Permission.VIEW)
def names() -> Response:
    """Return the names of all servers that fit the list's filters: "select all of them"."""
    found = server_lists.names(db.session(), current_actor(), server_list.wanted(request.args), domain.MAX_NAMES)
    return jsonify(names=found, most=domain.MAX_NAMES)


@bp.post("")
@needs(Permission.VIEW)
def review() -> Response:
    return _review(_kind(), {})


@bp.post("/start")
@needs(Permission.VIEW)
def start() -> Response:
    kind, form, actor = _kind(), request.form, current_actor()
    data: dict[str, Any] = {"action": kind.value, "confirm": form.get("confirm", "").strip()}
    if kind == BulkKind.TAG:
        data |= {"add": form.get("add", ""), "remove": form.get("remove", "")}
    if kind == BulkKind.SNAPSHOT:
        data["snapshot"] = {"name": form.get("snapshot_name", ""), "description": form.get("snapshot_description", "")}
        if form.get("snapshot_memory"):
            data["snapshot"]["memory"] = True
    if form.get("confirm_plan"):
        data["apply"] = ApplyMode.CONFIRM.value
    try:
        work = BulkWork.model_validate(data)
        started = in_peace(lambda uow: bulk.start(uow, actor, form.getlist("names"), work))
    except ValidationError as exc:
        return _review(kind, _messages(field_errors(exc)))
    except Invalid as exc:
        return _review(kind, _messages(exc.errors))
    bulk.announce(started)
    return go(url_for(".result", bulk_id=started.bulk.id))


def _messages(faults: list[FieldError]) -> dict[str, str]:
    return messages(faults, lambda field: field.partition(".")[0] if field.startswith(("add", "remove")) else field.replace(".", "_"), FIELDS)


def _where(item: Item) -> str | None:
    """Return where more is told of a server's part."""
    if item.run_id is not None:
        return url_for("runs.detail", run_id=item.run_id)
    return None if item.gone else url_for("servers.detail", name=item.server)


def _again(found: Result) -> list[str]:
    """Return the servers that the same work can be asked for again."""
    return [] if found.open else [item.server for item in found.failed if not item.gone]


@bp.get("/<uuid:bulk_id>")
@needs(Permission.VIEW)
def result(bulk_id: UUID) -> Response:
    found = bulk_results.get(db.session(), current_actor(), bulk_id)
    template = "bulk/_result.html" if is_partial() else "bulk/result.html"
    response = make_response(render_template(template, found=found, kind=found.bulk.kind.value, again=_again(found), where=_where, states=STATES, dots=DOTS))
    response.vary.add("HX-Request")
    return response
