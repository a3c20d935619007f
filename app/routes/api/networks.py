"""Networks."""

from typing import Any

from flask import Blueprint, Response
from sqlalchemy.orm import Session

from app.domain.permissions import Permission
from app.extensions import db
from app.models import Network
from app.routes.access import current_actor, needs
from app.routes.api import answer, page
from app.routes.parse import json_body, query
from app.schemas.accounts import PageQuery
from app.services import clusters, networks
from app.services.uow import unit_of_work

bp = Blueprint("api_networks", __name__, url_prefix="/api/networks")


@bp.get("")
@needs(Permission.VIEW)
def index() -> Response:
    wanted = query(PageQuery)
    session = db.session()
    return page(networks.list_page(session, wanted.limit, wanted.cursor), lambda n: network_json(session, n))


@bp.post("")
@needs(Permission.MANAGE_NETWORKS)
def create() -> Response:
    raw = json_body()
    with unit_of_work() as uow:
        network = networks.create(uow, current_actor(), raw)
        shown = network_json(uow.session, network)
    return answer(shown, 201, location=f"/api/networks/{network.id}")


@bp.get("/<int:network_id>")
@needs(Permission.VIEW)
def show(network_id: int) -> Response:
    session = db.session()
    return answer(network_json(session, networks.get(session, network_id)))


@bp.patch("/<int:network_id>")
@needs(Permission.MANAGE_NETWORKS)
def change(network_id: int) -> Response:
    raw = json_body()
    with unit_of_work() as uow:
        network = networks.change(uow, current_actor(), network_id, raw)
        shown = network_json(uow.session, network)
    return answer(shown)


@bp.delete("/<int:network_id>")
@needs(Permission.MANAGE_NETWORKS)
def delete(network_id: int) -> Response:
    with unit_of_work() as uow:
        networks.delete(uow, current_actor(), network_id)
    return answer({"success": True})


def network_json(session: Session, network: Network) -> dict[str, Any]:
    use = networks.usage(session, network)
    return {
        "id": network.id, "cluster": clusters.get(session, network.cluster_id).name, **networks.as_input(network),
        "usage": {"used": use.used, "reserved": use.reserved, "free": use.free, "total": use.total},
    }  # fmt: skip
