"""Presets: sizes with a name."""

from typing import Any

from flask import Blueprint, Response

from app.domain.permissions import Permission
from app.extensions import db
from app.models import Preset
from app.routes.access import current_actor, needs
from app.routes.api import answer, page
from app.routes.parse import json_body, query
from app.schemas.accounts import PageQuery
from app.services import presets
from app.services.uow import unit_of_work

bp = Blueprint("api_presets", __name__, url_prefix="/api/presets")


@bp.get("")
@needs(Permission.VIEW)
def index() -> Response:
    wanted = query(PageQuery)
    return page(presets.list_page(db.session(), wanted.limit, wanted.cursor), preset_json)


@bp.post("")
@needs(Permission.MANAGE_TEMPLATES)
def create() -> Response:
    raw = json_body()
    with unit_of_work() as uow:
        preset = presets.create(uow, current_actor(), raw)
    return answer(preset_json(preset), 201, location=f"/api/presets/{preset.id}")


@bp.patch("/<int:preset_id>")
@needs(Permission.MANAGE_TEMPLATES)
def change(preset_id: int) -> Response:
    raw = json_body()
    with unit_of_work() as uow:
        preset = presets.change(uow, current_actor(), preset_id, raw)
    return answer(preset_json(preset))


@bp.delete("/<int:preset_id>")
@needs(Permission.MANAGE_TEMPLATES)
def delete(preset_id: int) -> Response:
    with unit_of_work() as uow:
        presets.delete(uow, current_actor(), preset_id)
    return answer({"success": True})


def preset_json(preset: Preset) -> dict[str, Any]:
    return {
        "id": preset.id, "name": preset.name, "cores": preset.cores, "memory_mib": preset.memory_mib,
        "disk_gib": preset.disk_gib, "position": preset.position,
    }  # fmt: skip
