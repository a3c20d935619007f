"""What every answer gets: a request id, security headers, compression, its line in the log; and static files."""

import gzip
import re
import secrets
import time
from contextlib import ExitStack
from datetime import timedelta
from functools import cache, lru_cache
from pathlib import Path

import structlog
from babel import Locale
from flask import Flask, Response, g, has_request_context, request
from flask_babel import get_locale
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header
from whitenoise import WhiteNoise

from app import metrics, tracing
from app.log import get_logger
from app.services.users import LANGUAGES

log = get_logger(__name__)
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    "worker-src 'self'; manifest-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "object-src 'none'; report-uri /csp-report"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
COMPRESSED = ("text/html", "application/json", "application/problem+json", "text/plain")
WORTH_COMPRESSING = 1400
LANGUAGE_COOKIE = "tpm_language"
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{8,64}")
_HASHED = re.compile(r"[.-][0-9A-Za-z_-]{8,}\.[a-z0-9.]+$")
SLOW_S = 1.0
# Of a body that is too large, or of a request that is refused, so much is taken in and thrown away.
UNWANTED, PIECE = 16 * 1024 * 1024, 64 * 1024


# Parsed once: Babel looks for a language's file each time.
_parsed = cache(Locale.parse)


def locale() -> Locale:
    """Return the language of this answer: the user's setting, the choice of this browser, what it accepts, English."""
    return _parsed(_language())


def _language() -> str:
    if not has_request_context():
        return "en"
    user = g.get("_login_user")
    chosen = getattr(user, "language", None) or request.cookies.get(LANGUAGE_COOKIE)
    if chosen in LANGUAGES:
        return str(chosen)
    return _accepted(request.headers.get("Accept-Language", ""))


@lru_cache(1000)
def _accepted(header: str) -> str:
    return parse_accept_header(header, LanguageAccept).best_match(LANGUAGES) or "en"


def _begin() -> None:
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
    g.began = time.perf_counter()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)
    g.traced = ExitStack()
    rule = request.url_rule.rule if request.url_rule else "none"
    g.traced.enter_context(tracing.span(f"{request.method} {rule}", request.headers.get("traceparent", ""), request_id=g.request_id))


def _compress(response: Response) -> None:
    if (
        response.mimetype in COMPRESSED
        and not response.is_streamed
        and not response.direct_passthrough
        and "Content-Encoding" not in response.headers
        and (response.content_length or 0) > WORTH_COMPRESSING
    ):
        response.vary.add("Accept-Encoding")
        if request.accept_encodings["gzip"] > 0:
            response.set_data(gzip.compress(response.get_data(), 5, mtime=0))
            response.headers["Content-Encoding"] = "gzip"


def _read_rest() -> None:
    """Take in what is still to come of a body that nobody wanted: a connection that is closed on it takes the answer along."""
    if not request.content_length and "Transfer-Encoding" not in request.headers:
        return
    source, left = request.environ["wsgi.input"], UNWANTED
    try:
        while left > 0 and (piece := source.read(min(left, PIECE))):
            left -= len(piece)
    except Exception as exc:  # noqa: BLE001 - the web server's own, of a client that went or sent nonsense; the answer stands
        log.info("body_not_read", reason=type(exc).__name__)


def _end(response: Response) -> Response:
    _read_rest()
    given = {name.lower() for name, _ in response.headers}
    for name, value in HEADERS.items():
        if name.lower() not in given:
            response.headers.add(name, value)
    if response.mimetype == "text/html" or request.path.startswith("/api"):
        response.headers.setdefault("Cache-Control", "no-store")
    if response.mimetype == "text/html":
        response.headers.setdefault("Content-Language", str(get_locale() or "en"))
    elapsed = time.perf_counter() - g.get("began", time.perf_counter())
    response.headers["X-Request-ID"] = g.get("request_id", "")
    _compress(response)
    if traced := g.pop("traced", None):
        traced.close()
    metrics.observe(request.endpoint or "none", request.method, response.status_code, elapsed)
    if response.status_code >= 500 or elapsed > SLOW_S:
        log.info(
            "request", method=request.method, path=request.path, status=response.status_code, ms=round(elapsed * 1000)
        )
    return response


def init_app(app: Flask) -> None:
    """Put these before and after every request. Call before anything else registers a `before_request`."""
    app.before_request(_begin)
    app.after_request(_end)


def serve_static(app: Flask, folder: Path) -> None:
    """Serve the built assets; names carry a hash, so they are cached for ever. Without a build nothing is served."""
    if folder.is_dir():
        app.wsgi_app = WhiteNoise(  # type: ignore[method-assign]
            app.wsgi_app,
            root=str(folder),
            prefix="static/",
            max_age=timedelta(minutes=1),
            immutable_file_test=lambda _path, url: bool(_HASHED.search(url)),
            add_headers_function=_static_headers,
        )


def _static_headers(headers: "dict[str, str]", _path: str, _url: str) -> None:
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
