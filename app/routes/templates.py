"""Templates and presets: what servers are made from, and in which sizes."""

from typing import Any

from flask import Blueprint, Response, request, url_for
from flask_babel import gettext as _

from app.domain.permissions import Permission
from app.errors import Invalid
from app.extensions import db
from app.models import Preset
from app.routes.access import current_actor, needs
from app.routes.forms import done, messages, number, page
from app.routes.ui import can
from app.schemas.page import MAX_LIMIT
from app.services import clusters, overview, presets, templates
from app.services.uow import unit_of_work

bp = Blueprint("templates", __name__)


@bp.get("/templates")
@needs(Permission.VIEW)
def index() -> Response:
    preset = db.session().get(Preset, request.args.get("preset", 0, int)) if "preset" in request.args else None
    return _page(_values(preset) if preset else {})


def _values(preset: Preset) -> dict[str, Any]:
    return {
        "id": preset.id, "old_name": preset.name, "name": preset.name, "cores": preset.cores,
        "memory_gib": f"{preset.memory_mib / 1024:g}", "disk_gib": preset.disk_gib,
    }  # fmt: skip


def _page(form: dict[str, Any], errors: dict[str, str] | None = None, edited: int = 0) -> Response:
    session = db.session()
    return page(
        "templates/index.html", form=form, errors=errors or {}, edited=edited,
        templates=templates.list_page(session, MAX_LIMIT, offered_only=not can("manage_templates")).items,
        presets=presets.all_presets(session), sized=presets.sized(session), used=overview.servers_made(session), older=templates.older(session, current_actor()),
        clusters={c.id: c.name for c in clusters.connected(session)},
    )  # fmt: skip


@bp.post("/templates/<int:template_id>")
@needs(Permission.MANAGE_TEMPLATES)
def change(template_id: int) -> Response:
    form = request.form.to_dict()
    data = {"min_memory_mib": number(form.get("min_memory_mib")), "username": form.get("username", "")}
    try:
        with unit_of_work() as uow:
            template = templates.change(uow, current_actor(), template_id, data)
    except Invalid as exc:
        return _page(form, messages(exc.errors), template_id)
    return done(_("Template %(name)s is changed.", name=template.name), url_for(".index"))


@bp.post("/templates/<int:template_id>/offer")
@needs(Permission.MANAGE_TEMPLATES)
def offer(template_id: int) -> Response:
    offered = bool(request.form.get("offered"))
    with unit_of_work() as uow:
        template = templates.change(uow, current_actor(), template_id, {"offered": offered})
    text = _("%(name)s is offered.", name=template.name) if offered else _("%(name)s is no longer offered.", name=template.name)
    return done(text, url_for(".index"))


@bp.post("/presets")
@needs(Permission.MANAGE_TEMPLATES)
def preset_save() -> Response:
    form = request.form.to_dict()
    data = {
        "name": form.get("name", ""), "cores": number(form.get("cores")), "memory_mib": number(form.get("memory_gib"), 1024),
        "disk_gib": number(form.get("disk_gib")),
    }  # fmt: skip
    preset_id = int(form["id"]) if form.get("id", "").isdigit() else None
    try:
        with unit_of_work() as uow:
            saved = presets.create(uow, current_actor(), data) if preset_id is None else presets.change(uow, current_actor(), preset_id, data)
    except Invalid as exc:
        return _page(form, messages(exc.errors, lambda f: "memory_gib" if f == "memory_mib" else f))
    return done(_("Preset %(name)s is saved.", name=saved.name), url_for(".index") + "#presets")


@bp.post("/presets/<int:preset_id>/delete")
@needs(Permission.MANAGE_TEMPLATES)
def preset_delete(preset_id: int) -> Response:
    with unit_of_work() as uow:
        presets.delete(uow, current_actor(), preset_id)
    return done(_("The preset is deleted."), url_for(".index") + "#presets")
