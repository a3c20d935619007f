"""People and their roles."""

from typing import Any

from flask import Blueprint, Response, request, url_for
from flask_babel import gettext as _

from app.domain.permissions import Permission, Role
from app.errors import FieldError, Invalid
from app.extensions import db
from app.routes import labels
from app.routes.access import current_actor, needs
from app.routes.forms import done, messages, page
from app.services import users
from app.services.uow import unit_of_work

bp = Blueprint("admin_users", __name__, url_prefix="/admin/users")


def _page(form: dict[str, Any] | None = None, errors: dict[str, str] | None = None, password: str = "", whose: str = "") -> Response:
    found = users.list_page(db.session(), current_actor(), 100, request.args.get("cursor"))
    response = page(
        "admin/users.html", page=found, form=form or {"role": Role.DEVELOPER.value}, errors=errors or {}, shown_password=password, shown_for=whose
    )
    response.headers["Cache-Control"] = "no-store"
    return response


def _role(text: str) -> Role:
    if text not in set(Role):
        raise Invalid([FieldError("role", "bad_role")])
    return Role(text)


@bp.get("")
@needs(Permission.MANAGE_USERS)
def index() -> Response:
    return _page()


@bp.post("")
@needs(Permission.MANAGE_USERS)
def create() -> Response:
    form = request.form.to_dict()
    try:
        with unit_of_work() as uow:
            user, password = users.create(uow, current_actor(), form.get("username", "").strip(), _role(form.get("role", "")))
    except Invalid as exc:
        return _page(form, messages(exc.errors))
    # Rendered, not redirected: the password is nowhere else.
    return _page(password=password or "", whose=user.username)


@bp.post("/<int:user_id>/role")
@needs(Permission.MANAGE_USERS)
def role(user_id: int) -> Response:
    with unit_of_work() as uow:
        user = users.change_role(uow, current_actor(), user_id, _role(request.form.get("role", "")))
    return done(_("%(name)s: %(role)s", name=user.username, role=labels.ROLES[user.role]), url_for(".index"))


@bp.post("/<int:user_id>/password")
@needs(Permission.MANAGE_USERS)
def password(user_id: int) -> Response:
    with unit_of_work() as uow:
        user, text = users.reset_password(uow, current_actor(), user_id)
    return _page(password=text, whose=user.username)


@bp.post("/<int:user_id>/deactivate")
@needs(Permission.MANAGE_USERS)
def deactivate(user_id: int) -> Response:
    with unit_of_work() as uow:
        user = users.deactivate(uow, current_actor(), user_id)
    return done(_("%(name)s is deactivated.", name=user.username), url_for(".index"))


@bp.post("/<int:user_id>/activate")
@needs(Permission.MANAGE_USERS)
def activate(user_id: int) -> Response:
    with unit_of_work() as uow:
        user = users.activate(uow, current_actor(), user_id)
    return done(_("%(name)s is active again.", name=user.username), url_for(".index"))
