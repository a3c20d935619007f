"""Who may call what: every view declares it, one guard enforces it.

    @bp.post("/servers/async")
    @needs(Permission.CREATE)
    def create() -> Response: ...

`needs(permission)`, `signed_in` and `open_to_all(reason)` mark a view; an unmarked one is refused and a test fails.
`current_actor()` is who asks. Sign-in is by session cookie (with CSRF on writes) or by `Authorization: Bearer tpm_…`,
which needs no Redis.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from flask import Flask, current_app, g, request, session
from flask_babel import get_locale
from flask_login import current_user

from app.domain.permissions import Permission
from app.errors import AppError, Forbidden, NotFound, SessionStoreUnavailable, Unauthenticated
from app.extensions import csrf, db, login_manager
from app.models import User
from app.routes.parse import body, query
from app.schemas.faults import unstorable
from app.services import tokens, users
from app.services.actor import Actor
from app.services.uow import unit_of_work
from app.session_store import BrowserSession, has_bearer

__all__ = [
    "Access", "body", "browser_session", "client_address", "current_actor", "declared", "needs", "open_to_all", "query",
    "return_path", "safe_next", "signed_in", "user_or_none",
]  # fmt: skip

View = TypeVar("View", bound=Callable[..., Any])
LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
ATTRIBUTE = "access"


class UndeclaredRoute(AppError):
    """A view that says nothing about who may call it: a fault of ours."""


class TokenInvalid(Unauthenticated):
    code = "token_invalid"


@dataclass(frozen=True)
class Access:
    """What a view declares; with neither, `reason` says why anybody may call it."""

    permission: Permission | None = None
    reason: str = ""

    @property
    def is_open(self) -> bool:
        return bool(self.reason)


def _mark(access: Access) -> Callable[[View], View]:
    def mark(view: View) -> View:
        setattr(view, ATTRIBUTE, access)
        return view

    return mark


def needs(permission: Permission) -> Callable[[View], View]:
    """Only for signed-in people whose role holds the permission."""
    return _mark(Access(permission=permission))


def signed_in(view: View) -> View:
    """For everybody who is signed in: about their own account."""
    return _mark(Access())(view)


def open_to_all(reason: str) -> Callable[[View], View]:
    """For anybody, signed in or not; the reason is for the reader."""
    return _mark(Access(reason=reason))


def declared(endpoint: str) -> Access | None:
    """Return what the endpoint's view declares."""
    access = getattr(current_app.view_functions[endpoint], ATTRIBUTE, None)
    return access if isinstance(access, Access) else None


def client_address() -> str:
    """Return the caller's address; a proxy on this very machine is believed about whom it speaks for."""
    peer = request.remote_addr or ""
    forwarded = request.headers.get("X-Forwarded-For", "")
    return forwarded.rsplit(",", 1)[-1].strip()[:64] if forwarded and peer in LOOPBACK else peer


def browser_session() -> BrowserSession:
    """Return the session object itself, for what Flask's proxy does not know."""
    made: BrowserSession = session._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - werkzeug's name
    return made


def user_or_none() -> User | None:
    """Return who is signed in. Raises TokenInvalid, SessionStoreUnavailable."""
    if browser_session().is_down:
        raise SessionStoreUnavailable
    if "_login_user" not in g and has_bearer(request):
        # What Flask-Login would find in the end, having looked for a session first.
        g._login_user = _load_bearer(request)  # noqa: SLF001 - Flask-Login's name
    return current_user._get_current_object() if current_user.is_authenticated else None  # noqa: SLF001 - werkzeug's name


def current_actor() -> Actor:
    """Return who asks. Raises Unauthenticated."""
    if "actor" not in g:
        user = user_or_none()
        if user is None:
            raise Unauthenticated
        g.actor = Actor.of(user, client_address(), str(get_locale() or "en"))
    actor: Actor = g.actor
    return actor


def safe_next(text: str | None) -> str:
    """Return a path of this site to go on to after signing in; `/` for anything else."""
    if not text or not text.startswith("/") or text.startswith(("//", "/\\")) or "\\" in text or not text.isprintable():
        return "/"
    parts = urlsplit(text)
    return "/" if parts.scheme or parts.netloc else text


def return_path() -> str:
    """Return where to go on after signing in: this page, or for a form the page that it was on."""
    if request.method in ("GET", "HEAD") and request.headers.get("HX-Request") != "true":
        return safe_next(request.full_path.rstrip("?"))
    shown = urlsplit(request.headers.get("HX-Current-URL") or request.referrer or "")
    if shown.netloc and shown.netloc != request.host:
        return "/"
    return safe_next(shown.path + (f"?{shown.query}" if shown.query else ""))


def guard() -> None:
    """Before every request: refuse what is not declared, not signed in, not permitted, or forged."""
    if request.routing_exception is not None or request.endpoint is None:
        return
    access = declared(request.endpoint)
    if access is None:
        raise UndeclaredRoute(request.endpoint)
    if unstorable([request.path, request.query_string.decode("utf-8", "replace"), request.view_args or {}]) or any(
        unstorable(value) for value in request.args.values()
    ):
        raise NotFound
    if browser_session().is_down:
        raise SessionStoreUnavailable
    if not access.is_open:
        actor = current_actor()
        if access.permission is not None and not actor.can(access.permission):
            raise Forbidden(permission=access.permission.value)
    if not browser_session().is_absent:
        csrf.protect()


def _load_user(session_id: str) -> User | None:
    user = users.by_session_id(db.session(), session_id)
    # The connection goes back to the pool now: a view that opens a transaction must not hold two.
    db.session.close()
    return user


def _load_bearer(_request: Any) -> User | None:
    if not has_bearer(request):
        return None
    found = tokens.by_token(request.headers["Authorization"][7:].strip())
    if found is None:
        raise TokenInvalid
    user, token_id = found
    g.api_token_id = token_id
    if tokens.use_is_due(token_id):
        with unit_of_work() as uow:
            tokens.note_use(uow, token_id)
    return user


def init_app(app: Flask) -> None:
    """Put the guard before every view."""
    login_manager.session_protection = None  # addresses change; the epoch ends sessions
    login_manager.user_loader(_load_user)
    login_manager.request_loader(_load_bearer)
    app.before_request(guard)
