"""What a server used, from Proxmox's records."""

from dataclasses import asdict

from flask import Blueprint, Response

from app.domain.permissions import Permission
from app.extensions import db
from app.routes.access import current_actor, needs
from app.routes.api import answer
from app.routes.parse import query
from app.schemas.usage import UsageQuery
from app.services import usage

bp = Blueprint("api_usage", __name__, url_prefix="/api/servers/<name>/usage")


@bp.get("")
@needs(Permission.VIEW)
def show(name: str) -> Response:
    found = usage.read(db.session(), current_actor(), name, query(UsageQuery).timeframe)
    return answer({"timeframe": found.timeframe, "points": [asdict(point) for point in found.points]})
