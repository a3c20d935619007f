"""Work that starts by itself: the list, the form, and one schedule with its history."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, make_response, render_template, request, url_for
from flask_babel import LazyString
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from pydantic import ValidationError
from werkzeug.datastructures import MultiDict

from app.domain import bulk as bulk_domain
from app.domain import schedule as domain
from app.domain.bulk import BulkKind
from app.domain.permissions import Permission
from app.domain.schedule import ExecutionState, Misfire, Overlap, ScheduleKind
from app.errors import Invalid, ScheduleBusy
from app.extensions import db
from app.messages import text_of
from app.models import Schedule
from app.routes import labels
from app.routes.access import current_actor, needs
from app.routes.forms import done, first_text, go, is_partial, messages, number, page
from app.schemas.faults import field_errors
from app.schemas.schedules import ScheduleChange, ScheduleCreate, Timing
from app.services import presets, schedules, templates
from app.services.schedules import ScheduleFilter
from app.services.uow import in_peace

bp = Blueprint("schedules", __name__, url_prefix="/schedules")
CREATE = "create"
ACTIONS: dict[str, LazyString] = {**labels.BULK, CREATE: _l("Create servers")}
KINDS: dict[str, LazyString] = {ScheduleKind.AT: _l("At a time"), ScheduleKind.IN: _l("In a while"), ScheduleKind.EVERY: _l("Again and again"), ScheduleKind.CRON: _l("By cron")}
UNITS: dict[int, LazyString] = {60: _l("minutes"), 3600: _l("hours"), 86_400: _l("days")}
MISFIRES: dict[str, LazyString] = {Misfire.RUN_ONCE: _l("once, late"), Misfire.SKIP: _l("left out")}
OVERLAPS: dict[str, LazyString] = {Overlap.SKIP: _l("left out"), Overlap.QUEUE: _l("after it")}
STATES: dict[str, LazyString] = {
    ExecutionState.QUEUED: _l("Waiting"), ExecutionState.RUNNING: _l("Running"), ExecutionState.SUCCEEDED: _l("Done"), ExecutionState.FAILED: _l("Failed"),
    ExecutionState.SKIPPED: _l("Left out"),
}  # fmt: skip
DOTS = {
    ExecutionState.QUEUED: "pending", ExecutionState.RUNNING: "applying", ExecutionState.SUCCEEDED: "applied", ExecutionState.FAILED: "errored", ExecutionState.SKIPPED: "canceled",
}  # fmt: skip
FIELDS = (
    "name", "action", "names", "prefix", "keep", "add", "remove", "confirm", "template", "preset", "server_name", "count", "kind", "at", "amount", "unit", "cron", "timezone",
    "misfire", "overlap",
)  # fmt: skip
WHERE = {"in_s": "amount", "every_s": "amount", "snapshot": "prefix"}


@bp.get("")
@needs(Permission.VIEW)
def index() -> Response:
    session, actor = db.session(), current_actor()
    found = schedules.list_page(session, actor, ScheduleFilter(request.args.get("server") or None), cursor=request.args.get("cursor"))
    html = render_template(
        "schedules/_table.html" if is_partial() else "schedules/index.html", page=found, last=schedules.last_ones(session, [s.id for s in found.items]),
        states=STATES, dots=DOTS, actions=ACTIONS, when=when,
    )  # fmt: skip
    response = make_response(html)
    response.vary.add("HX-Request")
    return response


def when(row: Schedule) -> str:
    """Return in words when a schedule is due."""
    if row.kind == ScheduleKind.CRON:
        return f"{row.cron} · {row.timezone}"
    if row.kind == ScheduleKind.EVERY:
        amount, unit = _amount(row.every_s)
        return str(_("every %(n)s %(unit)s", n=amount, unit=UNITS[unit]))
    return f"{row.first_at.astimezone(ZoneInfo(_known(row.timezone))):%Y-%m-%d %H:%M} · {row.timezone}"


def _amount(seconds: int) -> tuple[int, int]:
    unit = next((u for u in sorted(UNITS, reverse=True) if seconds % u == 0), 60)
    return max(seconds // unit, 1), unit


# ---- the form
def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _timing(form: "MultiDict[str, str]") -> dict[str, Any]:
    kind, amount, unit = form.get("kind", ""), number(form.get("amount")), form.get("unit", "60")
    seconds = amount * int(unit) if isinstance(amount, int) and unit.isdigit() else amount
    given = {"at": form.get("at", "").strip(), "in_s": seconds, "every_s": seconds, "cron": form.get("cron", "").strip()}
    wanted = {"at": "at", "in": "in_s", "every": "every_s", "cron": "cron"}.get(kind)
    zone = form.get("timezone", "").strip() or "UTC"
    return {"kind": kind, "timezone": zone, **({wanted: given[wanted]} if wanted and given[wanted] not in ("", None) else {})}


def _data(form: "MultiDict[str, str]") -> dict[str, Any]:
    """Return the body that the form stands for."""
    action = form.get("action", "")
    work: dict[str, Any] = {"action": action, "servers": _words(form.get("names", "")) or None}
    if action == CREATE:
        spec = {"name": form.get("server_name", "").strip(), "template": form.get("template", ""), "preset": form.get("preset") or None, "count": number(form.get("count")) or 1}
        work = {"server": {k: v for k, v in spec.items() if v is not None}}
    elif action == BulkKind.SNAPSHOT:
        keep = number(form.get("keep"))
        work["snapshot"] = {"prefix": form.get("prefix", "").strip() or "auto", **({"keep": keep} if keep is not None else {})}
    elif action == BulkKind.TAG:
        work |= {"add": form.get("add", ""), "remove": form.get("remove", "")}
    elif action == BulkKind.DELETE:
        work["confirm"] = form.get("confirm", "").strip()
    return {"name": form.get("name", ""), **_timing(form), "misfire": form.get("misfire", Misfire.RUN_ONCE), "overlap": form.get("overlap", Overlap.SKIP), "work": work}


def _field(path: str) -> str:
    """Return the form's field of a path of the body."""
    if path.startswith("work.server."):
        return "server_name" if path.endswith(".name") else path.rsplit(".", 1)[-1]
    last = path.removeprefix("work.").split(".")[0]
    if last == "servers" or path == "work":
        return "names"
    return WHERE.get(last, last)


def _messages(faults: list[Any]) -> dict[str, str]:
    return messages(faults, _field, FIELDS)


def _form(form: dict[str, Any], errors: dict[str, str] | None = None) -> Response:
    session, names = db.session(), _words(str(form.get("names", "")))
    return page(
        "schedules/form.html", form={"kind": "at", "unit": "60", "timezone": "UTC", "count": "1", "prefix": "auto", "keep": "7", "action": "shutdown", **form}, errors=errors or {},
        actions=list(ACTIONS.items()), kinds=KINDS, units=list(UNITS.items()), misfires=list(MISFIRES.items()), overlaps=list(OVERLAPS.items()),
        zones=sorted(domain.zones()), templates=[(t.name, t.name) for t in templates.offered(session)],
        presets=[(p.name, p.name) for p in presets.all_presets(session)], sure=bulk_domain.sure(len(dict.fromkeys(names))),
    )  # fmt: skip


@bp.get("/new")
@needs(Permission.SCHEDULE)
def new() -> Response:
    args = request.args
    return _form({k: args[k] for k in ("action", "names") if args.get(k)})


@bp.post("/new")
@needs(Permission.SCHEDULE)
def create() -> Response:
    form, actor = request.form, current_actor()
    if "later" in form:
        # Asked for many servers at once, but not now.
        return _form({"action": form.get("action", ""), "names": " ".join(form.getlist("names")), "add": form.get("add", ""), "remove": form.get("remove", "")})
    try:
        wanted = ScheduleCreate.model_validate(_data(form))
        row = in_peace(lambda uow: schedules.create(uow, actor, wanted))
    except ValidationError as exc:
        return _form(form.to_dict(), _messages(field_errors(exc)))
    except Invalid as exc:
        return _form(form.to_dict(), _messages(exc.errors))
    return done(_("“%(name)s” is scheduled.", name=row.name), url_for(".show", schedule_id=row.id))


@bp.post("/times")
@needs(Permission.SCHEDULE)
def times() -> Response:
    """When the form as it stands would start its work; a part of the page."""
    now, found, fault = datetime.now(UTC), [], ""
    try:
        timing = Timing.model_validate(_timing(request.form))
        rhythm = domain.Rhythm(timing.kind, timing.first(now), timing.cron or "", timing.every_s or 0, timing.timezone)
        found = domain.upcoming(rhythm, now)
        fault = "" if found else text_of("schedule_past")
    except ValidationError:
        pass
    return make_response(render_template("schedules/_times.html", found=found, zone=ZoneInfo(_known(request.form.get("timezone"))), fault=fault))


def _known(zone: str | None) -> str:
    return zone if zone in domain.zones() else "UTC"


# ---- one
@bp.get("/<int:schedule_id>")
@needs(Permission.VIEW)
def show(schedule_id: int) -> Response:
    session, actor = db.session(), current_actor()
    row = schedules.get(session, actor, schedule_id)
    may = actor.can(Permission.SCHEDULE) and (row.created_by_id == actor.user_id or actor.can(Permission.MANAGE_ALL))
    html = render_template(
        "schedules/_show.html" if is_partial() else "schedules/show.html", s=row, page=schedules.executions(session, row.id, 30, request.args.get("cursor")), may=may, states=STATES,
        dots=DOTS, actions=ACTIONS, when=when, upcoming=schedules.upcoming(row, datetime.now(UTC)), zone=ZoneInfo(_known(row.timezone)), misfires=MISFIRES, overlaps=OVERLAPS,
        alive=schedules.server_names(session, actor, row),
    )  # fmt: skip
    response = make_response(html)
    response.vary.add("HX-Request")
    return response


@bp.post("/<int:schedule_id>/<any(pause,resume):what>")
@needs(Permission.SCHEDULE)
def pause(schedule_id: int, what: str) -> Response:
    actor, back = current_actor(), url_for(".show", schedule_id=schedule_id)
    try:
        row = in_peace(lambda uow: schedules.change(uow, actor, schedule_id, ScheduleChange(paused=what == "pause")))
    except Invalid as exc:
        return done(first_text(exc), back, kind="error")
    return done(_("“%(name)s” is paused.", name=row.name) if row.paused else _("“%(name)s” goes on.", name=row.name), back)


@bp.post("/<int:schedule_id>/run")
@needs(Permission.SCHEDULE)
def run(schedule_id: int) -> Response:
    actor, back = current_actor(), url_for(".show", schedule_id=schedule_id)
    try:
        in_peace(lambda uow: schedules.run_now(uow, actor, schedule_id))
    except ScheduleBusy as exc:
        return done(text_of(exc.code, exc.args_), back, kind="error")
    return go(back)


@bp.post("/<int:schedule_id>/delete")
@needs(Permission.SCHEDULE)
def delete(schedule_id: int) -> Response:
    actor = current_actor()
    in_peace(lambda uow: schedules.remove(uow, actor, schedule_id))
    return done(_("The schedule is deleted."), url_for(".index"))
