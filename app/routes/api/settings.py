"""Settings: the effective configuration with its sources, and what can be changed while everything runs."""

from dataclasses import asdict

from flask import Blueprint, Response, current_app

from app.domain.permissions import Permission
from app.extensions import db
from app.routes.access import current_actor, needs
from app.routes.api import answer
from app.routes.parse import body
from app.schemas.accounts import SettingsChange
from app.services import pause, settings
from app.services.uow import unit_of_work

bp = Blueprint("api_settings", __name__, url_prefix="/api/settings")


@bp.get("")
@needs(Permission.MANAGE_SETTINGS)
def show() -> Response:
    session = db.session()
    effective = settings.effective(current_app.extensions["settings"], session)
    return answer({"settings": asdict(settings.get(session)), "effective": [asdict(line) for line in effective], "runs_paused": pause.paused(session)})


@bp.patch("")
@needs(Permission.MANAGE_SETTINGS)
def change() -> Response:
    wanted = body(SettingsChange).model_dump(exclude_none=True)
    with unit_of_work() as uow:
        after = settings.change(uow, current_actor(), **wanted)
    return answer({"settings": asdict(after)})


@bp.post("/resume-runs")
@needs(Permission.MANAGE_SETTINGS)
def resume() -> Response:
    """Release the brake with which a restored copy starts; `resumed` is false when runs were not paused."""
    with unit_of_work() as uow:
        resumed = pause.resume(uow, current_actor())
    return answer({"success": True, "resumed": resumed})
