"""Browser sessions in Redis (Flask-Session), made so that a Redis that is down harms nobody else.

A request with an API token, and a page that needs no session, never touches Redis. When Redis does not answer, the
session says so (`is_down`) instead of raising, and the guard in routes/access.py refuses what needs one.
"""

import hashlib
import time
from typing import Any

import msgspec
import redis
from flask import Flask, Request, Response
from flask_session.base import Serializer
from flask_session.redis.redis import RedisSession, RedisSessionInterface

from app.config import Settings

LIFETIME_S = 12 * 3600
REFRESH_S = 600  # a session that is used is written again so often, to live on
SEEN = "_seen"
WITHOUT_SESSION = ("/healthz", "/readyz", "/metrics", "/csp-report", "/static/")


class _Json(Serializer):
    """JSON and nothing else: Flask-Session's own would unpickle what it cannot read."""

    def decode(self, serialized_data: bytes) -> dict[str, Any]:
        try:
            return dict(msgspec.json.decode(serialized_data))
        except (msgspec.DecodeError, TypeError, ValueError):
            return {}

    def encode(self, session: Any) -> bytes:
        return msgspec.json.encode(dict(session))


class BrowserSession(RedisSession):
    """`is_down`: Redis did not answer. `is_absent`: this request has no session and gets none."""

    is_down = False
    is_absent = False

    @property
    def mark(self) -> str:
        """Return a name of this session that can be told to others; the id cannot be had from it."""
        return hashlib.sha256(self.sid.encode()).hexdigest()[:24]


def has_bearer(request: Request) -> bool:
    """True when the request carries an API token: then cookies do not count."""
    return request.headers.get("Authorization", "")[:7].lower() == "bearer "


class BrowserSessions(RedisSessionInterface):
    """Open, refresh and rotate sessions; see the module."""

    session_class = BrowserSession

    def __init__(self, app: Flask, client: "redis.Redis") -> None:
        super().__init__(app, client, key_prefix="tpm:session:", permanent=True, sid_length=32)
        self.serializer = _Json()

    def get_cookie_secure(self, app: Flask) -> bool:
        """Mark the cookie `Secure` whenever it goes over TLS, also where only a proxy elsewhere knows that it does."""
        from flask import request  # noqa: PLC0415 - only inside a request

        return bool(request.is_secure or super().get_cookie_secure(app))

    def open_session(self, app: Flask, request: Request) -> BrowserSession:
        if has_bearer(request) or request.path.startswith(WITHOUT_SESSION):
            session = self.session_class(sid="")
            session.is_absent = True
            return session
        try:
            session = super().open_session(app, request)
        except redis.RedisError:
            session = self.session_class(sid="")
            session.is_down = True
        return session

    def save_session(self, app: Flask, session: BrowserSession, response: Response) -> None:
        if session.is_absent or session.is_down:
            return
        now = int(time.time())
        if session and now - session.get(SEEN, 0) > REFRESH_S:
            session[SEEN] = now
        try:
            super().save_session(app, session, response)
        except redis.RedisError:
            # What the view just did (a sign-in) would be forgotten at once: the next request says so.
            app.logger.warning("session_not_saved")

    def rotate(self, session: BrowserSession) -> None:
        """Empty the session and give it a new id; Flask-Session's own does nothing to an empty one."""
        self._delete_session(self._get_store_id(session.sid))
        session.clear()
        session.sid = self._generate_sid(self.sid_length)

    def should_set_storage(self, app: Flask, session: BrowserSession) -> bool:
        return bool(session.modified)

    def should_set_cookie(self, app: Flask, session: BrowserSession) -> bool:
        return bool(session.modified)


def init_app(app: Flask, settings: Settings) -> None:
    """Give the application its sessions. The cookie is named after the port: cookies know no ports."""
    app.config.update(
        SESSION_COOKIE_NAME=f"tpm_session_{settings.port}",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.public_url.startswith("https://"),
        PERMANENT_SESSION_LIFETIME=LIFETIME_S,
    )
    client = redis.Redis.from_url(settings.redis_url, socket_timeout=1.0, socket_connect_timeout=1.0, retry=None)
    app.session_interface = BrowserSessions(app, client)
