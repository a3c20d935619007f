"""Health for machines: is the process up, can it work, and what do the figures say."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from flask import Blueprint, Response, current_app, request
from redis.exceptions import RedisError
from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app import metrics
from app.adapters import broker, crypto
from app.config import Settings
from app.domain.permissions import Permission
from app.errors import AppError, Forbidden, Unauthenticated
from app.extensions import db
from app.log import get_logger
from app.models import Cluster
from app.routes.access import LOOPBACK, client_address, current_actor, open_to_all
from app.services import figures as asked
from app.services import settings as stored
from app.session_store import has_bearer
from app.streaming import events

log = get_logger(__name__)
bp = Blueprint("health", __name__)
NEEDED = ("database", "keys")
SWEEPER_KEY = "sweeper.last_tick"
SWEEPER_LATE = timedelta(seconds=20)
PROBE = b"readyz"


@bp.get("/healthz")
@open_to_all("load balancers ask whether the process answers")
def healthz() -> Response:
    return Response("ok\n", mimetype="text/plain")


def _database() -> str:
    with Session(db.engine) as session:
        session.execute(text("select 1"))
    return ""


def _keys() -> str:
    settings: Settings = current_app.extensions["settings"]
    if not settings.secret_key.get_secret_value() or not settings.encryption_keys:
        raise RuntimeError("SECRET_KEY or ENCRYPTION_KEYS is missing")
    crypto.decrypt(crypto.encrypt(PROBE))
    return ""


def _redis() -> str:
    events.client().ping()
    return ""


def _broker() -> str:
    broker.ping()
    return ""


def _workers() -> str:
    with Session(db.engine) as session:
        at = stored.read_value(session, SWEEPER_KEY).get("at")
    if at is None:
        raise RuntimeError("no worker has reported yet")
    late = datetime.now(UTC) - datetime.fromisoformat(str(at))
    if late > SWEEPER_LATE:
        raise RuntimeError(f"the sweeper last ran {round(late.total_seconds())} s ago: is a worker running?")
    return ""


def _terraform() -> str:
    from app.adapters.terraform import binary  # noqa: PLC0415 - looked for when asked

    settings: Settings = current_app.extensions["settings"]
    found = binary.find_terraform(settings)
    return f"{found.flavour} {found.version}"


def _provider() -> str:
    from app.adapters.terraform import binary, provider  # noqa: PLC0415

    settings: Settings = current_app.extensions["settings"]
    provider.find_provider(binary.find_terraform(settings), settings)
    return provider.VERSION


def _cluster() -> str:
    with Session(db.engine) as session:
        rows = session.execute(select(Cluster.name, Cluster.status).where(Cluster.enabled)).all()
    if not rows:
        raise RuntimeError("no cluster is connected")
    if troubled := [f"{name}: {status}" for name, status in rows if status != "online"]:
        raise RuntimeError(", ".join(troubled))
    return ", ".join(name for name, _ in rows)


CHECKS: dict[str, Callable[[], str]] = {
    "database": _database, "keys": _keys, "redis": _redis, "broker": _broker, "workers": _workers,
    "terraform": _terraform, "provider": _provider, "cluster": _cluster,
}  # fmt: skip


def _check(name: str) -> dict[str, object]:
    try:
        return {"name": name, "ok": True, "detail": CHECKS[name]()}
    except (RuntimeError, AppError) as exc:
        return {"name": name, "ok": False, "detail": str(exc)}
    except (SQLAlchemyError, RedisError, OSError, ValueError, ImportError) as exc:
        # Open to all: the kind of trouble, never an address or a statement.
        return {"name": name, "ok": False, "detail": type(exc).__name__}


@bp.get("/readyz")
@open_to_all("load balancers ask whether work can be sent here")
def readyz() -> Response:
    found = [_check(name) for name in CHECKS]
    ready = all(check["ok"] for check in found if check["name"] in NEEDED)
    status = 200 if ready else 503
    response = Response(json.dumps({"ok": ready, "checks": found}), status, mimetype="application/json")
    if not ready:
        response.headers["Retry-After"] = "5"
    return response


@bp.get("/metrics")
@open_to_all("loopback may read the figures; anybody else needs a token")
def figures() -> Response:
    if has_bearer(request):
        if not current_actor().can(Permission.VIEW_ALL):
            raise Forbidden(permission=Permission.VIEW_ALL.value)
    elif client_address() not in LOOPBACK:
        raise Unauthenticated
    with Session(db.engine) as session:
        found = asked.read(session)
    return Response(metrics.render(metrics.Asked(found)), content_type="text/plain; version=0.0.4; charset=utf-8")
