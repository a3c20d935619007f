"""The first page: what needs the reader, what is running, what is free."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time

from flask import Blueprint, Response, jsonify, make_response, render_template, url_for
from flask_babel import gettext as _
from flask_babel import ngettext

from app.domain.permissions import Permission
from app.domain.server_status import ServerStatus
from app.extensions import db
from app.routes.access import current_actor, needs
from app.services import capacity, overview, run_statistics
from app.services.actor import Actor
from app.services.overview import Dashboard
from app.services.run_statistics import Day

bp = Blueprint("dashboard", __name__)


@dataclass(frozen=True)
class Tile:
    label: str
    value: str
    note: str
    href: str
    percent: int | None = None
    load: bool = True


@dataclass(frozen=True)
class Step:
    """One of the three steps to a first server."""

    title: str
    text: str
    done: bool
    href: str
    label: str
    next: bool


@bp.get("/")
@needs(Permission.VIEW)
def index() -> Response:
    return make_response(render_template("dashboard/index.html", d=_shown()))


@bp.get("/_dashboard")
@needs(Permission.VIEW)
def body() -> Response:
    return make_response(render_template("dashboard/_body.html", d=_shown()))


@bp.get("/_charts")
@needs(Permission.VIEW)
def charts() -> Response:
    """What the charts draw: seconds since 1970, GiB, seconds, runs a day."""
    hours = capacity.history(db.session())
    days = run_statistics.days(db.session(), current_actor())
    return jsonify(
        capacity={
            "at": [int(h.at.timestamp()) for h in hours],
            **{name: [getattr(h, name) for h in hours] for name in ("memory", "memory_used", "memory_allocated", "disk", "disk_used")},
        },
        days={
            "at": [int(datetime.combine(d.day, time(), UTC).timestamp()) for d in days],
            **{name: [getattr(d, name) for d in days] for name in ("done", "failed", "given_up")},
            **{name: [None if (s := getattr(d, name)) is None else round(s, 2) for d in days] for name in ("p50_s", "p95_s")},
        },
    )  # fmt: skip


def _shown() -> dict[str, object]:
    actor = current_actor()
    found = overview.dashboard(db.session(), actor)
    days = run_statistics.days(db.session(), actor)
    return {
        "waiting": found.waiting, "failed": found.failed, "running": found.running, "recent": found.recent, "tiles": _tiles(found, days),
        "steps": _steps(found, actor), "rooms": capacity.now(db.session()), "days": [d for d in reversed(days) if d.ended][:14],
    }  # fmt: skip


def _share(used: int, total: int) -> int:
    return round(100 * used / total) if total else 0


def _size(gib: int) -> str:
    return f"{gib / 1024:.1f} TiB" if gib >= 10_240 else f"{gib} GiB"


def _success(days: Sequence[Day]) -> Tile:
    """How many of the last 30 days' runs did what they were asked for."""
    done, failed = sum(d.done for d in days), sum(d.failed for d in days)
    rate = round(100 * done / (done + failed)) if done + failed else None
    note = ngettext("%(num)d run in 30 days", "%(num)d runs in 30 days", done + failed)
    return Tile(_("Runs that succeeded"), "—" if rate is None else f"{rate}%", note, url_for("runs.index"), rate, load=False)


def _tiles(found: Dashboard, days: Sequence[Day]) -> list[Tile]:
    total, running = sum(found.counts.values()), found.counts.get(ServerStatus.RUNNING, 0)
    failed = found.counts.get(ServerStatus.FAILED, 0)
    room, nodes = found.capacity, url_for("nodes.index")
    note = ngettext("%(num)d failed", "%(num)d failed", failed) if failed else _("%(n)s in all", n=total)
    return [
        Tile(_("Servers running"), str(running), note, url_for("server_list.index"), _share(running, total) if total else None, load=False),
        Tile(
            _("Memory free"), _size(max(room.memory_mib - room.memory_used_mib, 0) // 1024),
            _("of %(size)s", size=_size(room.memory_mib // 1024)), nodes, _share(room.memory_used_mib, room.memory_mib),
        ),
        Tile(
            _("Storage free"), _size(max(room.disk_gib - room.disk_used_gib, 0)), _("of %(size)s", size=_size(room.disk_gib)), nodes,
            _share(room.disk_used_gib, room.disk_gib),
        ),
        Tile(_("Nodes online"), f"{room.online} / {room.nodes}", ngettext("%(num)d cluster", "%(num)d clusters", found.clusters), nodes),
        _success(days),
    ]  # fmt: skip


def _steps(found: Dashboard, actor: Actor) -> list[Step]:
    """Return the steps to a first server; none once there is one."""
    if found.counts or found.recent or found.running or found.waiting or not actor.can(Permission.CREATE):
        return []
    connected, offered = found.capacity.online > 0, found.templates > 0
    clusters = url_for("admin_clusters.new") if actor.can(Permission.MANAGE_CLUSTERS) else ""
    return [
        Step(_("Connect a cluster"), _("An API token of Proxmox VE is enough."), connected, clusters, _("Connect cluster"), not connected),
        Step(
            _("Offer a template"), _("A VM with cloud-init, converted to a template in Proxmox."), offered, url_for("templates.index"),
            _("See templates"), connected and not offered,
        ),
        Step(
            _("Create a server"), _("Choose template and size; watch it being made."), False, url_for("servers.new"), _("Create server"),
            connected and offered,
        ),
    ]  # fmt: skip
