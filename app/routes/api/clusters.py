"""Clusters: connecting, testing, changing and removing them. A stored secret is never told."""

from typing import Any

from flask import Blueprint, Response

from app.domain.permissions import Permission
from app.extensions import db
from app.messages import hint_of, text_of
from app.models import Cluster
from app.routes.access import current_actor, needs
from app.routes.api import answer, page
from app.routes.parse import json_body, query
from app.schemas.accounts import PageQuery
from app.services import cluster_connection, clusters
from app.services.uow import unit_of_work

bp = Blueprint("api_clusters", __name__, url_prefix="/api/clusters")


@bp.get("")
@needs(Permission.VIEW)
def index() -> Response:
    wanted = query(PageQuery)
    may_manage = current_actor().can(Permission.MANAGE_CLUSTERS)
    return page(clusters.list_page(db.session(), wanted.limit, wanted.cursor), lambda c: cluster_json(c, may_manage))


@bp.post("")
@needs(Permission.MANAGE_CLUSTERS)
def create() -> Response:
    raw = json_body()
    with unit_of_work() as uow:
        cluster = clusters.create(uow, current_actor(), raw)
    return answer(cluster_json(cluster, True), 201, location=f"/api/clusters/{cluster.id}")


@bp.post("/test")
@needs(Permission.MANAGE_CLUSTERS)
def test() -> Response:
    """Try a connection before it is saved; 200 also when it does not work: the answer says why."""
    return _test(json_body(), None)


@bp.get("/<int:cluster_id>")
@needs(Permission.VIEW)
def show(cluster_id: int) -> Response:
    cluster = clusters.get(db.session(), cluster_id)
    return answer(cluster_json(cluster, current_actor().can(Permission.MANAGE_CLUSTERS)))


@bp.patch("/<int:cluster_id>")
@needs(Permission.MANAGE_CLUSTERS)
def change(cluster_id: int) -> Response:
    raw = json_body()
    with unit_of_work() as uow:
        cluster = clusters.change(uow, current_actor(), cluster_id, raw)
    return answer(cluster_json(cluster, True))


@bp.post("/<int:cluster_id>/test")
@needs(Permission.MANAGE_CLUSTERS)
def test_saved(cluster_id: int) -> Response:
    return _test(json_body(optional=True), cluster_id)


@bp.delete("/<int:cluster_id>")
@needs(Permission.MANAGE_CLUSTERS)
def delete(cluster_id: int) -> Response:
    with unit_of_work() as uow:
        clusters.delete(uow, current_actor(), cluster_id)
    return answer({"success": True})


def _test(raw: dict[str, Any], cluster_id: int | None) -> Response:
    actor = current_actor()
    result = cluster_connection.test_connection(db.session(), actor, raw, cluster_id)
    with unit_of_work() as uow:
        cluster_connection.audit_test(uow, actor, str(result.args.get("endpoint", "")), result)
    return answer({
        "success": result.ok, "code": result.code, "args": result.args, "message": text_of(result.code, result.args),
        "hint": hint_of(result.code, result.args), "version": result.release, "nodes": list(result.nodes),
    })  # fmt: skip


def cluster_json(cluster: Cluster, may_manage: bool) -> dict[str, Any]:
    online = cluster.status == "online"
    shown = {
        "id": cluster.id, "name": cluster.name, "status": cluster.status, "version": cluster.release,
        "message": "" if online else text_of(cluster.status, cluster.status_args), "polled_at": cluster.polled_at,
        "embedded": cluster.embedded, "vmid_low": cluster.vmid_low, "vmid_high": cluster.vmid_high,
    }  # fmt: skip
    if may_manage:
        shown |= {"endpoint": cluster.endpoint, "auth_id": cluster.auth_id, "fingerprint": cluster.fingerprint,
                  "ca": cluster.ca_pem is not None}  # fmt: skip
    return shown
