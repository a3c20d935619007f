"""The clusters: what Proxmox reports of nodes, storages and guests, and what it works on."""

from typing import Any

from flask import Blueprint, Response, make_response, render_template, request
from flask_babel import LazyString
from flask_babel import lazy_gettext as _l

from app.domain.permissions import Permission
from app.errors import AppError
from app.extensions import db
from app.messages import hint_of, text_of
from app.routes.access import current_actor, needs
from app.routes.forms import is_partial
from app.services import cluster_tasks, clusters, nodes, overview, unmanaged

bp = Blueprint("nodes", __name__)
WHOSE = {"managed": True, "foreign": False}
# Proxmox's names of what a task does, in words; of those that are not here its own name is shown.
TASKS: dict[str, LazyString] = {
    "qmclone": _l("Clone"), "qmcreate": _l("Create VM"), "qmconfig": _l("Change settings"), "qmstart": _l("Start"), "qmshutdown": _l("Shut down"), "qmstop": _l("Stop"),
    "qmreboot": _l("Reboot"), "qmreset": _l("Reset"), "qmdestroy": _l("Delete"), "qmigrate": _l("Migrate"), "qmmove": _l("Move disk"), "resize": _l("Grow disk"),
    "qmsnapshot": _l("Make snapshot"), "qmdelsnapshot": _l("Delete snapshot"), "qmrollback": _l("Roll back"), "qmtemplate": _l("Make template"), "vzdump": _l("Backup"),
    "vncproxy": _l("Console"), "vncshell": _l("Console"), "aptupdate": _l("Read package lists"), "imgcopy": _l("Upload"), "srvreload": _l("Reload service"),
}  # fmt: skip


@bp.get("/nodes")
@needs(Permission.VIEW)
def index() -> Response:
    return _render("nodes/index.html", unmanaged=unmanaged.count(db.session()))


@bp.get("/nodes/_body")
@needs(Permission.VIEW)
def body() -> Response:
    return _render("nodes/_body.html")


def _render(template: str, **more: Any) -> Response:
    return make_response(render_template(template, clusters=overview.cluster_views(db.session(), current_actor()), **more))


@bp.get("/nodes/guests")
@needs(Permission.VIEW_ALL)
def guests() -> Response:
    args, session = request.args, db.session()
    whose, node, q = args.get("whose", ""), args.get("node") or None, args.get("q", "").strip()[:100] or None
    found = nodes.guests_page(session, node, q, 50, args.get("cursor"), WHOSE.get(whose))
    shown: dict[str, Any] = {
        "page": found, "ours": nodes.servers_of(session, found.items), "older": unmanaged.known(session, found.items), "whose": whose, "filtered": bool(whose or node or q or args.get("cursor")),
        "clusters": {c.id: c.name for c in clusters.connected(session)},
    }  # fmt: skip
    if not is_partial():
        shown |= {"counts": nodes.guest_counts(session), "nodes": sorted({v.node.name for v in nodes.all_nodes(session)})}
    response = make_response(render_template("nodes/_guests.html" if is_partial() else "nodes/guests.html", **shown))
    response.vary.add("HX-Request")
    return response


@bp.get("/nodes/unmanaged")
@needs(Permission.VIEW)
def unmanaged_servers() -> Response:
    """What came over from the older application and is not managed here yet."""
    args, session = request.args, db.session()
    q = args.get("q", "").strip()[:100] or None
    found = unmanaged.list_page(session, q, 50, args.get("cursor"))
    ours = nodes.servers_of(session, [entry.guest for entry in found.items if entry.guest])
    shown: dict[str, Any] = {"page": found, "ours": ours, "filtered": bool(q or args.get("cursor")), "total": None if is_partial() else unmanaged.count(session)}
    response = make_response(render_template("nodes/_unmanaged.html" if is_partial() else "nodes/unmanaged.html", **shown))
    response.vary.add("HX-Request")
    return response


@bp.get("/nodes/tasks/<int:cluster_id>")
@needs(Permission.VIEW_ALL)
def tasks(cluster_id: int) -> Response:
    """What a cluster has worked on lately; asked of Proxmox after the page is there."""
    actor, session, show = current_actor(), db.session(), request.args.get("show", "")
    shown: dict[str, Any] = {"cluster": clusters.get(session, cluster_id), "show": show, "words": TASKS, "found": [], "trouble": ""}
    name = shown["cluster"].name
    try:
        shown["found"] = cluster_tasks.recent(session, actor, cluster_id, show)
    except AppError as exc:
        shown["trouble"] = f"{text_of(exc.code, exc.args_)} {hint_of(exc.code, exc.args_)}".strip()
    response = make_response(render_template("nodes/_tasks.html" if is_partial() else "nodes/tasks.html", **shown, name=name))
    response.vary.add("HX-Request")
    return response


@bp.get("/nodes/tasks/<int:cluster_id>/log")
@needs(Permission.VIEW_ALL)
def task_log(cluster_id: int) -> Response:
    upid = request.args.get("upid", "")
    lines = cluster_tasks.log(db.session(), current_actor(), cluster_id, upid)
    return make_response(render_template("nodes/task_log.html", lines=lines, upid=upid, cluster_id=cluster_id))
