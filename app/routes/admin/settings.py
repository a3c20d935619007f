"""The configuration in force, and the part of it that is changed here."""

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, current_app, request, url_for
from flask_babel import gettext as _

from app.domain.permissions import Permission
from app.errors import FieldError, Invalid
from app.extensions import db
from app.routes.access import LOOPBACK, current_actor, needs
from app.routes.forms import done, messages, number, page
from app.services import figures, pause, settings
from app.services.uow import unit_of_work

bp = Blueprint("admin_settings", __name__, url_prefix="/admin/settings")
# Settings that the page shows in another unit: its field, and the seconds of one.
SWITCHES = ("destinations_for_all", "local_destinations")
UNITS = {"plan_expiry_s": ("plan_expiry_h", 3600), "clone_timeout_s": ("clone_timeout_min", 60)}


def _page(form: dict[str, Any] | None = None, errors: dict[str, str] | None = None) -> Response:
    session = db.session()
    now = asdict(settings.get(session))
    units = {field: f"{now[name] / seconds:g}" for name, (field, seconds) in UNITS.items()}
    shown = {**now, **units, **(form or {})}
    effective = settings.effective(current_app.extensions["settings"], session)
    return page("admin/settings.html", form=shown, errors=errors or {}, effective=effective, workers=figures.workers(), flower=_flower())


def _flower() -> tuple[str, bool]:
    """Return Flower's address, and whether a browser on this person's machine reaches it."""
    configured = current_app.extensions["settings"]
    host = urlsplit(request.host_url).hostname or "localhost"
    near = configured.flower_bind not in LOOPBACK or host in (*LOOPBACK, "localhost")
    return configured.flower_url or f"http://{host}:{configured.flower_port}", near or bool(configured.flower_url)


@bp.get("")
@needs(Permission.MANAGE_SETTINGS)
def index() -> Response:
    return _page()


@bp.post("/resume-runs")
@needs(Permission.MANAGE_SETTINGS)
def resume() -> Response:
    """Release the brake with which a restored copy starts."""
    with unit_of_work() as uow:
        pause.resume(uow, current_actor())
    return done(_("Runs go on."), url_for("dashboard.index"))


def _field(name: str) -> str:
    return UNITS.get(name, (name, 1))[0]


def _in_units(faults: Iterable[FieldError]) -> list[FieldError]:
    """Return faults whose bounds are in the unit of their field."""
    return [replace(f, args={k: f"{v / UNITS[f.field][1]:g}" for k, v in f.args.items()}) if f.field in UNITS else f for f in faults]


@bp.post("")
@needs(Permission.MANAGE_SETTINGS)
def change() -> Response:
    form = request.form.to_dict()
    values = {name: number(form.get(_field(name)), UNITS.get(name, ("", 1))[1]) for name in settings.BOUNDS if name not in SWITCHES}
    values |= {name: int(name in form) for name in SWITCHES}
    numbers = {name: value for name, value in values.items() if isinstance(value, int)}
    faults = [FieldError(name, "int_parsing") for name in values if name not in numbers] + settings.check(numbers)
    if faults:
        return _page(form, messages(_in_units(faults), _field))
    try:
        with unit_of_work() as uow:
            settings.change(uow, current_actor(), **numbers)
    except Invalid as exc:
        return _page(form, messages(_in_units(exc.errors), _field))
    return done(_("Settings are saved; they hold for runs that begin now."), url_for(".index"))
