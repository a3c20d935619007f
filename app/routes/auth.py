"""The sign-in page, and signing out."""

from flask import Blueprint, Response, make_response, render_template, request
from flask_login import current_user

from app.errors import AppError
from app.messages import text_of
from app.routes.access import open_to_all, safe_next, signed_in
from app.routes.forms import go
from app.routes.signin import BadCredentials, sign_in, sign_out
from app.services.sessions import TooManyAttempts

bp = Blueprint("auth", __name__)


@bp.get("/login")
@open_to_all("people sign in here")
def login() -> Response:
    if current_user.is_authenticated:
        return go(safe_next(request.args.get("next")))
    return _page(request.args.get("next"))


@bp.post("/login")
@open_to_all("people sign in here")
def login_post() -> Response:
    wanted = request.form.get("next")
    try:
        sign_in(request.form.get("username", ""), request.form.get("password", ""))
    except (BadCredentials, TooManyAttempts) as exc:
        return _page(wanted, exc)
    return go(safe_next(wanted))


@bp.post("/logout")
@signed_in
def logout() -> Response:
    sign_out()
    return go("/login")


def _page(wanted: str | None, fault: AppError | None = None) -> Response:
    path = safe_next(wanted)
    html = render_template(
        "auth/login.html", next_path=path, came_from=path != "/" and fault is None,
        fault=text_of(fault.code, fault.args_) if fault else "", form={"username": request.form.get("username", "")},
    )  # fmt: skip
    # 422, not 401: a browser would ask for a password of its own.
    return make_response(html, fault.status if fault and fault.status == 429 else 422 if fault else 200)
