"""Networks: where servers get their addresses."""

from typing import Any

from flask import Blueprint, Response, jsonify, make_response, render_template, request, url_for
from flask_babel import gettext as _

from app.domain.permissions import Permission
from app.errors import Invalid
from app.extensions import db
from app.models import Network
from app.routes.access import current_actor, needs
from app.routes.forms import done, is_partial, messages, number, page
from app.schemas.page import MAX_LIMIT
from app.services import address_map, clusters, networks, overview, servers
from app.services.uow import unit_of_work

bp = Blueprint("networks", __name__)
FIELDS = ("name", "cluster", "bridge", "vlan", "cidr", "gateway", "range_low", "range_high", "dns_servers", "dns_domain")
KINDS = ("used", "guest", "reserved", "gateway", "never")
LISTED = 1000  # in the table of what is not free


@bp.get("/networks")
@needs(Permission.VIEW)
def index() -> Response:
    session = db.session()
    names = {c.id: c.name for c in clusters.connected(session)}
    word, cluster = request.args.get("q", "").strip(), request.args.get("cluster", type=int)
    every = networks.list_page(session, MAX_LIMIT).items
    found = [n for n in every if networks.has(n, word) and cluster in (None, n.cluster_id)]
    usages = networks.usages(session, found)
    rows = [(n, usages[n.id], names.get(n.cluster_id, "")) for n in found]
    return make_response(render_template("networks/index.html", rows=rows, total=len(every), word=word, cluster=cluster, clusters=names))


@bp.get("/networks/<int:network_id>/map")
@needs(Permission.VIEW)
def show_map(network_id: int) -> Response:
    """Which addresses of a network are used, by whom, and which are free."""
    session, actor = db.session(), current_actor()
    network = networks.get(session, network_id)
    found = address_map.read(session, network, request.args.get("first", ""), request.args.get("last", ""))
    kind = request.args.get("kind", "")
    taken = [c for c in found.taken if c.kind == kind] if kind in KINDS else found.taken
    # What others' servers are called is for those who may see everything.
    names = {c.who for c in found.cells or taken[:LISTED] if c.kind == "used" and c.who}
    shown = {
        "network": network, "map": found, "use": networks.usage(session, network), "seen": servers.seen_names(session, actor, names),
        "taken": taken[:LISTED], "more": len(taken[LISTED:]), "kind": kind if kind in KINDS else "", "kinds": KINDS,
    }  # fmt: skip
    response = make_response(render_template("networks/_map.html" if is_partial() else "networks/map.html", **shown))
    response.vary.add("HX-Request")
    return response


def _data() -> dict[str, Any]:
    """Return the body that the form stands for."""
    data: dict[str, Any] = {name: request.form.get(name, "") for name in FIELDS if name in request.form}
    if "vlan" in data:
        data["vlan"] = number(data["vlan"])
    if not data.get("cluster"):
        data.pop("cluster", None)
    return {**data, "is_default": "is_default" in request.form}


def _messages(exc_errors: list[Any]) -> dict[str, str]:
    return messages(exc_errors, lambda f: f.partition(".")[0], FIELDS)


def _form(form: dict[str, Any], network: Network | None, errors: dict[str, str] | None = None) -> Response:
    session = db.session()
    return page(
        "networks/form.html", form=form, errors=errors or {}, network=network,
        in_use=networks.servers_on(session, network) if network else 0,
        clusters=[(c.name, c.name) for c in clusters.connected(session)], bridges=overview.bridge_names(session),
    )  # fmt: skip


@bp.get("/networks/new")
@needs(Permission.MANAGE_NETWORKS)
def new() -> Response:
    return _form({}, None)


@bp.post("/networks/new")
@needs(Permission.MANAGE_NETWORKS)
def create() -> Response:
    try:
        with unit_of_work() as uow:
            network = networks.create(uow, current_actor(), _data())
    except Invalid as exc:
        return _form(_data(), None, _messages(exc.errors))
    return done(_("Network %(name)s is added.", name=network.name), url_for(".index"))


@bp.post("/networks/check")
@needs(Permission.MANAGE_NETWORKS)
def check() -> Response:
    """Live check of the form, of a new network or (`network_id`) of a known one."""
    known = request.args.get("network_id", type=int)
    network = networks.get(db.session(), known) if known else None
    return jsonify(errors=_messages(networks.check(db.session(), _data(), network)))


@bp.get("/networks/<int:network_id>")
@needs(Permission.MANAGE_NETWORKS)
def edit(network_id: int) -> Response:
    network = networks.get(db.session(), network_id)
    form = {k: "" if v is None else v for k, v in networks.as_input(network).items()}
    return _form({**form, "dns_servers": " ".join(network.dns_servers)}, network)


@bp.post("/networks/<int:network_id>")
@needs(Permission.MANAGE_NETWORKS)
def change(network_id: int) -> Response:
    try:
        with unit_of_work() as uow:
            network = networks.change(uow, current_actor(), network_id, _data())
    except Invalid as exc:
        return _form(_data(), networks.get(db.session(), network_id), _messages(exc.errors))
    return done(_("Network %(name)s is changed.", name=network.name), url_for(".index"))


@bp.post("/networks/<int:network_id>/delete")
@needs(Permission.MANAGE_NETWORKS)
def delete(network_id: int) -> Response:
    with unit_of_work() as uow:
        networks.delete(uow, current_actor(), network_id)
    return done(_("The network is deleted."), url_for(".index"))
