"""The command palette: jump to a server, a run or a page, or do something, by a few letters."""

from collections.abc import Iterator
from dataclasses import dataclass

from flask import Blueprint, Response, make_response, render_template, request, url_for
from flask_babel import LazyString
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from flask_login import current_user

from app.domain.action_state import POWER, ActionKind
from app.domain.permissions import Permission
from app.domain.server_status import ServerStatus
from app.extensions import db
from app.models import Server
from app.routes import labels
from app.routes.access import current_actor, needs
from app.routes.ui import can_act, run_title
from app.services import palette

bp = Blueprint("palette", __name__)
MAX_WORDS = 100
P = Permission

# endpoint, icon, name; and who may open it
PAGES: tuple[tuple[str, str, LazyString, Permission], ...] = (
    ("dashboard.index", "layout-dashboard", _l("Dashboard"), P.VIEW),
    ("server_list.index", "server-2", _l("Servers"), P.VIEW),
    ("runs.index", "player-play", _l("Runs"), P.VIEW),
    ("templates.index", "template", _l("Templates"), P.VIEW),
    ("networks.index", "network", _l("Networks"), P.VIEW),
    ("nodes.index", "topology-star-3", _l("Nodes"), P.VIEW),
    ("notifications.index", "bell", _l("Notifications"), P.VIEW),
    ("account.index", "user-cog", _l("Account"), P.VIEW),
    ("admin_users.index", "users", _l("Users"), P.MANAGE_USERS),
    ("admin_clusters.index", "topology-star-3", _l("Clusters"), P.MANAGE_CLUSTERS),
    ("admin_projects.index", "eye-check", _l("Projects"), P.MANAGE_PROJECTS),
    ("admin_audit.index", "list-details", _l("Audit"), P.VIEW_AUDIT),
    ("admin_settings.index", "settings", _l("Settings"), P.MANAGE_SETTINGS),
)
DOINGS: tuple[tuple[str, str, LazyString, Permission], ...] = (
    ("servers.new", "plus", _l("Create server"), P.CREATE),
    ("networks.new", "plus", _l("Add network"), P.MANAGE_NETWORKS),
    ("admin_clusters.new", "plus", _l("Connect cluster"), P.MANAGE_CLUSTERS),
)
ICONS = {
    ActionKind.START: "player-play", ActionKind.SHUTDOWN: "power", ActionKind.STOP: "player-stop", ActionKind.REBOOT: "refresh",
    ActionKind.RESET: "rotate-clockwise",
}  # fmt: skip


@dataclass(frozen=True)
class Hit:
    """A line of the palette. `action`: what is done to the server whose page `href` would be, after a question."""

    label: str
    icon: str
    href: str
    detail: str = ""
    status: str = ""
    action: str = ""
    question: str = ""


@bp.get("/palette")
@needs(Permission.VIEW)
def index() -> Response:
    words = request.args.get("q", "").strip()[:MAX_WORDS]
    groups = [(title, hits) for title, hits in _groups(words) if hits]
    response = make_response(render_template("partials/_palette.html", groups=groups, words=words))
    response.headers["Cache-Control"] = "no-store"
    return response


def _groups(words: str) -> Iterator[tuple[str, list[Hit]]]:
    found = palette.find(db.session(), current_actor(), words)
    yield _("Servers"), [_server(s) for s in found.servers]
    yield _("Runs"), [
        Hit(run_title(r), "player-play", url_for("runs.detail", run_id=r.id), f"#{r.id}", r.state.value) for r in found.runs
    ]  # fmt: skip
    yield _("Do"), [*_doings(words), *(_named(DOINGS, words))]
    yield _("Go to"), _named(PAGES, words)


def _server(server: Server) -> Hit:
    return Hit(server.name, "server-2", url_for("servers.detail", name=server.name), f"{server.vmid} · {server.node_name}", server.status.value)


def _named(known: tuple[tuple[str, str, LazyString, Permission], ...], words: str) -> list[Hit]:
    wanted = words.casefold()
    return [
        Hit(str(label), icon, url_for(endpoint))
        for endpoint, icon, label, permission in known
        if wanted in str(label).casefold() and current_user.can(permission)
    ]


def _doings(words: str) -> list[Hit]:
    """Power actions: a verb, then a part of a server's name."""
    verb, _space, rest = words.partition(" ")
    if not rest.strip() or not current_user.can(Permission.POWER):
        return []
    kinds = [kind for kind in POWER if verb and (kind.value.startswith(verb.casefold()) or str(labels.ACTIONS[kind]).casefold().startswith(verb.casefold()))]
    return [_action(kind, s) for s in palette.find_servers(db.session(), current_actor(), rest.strip()) for kind in kinds if _may(kind, s)][: palette.LIMIT]


def _may(kind: ActionKind, server: Server) -> bool:
    possible = (server.status == ServerStatus.STOPPED) == (kind == ActionKind.START) and server.status in (ServerStatus.STOPPED, ServerStatus.RUNNING)
    return can_act(Permission.POWER, server) and possible and not server.busy


def _action(kind: ActionKind, server: Server) -> Hit:
    title = _("%(action)s: %(name)s", action=labels.ACTIONS[kind], name=server.name)
    question = "" if kind == ActionKind.START else title
    return Hit(title, ICONS[kind], url_for("servers.power", name=server.name), f"{server.vmid} · {server.node_name}", action=kind.value, question=question)
