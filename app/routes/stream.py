"""Server-Sent Events: everything the reader may see, notifications alone, and the log of one run."""

from collections.abc import Callable, Iterable

from flask import Blueprint, Flask, Response, current_app, g, request
from redis.exceptions import RedisError
from sqlalchemy.orm import Session

from app import metrics
from app.domain.permissions import Permission, allows
from app.domain.run_state import FINAL
from app.extensions import db
from app.models import User
from app.routes.access import browser_session, current_actor, open_to_all, user_or_none
from app.services import runs, users
from app.streaming.broker import TYPES, Broker, Client, Rights
from app.streaming.feed import Feed
from app.streaming.log_feed import LogFeed, Piece

bp = Blueprint("stream", __name__)
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
CHUNK = 256 * 1024
ENDS_STREAM = "answers 204 to somebody who is not signed in: that ends an EventSource for good"


def broker() -> Broker:
    """Return this process's broker."""
    made: Broker = current_app.extensions["broker"]
    return made


def stream_head() -> str:
    """Return the newest event's id for a page to connect from; empty when Redis does not answer."""
    try:
        return broker().head()
    except RedisError:
        return ""


def client_of(user: User, topics: frozenset[str]) -> Client:
    """Return a client for this request's user, session or token, and socket."""
    token_id = g.get("api_token_id")
    return Client(
        user_id=user.id,
        topics=topics,
        epoch=user.session_epoch,
        session_mark="" if token_id else browser_session().mark,
        token_id=token_id,
        sock=request.environ.get("gunicorn.socket"),
    )


def _topics(text: str) -> frozenset[str]:
    wanted = frozenset(t for t in (part.strip() for part in text.split(",")) if t.partition(":")[0] in TYPES)
    return wanted or TYPES


def _open(topics: frozenset[str], feed: Callable[[Broker, Client], Iterable[bytes]]) -> Response:
    """Subscribe, then make the feed: nothing falls between the two. No database connection is kept."""
    user = user_or_none()
    if user is None or request.method == "HEAD":
        return Response(status=204)
    client, one = client_of(user, topics), broker()
    try:
        if not one.subscribe(client):
            one.unsubscribe(client)
            return Response(status=204)
        made = feed(one, client)
    except BaseException:
        one.unsubscribe(client)
        raise
    finally:
        db.session.remove()
    # Passed straight through: werkzeug's wrapping costs a tenth of a delivery.
    return Response(made, mimetype="text/event-stream", headers=HEADERS, direct_passthrough=True)


def _stream(topics: frozenset[str]) -> Response:
    last = request.headers.get("Last-Event-ID") or request.args.get("last")
    return _open(topics, lambda one, client: Feed(one, client, one.replay(client, last)))


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 16 else 0


@bp.get("/api/stream")
@open_to_all(ENDS_STREAM)
def events() -> Response:
    return _stream(_topics(request.args.get("topics", "")))


@bp.get("/api/notifications/stream")
@open_to_all(ENDS_STREAM)
def notifications() -> Response:
    return _stream(frozenset({"notification"}))


@bp.get("/api/runs/<int:run_id>/log/stream")
@open_to_all(ENDS_STREAM)
def run_log(run_id: int) -> Response:
    user, app = user_or_none(), current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
    if user is None:
        return Response(status=204)
    actor = current_actor()
    runs.get(db.session(), actor, run_id)

    def read(offset: int) -> Piece:
        with app.app_context(), Session(db.engine) as session:
            run = runs.get(session, actor, run_id)
            # The state first: what was written before a final state is in the text read after it.
            state = run.state
            text, end = runs.log_text(session, run, offset, CHUNK)
            return Piece(text, end, state.value if state in FINAL else None)

    begin = _number(request.headers.get("Last-Event-ID") or request.args.get("offset"))
    topics = frozenset({f"log:{run_id}", f"run:{run_id}"})
    return _open(topics, lambda one, client: LogFeed(one, client, read, begin))


def init_app(app: Flask) -> None:
    """Make the broker (it reads nothing until the first client comes), and offer `stream_head()` and `stream_types` to templates."""

    def read_rights(user_id: int) -> Rights | None:
        with app.app_context(), Session(db.engine) as session:
            row = session.execute(users.stream_rights(user_id)).one_or_none()
            return (
                Rights(row.session_epoch, allows(row.role, Permission.VIEW_ALL), frozenset(row.tokens)) if row else None
            )

    app.extensions["broker"] = Broker(app.extensions["settings"].redis_url, read_rights, metrics.streams)
    app.jinja_env.globals.update(stream_head=stream_head, stream_types=sorted(TYPES))
