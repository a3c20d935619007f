"""The server list as an address says it: filters, order, groups and columns; and the views that somebody keeps of it."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from flask import Blueprint, Response, make_response, render_template, request, url_for
from flask_babel import LazyString
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from werkzeug.datastructures import MultiDict

from app.domain.permissions import Permission
from app.domain.server_status import ServerStatus
from app.errors import Invalid
from app.extensions import db
from app.models import Server
from app.routes.access import current_actor, needs
from app.routes.forms import done, first_text, is_partial
from app.routes.ui import keep_cookie
from app.schemas.page import Page
from app.services import saved_views, server_lists
from app.services.server_lists import Group, Order, ServerFilter, Sort
from app.services.uow import unit_of_work

bp = Blueprint("server_list", __name__)
COLUMNS: dict[str, LazyString] = {
    "node": _l("Node"), "ip": _l("IP address"), "cpu": _l("CPU"), "trend": _l("Trend"), "memory": _l("Memory"), "disk": _l("Disk"), "tags": _l("Tags"),
    "workspace": _l("Workspace"), "uptime": _l("Uptime"), "owner": _l("Owner"),
}  # fmt: skip
USUAL = ("node", "ip", "cpu", "trend", "memory", "disk", "owner")
SORTABLE = {"node": Sort.NODE, "cpu": Sort.CPU, "memory": Sort.MEMORY, "owner": Sort.OWNER}
GROUPS: dict[Group, LazyString] = {Group.NODE: _l("Node"), Group.TAG: _l("Tag"), Group.WORKSPACE: _l("Workspace")}
COOKIE = "server-columns"
# What an address of the list may have; a kept view has nothing else.
KNOWN = ("q", "status", "node", "tag", "owner", "template", "older", "sort", "group", "col")


def wanted(args: Mapping[str, str]) -> ServerFilter:
    """Return the filters that an address of the list has."""
    status = args.get("status", "")
    return ServerFilter(
        args.get("q") or None, ServerStatus(status) if status in set(ServerStatus) else None, args.get("node") or None, args.get("tag") or None,
        args.get("owner") or None, args.get("template") or None, bool(args.get("older")),
    )  # fmt: skip


def _order(args: Mapping[str, str]) -> Order:
    asked, group = args.get("sort", ""), args.get("group", "")
    sort = asked.removeprefix("-")
    return Order(Sort(sort) if sort in set(Sort) else Sort.NAME, asked.startswith("-") and sort in set(Sort), Group(group) if group in set(Group) else None)


def _columns(args: "MultiDict[str, str]") -> list[str]:
    """Return the columns that are wanted now, else those that were wanted last, else the usual ones."""
    names = args.getlist("col") or request.cookies.get(COOKIE, "").split(".")
    return [name for name in COLUMNS if name in names] or list(USUAL)


def _fitting(found: Page[Server], filters: ServerFilter, total: int) -> int:
    """Return how many servers fit; asked only when neither the page nor the counts tell."""
    if filters == ServerFilter():
        return total
    if found.next_cursor or request.args.get("cursor"):
        return server_lists.count(db.session(), current_actor(), filters)
    return len(found.items)


@bp.get("/servers")
@needs(Permission.VIEW)
def index() -> Response:
    args, actor, session = request.args, current_actor(), db.session()
    filters, order, columns = wanted(args), _order(args), _columns(args)
    counts = server_lists.counts(session, actor)
    total = sum(counts.values())
    found = server_lists.list_page(session, actor, filters, order, cursor=args.get("cursor"))
    shown: dict[str, Any] = {
        "page": found, "order": order, "columns": columns, "fitting": _fitting(found, filters, total), "counts": {**counts, "": total}, "total": total,
        "filtered": any(args.get(k) for k in ("q", "status", "node", "tag", "owner", "template", "older", "cursor")), "group_of": server_lists.group_of,
        "column_words": COLUMNS, "sortable": SORTABLE,
    }  # fmt: skip
    if is_partial():
        html = render_template("servers/_table.html", **shown)
    else:
        offered = server_lists.offered(session, actor)
        html = render_template("servers/index.html", **shown, choices=offered, group_words=GROUPS, views=saved_views.of(session, actor))
    response = make_response(html)
    response.vary.add("HX-Request")
    if args.getlist("col"):
        keep_cookie(response, COOKIE, ".".join(columns))
    return response


def _kept(query: str) -> str:
    """Return what of an address makes a view of the list."""
    return urlencode([(k, v) for k, v in parse_qsl(query[: saved_views.MAX_QUERY]) if k in KNOWN])


@bp.post("/servers/views")
@needs(Permission.VIEW)
def save() -> Response:
    query = _kept(request.form.get("query", ""))
    back = f"{url_for('.index')}?{query}" if query else url_for(".index")
    try:
        with unit_of_work() as uow:
            saved_views.save(uow, current_actor(), request.form.get("name", ""), query)
    except Invalid as exc:
        return done(first_text(exc), back, kind="error")
    return done(_("The view is kept."), back)


@bp.post("/servers/views/<int:view_id>/delete")
@needs(Permission.VIEW)
def forget(view_id: int) -> Response:
    with unit_of_work() as uow:
        saved_views.forget(uow, current_actor(), view_id)
    return done(_("The view is forgotten."), url_for(".index"))
