"""Health for machines: is the process up, can it work, and what do the figures say."""

import json

from flask import Blueprint, Response, request
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app import metrics
from app.domain.permissions import Permission
from app.errors import AppError, Forbidden, Unauthenticated
from app.extensions import db
from app.log import get_logger
from app.routes.access import LOOPBACK, client_address, current_actor, open_to_all
from app.services import figures as asked
from app.services import health
from app.session_store import has_bearer

log = get_logger(__name__)
bp = Blueprint("health", __name__)


@bp.get("/healthz")
@open_to_all("load balancers ask whether the process answers")
def healthz() -> Response:
    return Response("ok\n", mimetype="text/plain")


def _check(name: str) -> dict[str, object]:
    try:
        return {"name": name, "ok": True, "detail": health.CHECKS[name]()}
    except (health.Unhealthy, AppError) as exc:
        return {"name": name, "ok": False, "detail": str(exc)}
    except (SQLAlchemyError, RedisError, OSError, ValueError, ImportError) as exc:
        # Open to all: the kind of trouble, never an address or a statement.
        return {"name": name, "ok": False, "detail": type(exc).__name__}


@bp.get("/readyz")
@open_to_all("load balancers ask whether work can be sent here")
def readyz() -> Response:
    found = [_check(name) for name in health.CHECKS]
    ready = all(check["ok"] for check in found if check["name"] in health.NEEDED)
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
