"""The servers' pages: list, create, one server, and what is done to them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Blueprint, Response, jsonify, make_response, render_template, request, url_for
from flask_babel import gettext as _
from flask_login import current_user

from app.domain.action_state import POWER, ActionKind
from app.domain.permissions import Permission
from app.domain.run_state import RunKind
from app.errors import FieldError, Invalid
from app.extensions import db
from app.messages import hint_of, text_of
from app.models import Server
from app.routes import labels, server_form
from app.routes.access import current_actor, needs
from app.routes.forms import done, go, is_partial, messages, page
from app.routes.ui import action_title, run_title
from app.schemas.servers import ServerChange
from app.services import (
    actions,
    approvals,
    create_preview,
    overview,
    runs,
    safe_changes,
    server_devices,
    servers,
    state_resources,
    terraform,
)
from app.services.uow import in_peace, unit_of_work

bp = Blueprint("servers", __name__)
# The fields of each form of a server's page; faults of anything else stand above the form.
FIELDS = {
    "describe": ("tags", "description"),
    "resize": ("cores", "memory_gib", "verify", "port", "timeout_s", *(f"disk_{i}" for i in range(9))),
    "devices": ("new_disk_gib", "new_storage", "new_network", "new_ip"),
}


# ---------------------------------------------------------------- create
@bp.get("/servers/new")
@needs(Permission.CREATE)
def new() -> Response:
    choices = overview.choices(db.session())
    values = server_form.first_values(choices, request.args.get("template"), current_user)
    again = request.args.get("again", type=int)
    if again is not None:
        values |= server_form.again_values(runs.get(db.session(), current_actor(), again), choices, request.args.get("other", ""))
    if like := request.args.get("like"):
        model = servers.get(db.session(), current_actor(), like)
        values |= server_form.like_values(model, servers.next_name(db.session(), model.name), choices)
    return _create_page(values, {}, choices)


@bp.post("/servers/new")
@needs(Permission.CREATE)
def create() -> Response:
    try:
        with unit_of_work() as uow:
            accepted = servers.create(uow, current_actor(), server_form.create_data(request.form, current_user.ssh_keys))
    except Invalid as exc:
        return _create_page(server_form.shown(request.form), _create_messages(exc.errors), overview.choices(db.session()))
    return go(url_for("runs.detail", run_id=accepted.run.id))


@bp.post("/servers/check")
@needs(Permission.CREATE)
def check() -> Response:
    """Live check: every fault of the form as it stands, by field."""
    data = server_form.create_data(request.form, current_user.ssh_keys)
    return jsonify(errors=_create_messages(servers.check(db.session(), current_actor(), data)))


@bp.post("/servers/preview")
@needs(Permission.CREATE)
def preview() -> Response:
    """What the form as it stands would come to; a part of the page."""
    data = server_form.create_data(request.form, current_user.ssh_keys)
    return make_response(render_template("servers/_preview.html", seen=create_preview.preview(db.session(), data)))


def _create_messages(faults: list[FieldError]) -> dict[str, str]:
    return messages(faults, server_form.create_field, server_form.CREATE_FIELDS)


def _create_page(form: dict[str, Any], errors: dict[str, str], choices: overview.Choices) -> Response:
    waits = approvals.forewarning(db.session(), current_actor(), RunKind.CREATE)
    return page("servers/new.html", form=form, errors=errors, choices=choices, problems=_problems(choices), waits=waits, each=_each(form))


def _each(form: dict[str, Any]) -> int:
    """Return how many rows of the batch are shown from the start: those that were filled in."""
    count = str(form.get("count", ""))
    return int(count) if count.isdigit() and 1 < int(count) <= 100 and any(k.startswith("row_") and v for k, v in form.items()) else 0


def _problems(choices: overview.Choices) -> list[str]:
    """What would make the run fail whatever is filled in: said before anybody fills it in."""
    found = [f"{c.name}: {text_of(c.status, c.status_args)}" for c in choices.troubled]
    missing = terraform.fault()
    return [*found, " ".join([text_of(missing.code), hint_of(missing.code)])] if missing else found


# ---------------------------------------------------------------- one server
@dataclass(frozen=True)
class Happened:
    """A run or an action in a server's history."""

    what: str
    state: str
    label: str
    who: str
    at: datetime
    run_id: int | None = None
    note: str = ""
    href: str = ""


def _history(server: Server) -> list[Happened]:
    session = db.session()
    rows = [
        Happened(run_title(r), r.state, str(labels.RUN_STATES[r.state]), r.created_by.username, r.created_at, r.id)
        for r in servers.history(session, server)
    ]
    rows += [
        Happened(
            action_title(a), labels.ACTION_DOTS[a.state], str(labels.ACTION_STATES[a.state]), a.created_by.username, a.created_at,
            note=text_of(a.error["code"], a.error.get("args")) if a.error else "",
        )
        for a in overview.actions_of(session, server)
    ]  # fmt: skip
    rows += [
        Happened(
            str(_("Safe change")), labels.SAFE_CHANGE_DOTS.get(c.state, "applying"), str(labels.SAFE_CHANGE_STATES[c.state]), c.created_by.username, c.created_at,
            note=text_of(c.error["code"], c.error.get("args")) if c.error else "", href=url_for("safe_changes.detail", safe_change_id=c.id),
        )
        for c in safe_changes.recent(session, server.id)
    ]  # fmt: skip
    return sorted(rows, key=lambda row: row.at, reverse=True)[:20]


def _shown(server: Server) -> dict[str, Any]:
    return {
        "server": server, "form": server_form.server_values(server), "edited": "",
        "restarts": servers.restart_needed(server, ServerChange(cores=server.cores + 1)), "offered": lambda: server_devices.offer(db.session(), server),
        "waits": {k.value: approvals.forewarning(db.session(), current_actor(), k, server.workspace_id) for k in (RunKind.CHANGE, RunKind.DELETE)},
    }  # fmt: skip


def _detail(name: str, edited: str = "", errors: dict[str, str] | None = None) -> Response:
    server = servers.get(db.session(), current_actor(), name)
    shown = _shown(server)
    if edited:
        shown |= {"form": shown["form"] | request.form.to_dict(), "edited": edited}
    return page("servers/detail.html", **shown, errors=errors or {}, history=_history(server))


@bp.get("/servers/<name>")
@needs(Permission.VIEW)
def detail(name: str) -> Response:
    return _detail(name)


@bp.get("/servers/<name>/head")
@needs(Permission.VIEW)
def head(name: str) -> Response:
    return make_response(render_template("servers/_head.html", server=servers.get(db.session(), current_actor(), name)))


@bp.get("/servers/<name>/part/<any(forms, facts):part>")
@needs(Permission.VIEW)
def part(name: str, part: str) -> Response:
    return page(f"servers/_{part}.html", **_shown(servers.get(db.session(), current_actor(), name)))


@bp.get("/servers/<name>/history")
@needs(Permission.VIEW)
def history(name: str) -> Response:
    server = servers.get(db.session(), current_actor(), name)
    return make_response(render_template("servers/_history.html", server=server, history=_history(server)))


@bp.get("/servers/<name>/terraform")
@needs(Permission.VIEW)
def terraform_resource(name: str) -> Response:
    server = servers.get(db.session(), current_actor(), name)
    response = page("servers/_terraform.html" if is_partial() else "servers/terraform.html", server=server, resource=state_resources.of_server(db.session(), server))
    response.vary.add("HX-Request")
    return response


@bp.post("/servers/<name>/resize")
@needs(Permission.CHANGE)
def resize(name: str) -> Response:
    server = servers.get(db.session(), current_actor(), name)
    data = server_form.resize_data(request.form, server)
    if not data.keys() - {"apply"}:
        return done(_("%(name)s has this size already. Nothing was changed.", name=name), url_for(".detail", name=name))
    if "safe" in request.form:
        return _safe_change(name, server_form.safe_change_data(request.form, data))
    return _change(name, data, "resize")


def _safe_change(name: str, data: dict[str, Any]) -> Response:
    try:
        row = in_peace(lambda uow: safe_changes.create(uow, current_actor(), name, data))
    except Invalid as exc:
        return _detail(name, "resize", messages(exc.errors, server_form.change_field, FIELDS["resize"]))
    return go(url_for("safe_changes.detail", safe_change_id=row.id))


@bp.post("/servers/<name>/describe")
@needs(Permission.CHANGE)
def describe(name: str) -> Response:
    return _change(name, server_form.describe_data(request.form), "describe")


@bp.post("/servers/<name>/devices")
@needs(Permission.CHANGE)
def devices(name: str) -> Response:
    """Add or remove a disk or a network."""
    form, server = request.form, servers.get(db.session(), current_actor(), name)
    device = form.get("device", "")
    if form.get("do", "").startswith("remove") and form.get(f"confirm_{device}", "").strip() != device:
        return _detail(name, "devices", {f"confirm_{device}": text_of("confirm_name", {"name": device})})
    return _change(name, server_form.device_data(form, server), "devices")


def _change(name: str, data: dict[str, Any], edited: str) -> Response:
    try:
        with unit_of_work() as uow:
            accepted = servers.change(uow, current_actor(), name, data)
    except Invalid as exc:
        field_of = server_form.device_field if edited == "devices" else server_form.change_field
        return _detail(name, edited, messages(exc.errors, field_of, FIELDS[edited]))
    return go(url_for("runs.detail", run_id=accepted.run.id))


@bp.post("/servers/<name>/delete")
@needs(Permission.DELETE)
def delete(name: str) -> Response:
    try:
        with unit_of_work() as uow:
            wanted = {"confirm": request.form.get("confirm", "").strip(), "forget": "forget" in request.form}
            accepted = servers.delete(uow, current_actor(), name, wanted)
    except Invalid as exc:
        return _detail(name, "delete", messages(exc.errors))
    return go(url_for("runs.detail", run_id=accepted.run.id))


# ---------------------------------------------------------------- power
def _kind() -> ActionKind:
    asked = request.form.get("action", "")
    if asked not in POWER:
        raise Invalid([FieldError("action", "not_one_of")])
    return ActionKind(asked)


@bp.post("/servers/<name>/power")
@needs(Permission.POWER)
def power(name: str) -> Response:
    kind = _kind()
    with unit_of_work() as uow:
        actions.request(uow, current_actor(), name, kind)
    return done(_("%(action)s: %(name)s", action=labels.ACTIONS[kind], name=name), url_for(".detail", name=name))
