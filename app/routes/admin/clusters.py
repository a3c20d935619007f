"""Clusters: connect, test, change, disconnect."""

from typing import Any

from flask import Blueprint, Response, make_response, render_template, request, url_for
from flask_babel import gettext as _

from app.domain.permissions import Permission
from app.errors import FieldError, Invalid
from app.extensions import db
from app.models import Cluster
from app.routes.access import current_actor, needs
from app.routes.forms import done, messages, number, page
from app.schemas.page import MAX_LIMIT
from app.services import cluster_connection, clusters
from app.services.cluster_connection import TestResult
from app.services.uow import unit_of_work

bp = Blueprint("admin_clusters", __name__, url_prefix="/admin/clusters")
FIELDS = ("name", "endpoint", "auth_id", "secret", "ca_pem", "fingerprint", "vmid_low", "vmid_high")


@bp.get("")
@needs(Permission.MANAGE_CLUSTERS)
def index() -> Response:
    session = db.session()
    servers = clusters.servers_by_cluster(session)
    rows = [(c, servers.get(c.id, 0)) for c in clusters.list_page(session, MAX_LIMIT).items]
    return make_response(render_template("admin/clusters.html", rows=rows))


def _data() -> dict[str, Any]:
    """Return the body that the form stands for."""
    data: dict[str, Any] = {name: request.form.get(name, "") for name in FIELDS}
    return data | {name: "" if (value := number(data[name])) is None else value for name in ("vmid_low", "vmid_high")}


def _form(form: dict[str, Any], cluster: Cluster | None, faults: list[FieldError] | None = None, test: TestResult | None = None) -> Response:
    errors = messages(faults or [], fields=FIELDS)
    return page("admin/cluster_form.html", form={**form, "secret": ""}, errors=errors, cluster=cluster, test=test)


def _known(cluster_id: int) -> Cluster:
    return clusters.get(db.session(), cluster_id)


@bp.get("/new")
@needs(Permission.MANAGE_CLUSTERS)
def new() -> Response:
    return _form({"vmid_low": 200, "vmid_high": 8999}, None)


@bp.post("/new")
@needs(Permission.MANAGE_CLUSTERS)
def create() -> Response:
    try:
        with unit_of_work() as uow:
            cluster = clusters.create(uow, current_actor(), _data())
    except Invalid as exc:
        return _form(_data(), None, exc.errors)
    return done(_("Cluster %(name)s is connected; its nodes are being read.", name=cluster.name), url_for("nodes.index"))


@bp.get("/<int:cluster_id>")
@needs(Permission.MANAGE_CLUSTERS)
def edit(cluster_id: int) -> Response:
    cluster = _known(cluster_id)
    return _form({k: "" if v is None else v for k, v in clusters.as_input(cluster).items()}, cluster)


@bp.post("/<int:cluster_id>")
@needs(Permission.MANAGE_CLUSTERS)
def change(cluster_id: int) -> Response:
    try:
        with unit_of_work() as uow:
            cluster = clusters.change(uow, current_actor(), cluster_id, _data())
    except Invalid as exc:
        return _form(_data(), _known(cluster_id), exc.errors)
    return done(_("Cluster %(name)s is changed.", name=cluster.name), url_for(".index"))


@bp.post("/test")
@needs(Permission.MANAGE_CLUSTERS)
def test() -> Response:
    """"Test connection": the form as it stands is tried, nothing is saved."""
    cluster_id = request.args.get("cluster_id", type=int)
    try:
        result = cluster_connection.test_connection(db.session(), current_actor(), _data(), cluster_id)
    except Invalid as exc:
        return _form(_data(), _known(cluster_id) if cluster_id else None, exc.errors)
    with unit_of_work() as uow:
        cluster_connection.audit_test(uow, current_actor(), str(_data()["endpoint"]), result)
    return _form(_data(), _known(cluster_id) if cluster_id else None, test=result)


@bp.post("/<int:cluster_id>/delete")
@needs(Permission.MANAGE_CLUSTERS)
def delete(cluster_id: int) -> Response:
    with unit_of_work() as uow:
        clusters.delete(uow, current_actor(), cluster_id)
    return done(_("The cluster is disconnected."), url_for(".index"))
