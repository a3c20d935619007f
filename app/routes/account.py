"""One's own account: password, language, theme, SSH keys, API tokens, sessions."""

from typing import Any

from flask import Blueprint, Response, request, url_for
from flask_babel import gettext as _
from flask_babel import refresh
from flask_login import current_user

from app.errors import Invalid
from app.extensions import db
from app.routes import signin
from app.routes.access import current_actor, signed_in
from app.routes.forms import done, messages, page
from app.routes.ui import set_theme
from app.services import accounts, tokens
from app.services.uow import unit_of_work

bp = Blueprint("account", __name__, url_prefix="/account")


def _page(form: dict[str, Any] | None = None, errors: dict[str, str] | None = None, new_token: str = "") -> Response:
    shown = {"ssh_keys": current_user.ssh_keys, **(form or {})}
    found = tokens.list_own(db.session(), current_user.id)
    response = page("account/index.html", form=shown, errors=errors or {}, tokens=found, new_token=new_token)
    response.headers["Cache-Control"] = "no-store"
    return response


@bp.get("")
@signed_in
def index() -> Response:
    return _page()


@bp.post("/password")
@signed_in
def password() -> Response:
    try:
        signin.change_password(request.form.get("old_password", ""), request.form.get("new_password", ""))
    except Invalid as exc:
        return _page(errors=messages(exc.errors))
    return done(_("Password is changed. Other sessions are signed out."), url_for(".index"))


@bp.post("/look")
@signed_in
def look() -> Response:
    with unit_of_work() as uow:
        accounts.set_language(uow, current_actor(), request.form.get("language") or None)
    current_user.language = request.form.get("language") or None
    refresh()
    return set_theme(done(_("Saved."), url_for(".index")), request.form.get("theme", ""))


@bp.post("/keys")
@signed_in
def keys() -> Response:
    text = request.form.get("ssh_keys", "")
    try:
        with unit_of_work() as uow:
            accounts.set_ssh_keys(uow, current_actor(), text)
    except Invalid as exc:
        return _page({"ssh_keys": text}, messages(exc.errors))
    return done(_("SSH keys are saved."), url_for(".index") + "#keys")


@bp.post("/tokens")
@signed_in
def token_create() -> Response:
    name = request.form.get("name", "")
    try:
        with unit_of_work() as uow:
            _token, text = tokens.create_token(uow, current_actor(), name)
    except Invalid as exc:
        return _page({"name": name}, messages(exc.errors))
    # Rendered, not redirected: the token is nowhere else.
    return _page(new_token=text)


@bp.post("/tokens/<int:token_id>/revoke")
@signed_in
def token_revoke(token_id: int) -> Response:
    with unit_of_work() as uow:
        tokens.revoke_token(uow, current_actor(), token_id)
    return done(_("The token is revoked."), url_for(".index") + "#tokens")


@bp.post("/sign-out-everywhere")
@signed_in
def sign_out_everywhere() -> Response:
    signin.sign_out_everywhere()
    return done(_("All other sessions are signed out."), url_for(".index"))
