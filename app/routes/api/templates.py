"""Templates: what servers can be made from."""

from typing import Any

from flask import Blueprint, Response, request

from app.domain.permissions import Permission
from app.extensions import db
from app.models import Template
from app.routes.access import current_actor, needs
from app.routes.api import answer, page
from app.routes.parse import json_body
from app.schemas.accounts import PageQuery
from app.services import templates
from app.services.uow import unit_of_work

bp = Blueprint("api_templates", __name__, url_prefix="/api/templates")


@bp.get("")
@needs(Permission.VIEW)
def index() -> Response:
    """Offered templates; `?all=1` shows those that are hidden too, to people who may offer them."""
    wanted = PageQuery.model_validate({k: v for k, v in request.args.items() if k in ("limit", "cursor") and v})
    everything = request.args.get("all") == "1" and current_actor().can(Permission.MANAGE_TEMPLATES)
    return page(
        templates.list_page(db.session(), wanted.limit, wanted.cursor, offered_only=not everything), template_json
    )


@bp.get("/<int:template_id>")
@needs(Permission.VIEW)
def show(template_id: int) -> Response:
    return answer(template_json(templates.get(db.session(), template_id)))


@bp.patch("/<int:template_id>")
@needs(Permission.MANAGE_TEMPLATES)
def change(template_id: int) -> Response:
    raw = json_body()
    with unit_of_work() as uow:
        template = templates.change(uow, current_actor(), template_id, raw)
    return answer(template_json(template))


def template_json(template: Template) -> dict[str, Any]:
    return {
        "id": template.id, "name": template.name, "vmid": template.vmid, "node": template.node_name,
        "family": template.family, "cores": template.cores, "memory_mib": template.memory_mib,
        "min_memory_mib": template.min_memory_mib, "disk_gib": template.disk_gib, "storage": template.storage,
        "agent": template.agent, "username": template.username, "offered": template.offered, "gone": template.gone,
    }  # fmt: skip
