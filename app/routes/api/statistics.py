"""Figures of the whole; each says when it was computed and where it was found."""

from typing import Any

from flask import Blueprint, Response

from app.domain.permissions import Permission
from app.extensions import db
from app.routes.access import current_actor, needs
from app.routes.api import answer
from app.services import statistics
from app.services.statistics import Part

bp = Blueprint("api_statistics", __name__, url_prefix="/api/statistics")


@bp.get("")
@needs(Permission.VIEW)
def index() -> Response:
    return answer(_told(*Part))


@bp.get("/recent_runnings")
@needs(Permission.VIEW)
def recent_runnings() -> Response:
    return answer(_told(Part.RUNNING, Part.RECENT))


def _told(*parts: Part) -> dict[str, Any]:
    found = {part: statistics.read(db.session(), current_actor(), part) for part in parts}
    return {
        **{part.value: f.data for part, f in found.items()}, "computed_at": {part.value: f.at for part, f in found.items()},
        "source": {part.value: f.source.value for part, f in found.items()},
    }  # fmt: skip
