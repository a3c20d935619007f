"""What every page needs: template functions, theme and language, the end of a session, CSP reports."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from babel.dates import format_timedelta
from flask import Blueprint, Flask, Response, make_response, redirect, request, url_for
from flask_babel import format_date, format_decimal, get_locale, get_translations, gettext, ngettext
from flask_login import current_user
from markupsafe import Markup
from sqlalchemy.exc import SQLAlchemyError

from app.domain import addressing
from app.domain.image_age import AgeUnit, image_age
from app.domain.inert import inert
from app.domain.permissions import Permission
from app.errors import AppError, Unauthenticated
from app.extensions import db
from app.log import get_logger
from app.messages import hint_of, note_text, text_of
from app.models import Action, Run, Server
from app.routes import labels
from app.routes.access import current_actor, open_to_all, return_path, safe_next
from app.services import accounts, pause
from app.services.uow import unit_of_work
from app.services.users import LANGUAGES
from app.web import LANGUAGE_COOKIE

log = get_logger(__name__)
bp = Blueprint("prefs", __name__)
YEAR_S = 31_536_000
THEMES = ("auto", "light", "dark")  # auto: as the operating system has it
REPORT_BYTES = 4000


# ---------------------------------------------------------------- views
def set_theme(response: Response, chosen: str) -> Response:
    """Keep the theme in this browser; anything else than a theme is ignored."""
    if chosen in THEMES:
        keep_cookie(response, "theme", chosen)
    return response


def keep_cookie(response: Response, name: str, value: str) -> None:
    """Keep a choice in this browser for a year."""
    response.set_cookie(name, value, max_age=YEAR_S, samesite="Lax", secure=request.is_secure)


@bp.post("/prefs/theme")
@open_to_all("a look is nobody's secret")
def theme() -> Response:
    return set_theme(make_response(redirect(safe_next(request.form.get("next")), 303)), request.form.get("theme", ""))


@bp.post("/prefs/language")
@open_to_all("the sign-in page has it too")
def language() -> Response:
    response = make_response(redirect(safe_next(request.form.get("next")), 303))
    chosen = request.form.get("language", "")
    if chosen not in LANGUAGES:
        return response
    if current_user.is_authenticated:
        with unit_of_work() as uow:
            accounts.set_language(uow, current_actor(), chosen)
    response.set_cookie(LANGUAGE_COOKIE, chosen, max_age=YEAR_S, samesite="Lax", secure=request.is_secure)
    return response


@bp.get("/session")
@open_to_all("a page asks whether it is still signed in")
def session_state() -> Response:
    if not current_user.is_authenticated:
        raise Unauthenticated
    return Response(status=204)


@bp.post("/csp-report")
@open_to_all("browsers send these without a session")
def csp_report() -> Response:
    log.warning("csp_report", report=request.get_data(cache=False)[:REPORT_BYTES].decode("utf-8", "replace"))
    return Response(status=204)


# ---------------------------------------------------------------- template functions
class Assets:
    """Names of the built files, by the names they have in the sources."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "manifest.json"
        self.names: dict[str, str] = json.loads(self.file.read_text()) if self.file.is_file() else {}

    def url(self, name: str) -> str:
        return f"/static/{self.names.get(name, name)}"

    def icon(self, name: str, cls: str = "") -> Markup:
        return Markup('<svg class="icon {}" aria-hidden="true"><use href="{}#{}"/></svg>').format(cls, self.url("icons.svg"), name)


def shown_theme() -> str:
    """Return the theme of this browser: the system's until another one is chosen."""
    chosen = request.cookies.get("theme", "")
    return chosen if chosen in THEMES else "auto"


def can(permission: str) -> bool:
    """True when the reader's role holds the permission."""
    return bool(current_user.is_authenticated and current_user.can(Permission(permission)))


def can_act(permission: str, server: Server) -> bool:
    """True when the reader may do this to this very server."""
    return can(permission) and (server.owner_id == current_user.id or can("manage_all"))


def admin_home() -> str:
    """Return the first admin page the reader may see; empty when there is none."""
    pages = (("manage_users", "users"), ("manage_clusters", "clusters"), ("manage_projects", "projects"), ("view_audit", "audit"), ("manage_settings", "settings"))
    return next((url_for(f"admin_{page}.index") for permission, page in pages if can(permission)), "")


def page_frame() -> pause.Frame:
    """Return what the frame of this page shows; nothing when it cannot be read: a page must not fail for its bell."""
    try:
        return pause.frame(db.session(), current_actor())
    except (AppError, SQLAlchemyError):
        return pause.Frame()


def action_title(action: Action) -> str:
    """What an action does, with the snapshot it is about."""
    label, snapshot = labels.ACTIONS[action.kind], action.arguments.get("name")
    return gettext("%(action)s: %(name)s", action=label, name=snapshot) if snapshot else str(label)


def run_title(run: Run) -> str:
    """Return what a run is called: what it does to which servers."""
    names = run.names
    shown = names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}" if names else f"#{run.id}"
    return str(labels.RUN_TITLES[run.kind]) % {"names": shown}


def with_args(**changes: str | None) -> str:
    """Return this page's address with some of its arguments changed."""
    kept = [(k, v) for k, v in request.args.items(multi=True) if k not in changes]
    query = urlencode([(k, v) for k, v in [*kept, *changes.items()] if v])
    return f"{request.path}?{query}" if query else request.path


def family_icon(family: str) -> str:
    """Return the icon of an operating system."""
    return labels.FAMILY_ICONS.get(family.lower(), labels.OTHER_FAMILY)


# ---------------------------------------------------------------- filters
def iso(at: datetime | None) -> str:
    return at.astimezone(UTC).isoformat() if at else ""


def day(at: datetime | None) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC") if at else ""


def clock(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%H:%M:%S")


def gib(mib: int) -> str:
    return f"{mib / 1024:.4g}"


def spark(values: Sequence[int]) -> str:
    """Return the points of a curve of percentages in a picture of 72 by 20."""
    step = 70 / max(len(values) - 1, 1)
    return " ".join(f"{1 + i * step:.1f},{18.5 - 17 * min(max(v, 0), 100) / 100:.1f}" for i, v in enumerate(values))


def plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def duration(seconds: int) -> str:
    days, hours, minutes = seconds // 86_400, seconds % 86_400 // 3600, seconds % 3600 // 60
    if days:
        return str(ngettext("%(num)d day", "%(num)d days", days))
    if hours:
        return str(ngettext("%(num)d hour", "%(num)d hours", hours))
    return str(ngettext("%(num)d minute", "%(num)d minutes", max(minutes, 1)))


def image_old(at: datetime) -> bool:
    """True of an image whose servers begin with many updates."""
    return image_age(at, datetime.now(UTC)).old


def image_from(at: datetime) -> str:
    """Say when an image was made and how old it is."""
    age = image_age(at, datetime.now(UTC))
    match age.unit:
        case AgeUnit.DAY:
            span = ngettext("%(num)d day", "%(num)d days", age.count)
        case AgeUnit.MONTH:
            span = ngettext("%(num)d month", "%(num)d months", age.count)
        case AgeUnit.YEAR:
            span = ngettext("%(num)d year", "%(num)d years", age.count)
    made = format_date(at, "medium")
    return str(gettext("image from %(day)s, %(span)s old", day=made, span=span) if age.count else gettext("image from %(day)s", day=made))


def about(seconds: float) -> str:
    """Say a length of time as one does who does not know it to the second."""
    if seconds < 90:
        return str(ngettext("%(num)d second", "%(num)d seconds", max(5, round(seconds / 5) * 5)))
    return str(ngettext("%(num)d minute", "%(num)d minutes", round(seconds / 60)))


SPANS = 8  # of addresses, in one line


def spans(ips: Sequence[str]) -> str:
    """Return addresses in one line, those that follow each other as first and last."""
    parts: list[str] = []
    for first, last in addressing.spans(ips):
        parts.append(first if first == last else f"{first} – {last}")
    return ", ".join(parts[:SPANS]) + (" …" if len(parts) > SPANS else "")


def lapse(time: timedelta) -> str:
    """Return a short span of time, the same in every language: 0.2 s, 48 s, 3:07, 2:04:10."""
    seconds = time.total_seconds()
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    return _digits(int(seconds))


def _digits(seconds: int) -> str:
    """Return 0:07, 3:07, 2:04:10."""
    minutes, hours = seconds // 60, seconds // 3600
    return f"{hours}:{minutes % 60:02d}:{seconds % 60:02d}" if hours else f"{minutes}:{seconds % 60:02d}"


def ago(at: datetime) -> str:
    """Return how long ago that was, as scripts then keep it up to date (times.js)."""
    passed = (datetime.now(UTC) - at).total_seconds()
    if abs(passed) < 45:
        return str(gettext("now"))
    return format_timedelta(timedelta(seconds=-passed), "minute", 1, add_direction=True, format="short", locale=get_locale())


def timer(begun: datetime, ended: datetime | None = None) -> str:
    """Return how long something took or takes: 0:07, 2:04:10; as scripts then keep it up to date."""
    return _digits(max(0, round(((ended or datetime.now(UTC)) - begun).total_seconds())))


def address(server: Server) -> str:
    """Return the address people use: the first one reported, else the one given out."""
    given = [str(nic.get("ip") or "") for nic in server.nics]
    return next((ip for ip in [*server.ip_addresses, *given] if ip), "")


def disk_gib(server: Server) -> int:
    return sum(int(disk.get("size_gib") or 0) for disk in server.disks)


def grouped(value: int) -> str:
    """Return a number as the reader writes it, 10,001 for 10001."""
    return format_decimal(value) if value >= 1000 else str(value)  # seldom: and Babel takes its time


def _counted(singular: str, plural: str, number: int) -> str:
    text: str = get_translations().ungettext(singular, plural, number)
    return text.replace("%(num)d", grouped(number)) if number >= 1000 else text


def shared_words() -> Mapping[str, Any]:
    """Return the words every template may use."""
    names = ("SERVER_STATUS", "RUN_STATES", "RUN_KINDS", "ACTIONS", "BULK", "PLAN_ACTIONS", "SIGNS", "STEPS", "RUN_STEPS", "PART_STATES", "EVENTS", "ROLES", "ROLE_NOTES", "POLICIES", "APPROVERS", "SOURCES")
    return {name: getattr(labels, name) for name in names}


def shown(value: Any) -> Any:
    """Make what a template puts out harmless to look at; Markup stays Markup."""
    if not isinstance(value, str) or value.isprintable():
        return value
    return Markup(inert(value)) if isinstance(value, Markup) else inert(value)  # noqa: S704 - what was escaped before stays so


def init_app(app: Flask) -> None:
    """Give templates their functions."""
    assets = Assets(Path(app.root_path) / "static" / "dist")
    jinja = app.jinja_env
    jinja.trim_blocks = jinja.lstrip_blocks = True
    jinja.finalize = shown
    jinja.install_gettext_callables(lambda text: get_translations().ugettext(text), _counted, newstyle=True)  # type: ignore[attr-defined]  # of its extension
    jinja.globals.update(
        shared_words(),
        asset=assets.url, icon=assets.icon, theme=shown_theme, can=can, can_act=can_act, admin_home=admin_home,
        page_frame=page_frame, note_text=note_text, run_title=run_title, action_title=action_title, with_args=with_args, family_icon=family_icon,
        back_path=return_path, text_of=text_of, hint_of=hint_of, get_locale=get_locale, errors={}, form={},
    )  # fmt: skip
    for function in (about, image_from, image_old, iso, day, clock, gib, spark, plain, duration, lapse, ago, timer, address, disk_gib, spans, grouped):
        jinja.filters[function.__name__] = function
