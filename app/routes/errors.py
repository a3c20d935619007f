"""Every error becomes an answer here: problem+json for scripts, a page for people; never a stack trace."""

import json
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, g, has_request_context, make_response, redirect, render_template, request
from flask_login import AnonymousUserMixin
from flask_wtf.csrf import CSRFError
from jinja2 import TemplateError
from markupsafe import escape
from redis.exceptions import RedisError
from sqlalchemy.exc import DataError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.http import HTTP_STATUS_CODES

from app.errors import AppError, BadRequest, DatabaseUnavailable, Invalid, SessionStoreUnavailable, Unauthenticated
from app.extensions import db
from app.log import get_logger
from app.messages import hint_of, text_of
from app.routes.access import return_path
from app.session_store import has_bearer

log = get_logger(__name__)
RETRY_AFTER_S = 5
HTTP_CODES = {
    400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "body_too_large",
    415: "unsupported_media_type", 429: "too_many_requests",
}  # fmt: skip
SECRET_FIELDS = ("password", "secret")


class BadValue(BadRequest):
    code = "bad_value"


def wants_json() -> bool:
    """True for scripts: everything below /api, and whoever prefers JSON to HTML."""
    if request.path == "/api" or request.path.startswith("/api/"):
        return True
    accept = request.accept_mimetypes
    return accept["application/json"] > accept["text/html"] or accept["application/problem+json"] > accept["text/html"]


def problem(status: int, code: str, args: dict[str, Any], errors: list[dict[str, str]]) -> dict[str, Any]:
    """Return the problem document; plain arguments (a state, a permission) are members of their own."""
    found: dict[str, Any] = {k: v for k, v in args.items() if isinstance(v, str | int | float | bool | list)}
    found |= {
        "type": "about:blank",
        "title": HTTP_STATUS_CODES.get(status, "Error"),
        "status": status,
        "code": code,
        "detail": text_of(code, args),
        "request_id": g.get("request_id", ""),
    }
    if hint := hint_of(code, args):
        found["hint"] = hint
    if errors:
        found["errors"] = errors
    return found


def field_messages(exc: Invalid) -> list[dict[str, str]]:
    """Return the faults as `field`, `code` and `message` in the reader's language."""
    return [{"field": e.field, "code": e.code, "message": text_of(e.code, e.args)} for e in exc.errors]


def render(status: int, code: str, args: dict[str, Any], errors: list[dict[str, str]] | None = None) -> Response:
    """Answer with an error."""
    document = problem(status, code, args, errors or [])
    if wants_json() or request.headers.get("HX-Request") == "true":
        response = Response(json.dumps(document, ensure_ascii=False), status, mimetype="application/problem+json")
        if request.headers.get("HX-Request") == "true":
            # htmx must not put the answer into the page; the page's own script shows the text as a toast.
            response.headers["HX-Reswap"] = "none"
            response.headers["HX-Trigger"] = json.dumps({"app:error": document})
    else:
        response = make_response(_page(document), status)
    if status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    elif "retry_after_s" in args:
        response.headers["Retry-After"] = str(args["retry_after_s"])
    response.headers["Cache-Control"] = "no-store"
    return response


def _resend() -> list[tuple[str, str]]:
    """Return the fields of the form that was not taken, so that the page can offer to send it again."""
    if request.method != "POST":
        return []
    try:
        return [(k, v) for k, v in request.form.items(multi=True) if not any(s in k.lower() for s in SECRET_FIELDS)]
    except HTTPException:
        return []


def _page(document: dict[str, Any]) -> str:
    resend = _resend() if document["status"] == 503 else []
    if document["status"] >= 500 or document["status"] == 401:
        # The page must not ask the database or Redis who is reading it, nor a token that does not work.
        g._login_user = AnonymousUserMixin()  # noqa: SLF001 - where Flask-Login looks first
    if document["status"] >= 500:
        db.session.remove()
    try:
        return render_template(
            "errors/error.html",
            status=document["status"], code=document["code"], text=document["detail"], hint=document.get("hint", ""),
            request_id=document["request_id"], resend=resend, resend_action=request.full_path.rstrip("?"),
        )  # fmt: skip
    except (TemplateError, OperationalError, InterfaceError, RedisError, AppError):
        log.exception("error_page_not_rendered")
    hidden = "".join(f'<input type="hidden" name="{escape(k)}" value="{escape(v)}">' for k, v in resend)
    form = f'<form method="post">{hidden}<button>↻</button></form>' if resend else ""
    return (
        f'<!doctype html><meta charset="utf-8"><title>{document["status"]}</title><h1>{escape(document["detail"])}</h1>'
        f"<p>{escape(document.get('hint', ''))}</p>{form}<p><small>{escape(document['request_id'])}</small></p>"
    )


def _app_error(exc: AppError) -> Response:
    if exc.status >= 500:
        log.warning("request_failed", code=exc.code, detail=exc.detail)
    errors = field_messages(exc) if isinstance(exc, Invalid) else None
    if isinstance(exc, Unauthenticated):
        return _sign_in_first(exc)
    return render(exc.status, exc.code, exc.args_, errors)


def _sign_in_first(exc: Unauthenticated) -> Response:
    sign_in = f"/login?next={quote(return_path(), safe='/')}"
    if request.headers.get("HX-Request") == "true":
        response = render(401, exc.code, exc.args_)
        response.headers["HX-Redirect"] = sign_in
        return response
    # Signing in would not make a token work that does not.
    if wants_json() or has_bearer(request):
        response = render(401, exc.code, exc.args_)
        response.headers["WWW-Authenticate"] = 'Bearer realm="api"'
        return response
    return make_response(redirect(sign_in, 303))


def _http_error(exc: HTTPException) -> Response:
    status = exc.code or 500
    if status < 400:
        return make_response(exc.get_response())
    args: dict[str, Any] = {}
    if isinstance(exc, MethodNotAllowed):
        args = {"method": request.method, "allowed": sorted(set(exc.valid_methods or ()) - {"HEAD", "OPTIONS"})}
    response = render(status, HTTP_CODES.get(status, "internal_error" if status >= 500 else "bad_request"), args)
    if isinstance(exc, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(exc.valid_methods or ())
    return response


def _csrf_error(_exc: CSRFError) -> Response:
    return render(400, "csrf_failed", {})


def _database_error(exc: Exception) -> Response:
    db.session.remove()
    log.warning("database_unavailable", reason=type(getattr(exc, "orig", None) or exc).__name__)
    return _app_error(DatabaseUnavailable())


def _data_error(exc: DataError) -> Response:
    db.session.remove()
    log.warning("value_refused_by_database", reason=type(exc.orig).__name__)
    return _app_error(BadValue())


def _redis_error(exc: RedisError) -> Response:
    log.warning("redis_unavailable", reason=type(exc).__name__)
    return _app_error(SessionStoreUnavailable())


def _bug(exc: Exception) -> Response:
    log.error("request_failed_unexpectedly", exc_info=exc, path=request.path if has_request_context() else "")
    db.session.remove()
    return render(500, "internal_error", {})


def init_app(app: Flask) -> None:
    """Register the handlers."""
    for kind, handler in (
        (AppError, _app_error), (CSRFError, _csrf_error), (HTTPException, _http_error), (DataError, _data_error),
        (OperationalError, _database_error), (InterfaceError, _database_error), (PoolTimeout, _database_error),
        (RedisError, _redis_error), (Exception, _bug),
    ):  # fmt: skip
        app.register_error_handler(kind, handler)
