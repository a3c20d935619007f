"""The clusters' nodes and guests, as last polled."""

from typing import Any

from flask import Blueprint, Response, request

from app.domain.permissions import Permission
from app.extensions import db
from app.models import Guest, Storage
from app.routes.access import needs
from app.routes.api import page
from app.routes.parse import query
from app.schemas.accounts import PageQuery
from app.services import nodes
from app.services.nodes import NodeView

bp = Blueprint("api_nodes", __name__, url_prefix="/api")


@bp.get("/nodes")
@needs(Permission.VIEW)
def index() -> Response:
    wanted = query(PageQuery)
    return page(nodes.list_page(db.session(), wanted.limit, wanted.cursor), node_json)


@bp.get("/guests")
@needs(Permission.VIEW_ALL)
def guests() -> Response:
    known = {k: v for k, v in request.args.items() if k in ("limit", "cursor") and v}
    wanted = PageQuery.model_validate(known)
    found = nodes.guests_page(
        db.session(), request.args.get("node"), request.args.get("q"), wanted.limit, wanted.cursor
    )
    return page(found, guest_json)


def storage_json(storage: Storage) -> dict[str, Any]:
    return {
        "name": storage.name, "type": storage.kind, "shared": storage.shared, "active": storage.active,
        "images": storage.images, "content": [c for c in storage.content.split(",") if c],
        "total_gib": storage.total_gib, "used_gib": storage.used_gib, "free_gib": storage.free_gib,
    }  # fmt: skip


def node_json(view: NodeView) -> dict[str, Any]:
    node = view.node
    return {
        "name": node.name, "cluster": view.cluster.name, "status": "online" if node.online else "offline",
        "cores": node.cores, "cpu_percent": node.cpu_percent, "memory_mib": node.memory_mib,
        "memory_used_mib": node.memory_used_mib, "uptime_s": node.uptime_s, "guests": view.guests,
        "running": view.running, "storages": [storage_json(s) for s in view.storages],
        "bridges": [{"name": b.name, "vlan_aware": b.vlan_aware} for b in view.bridges], "version": node.version,
    }  # fmt: skip


def guest_json(guest: Guest) -> dict[str, Any]:
    return {
        "vmid": guest.vmid, "name": guest.name, "node": guest.node_name, "type": guest.kind, "status": guest.status,
        "lock": guest.lock, "cores": guest.cores, "memory_mib": guest.memory_mib, "disk_gib": guest.disk_gib,
        "tags": [t for t in guest.tags.replace(",", ";").split(";") if t], "ip_addresses": guest.ip_addresses,
        "uptime_s": guest.uptime_s,
    }  # fmt: skip
