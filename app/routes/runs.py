"""The runs' pages: list, one run with plan and log, and the decisions on it."""

import re
from collections.abc import Collection
from typing import Any

from flask import Blueprint, Response, make_response, render_template, request, url_for

from app.domain.approval import Stop
from app.domain.inert import inert
from app.domain.permissions import Permission
from app.domain.run_state import FINAL, RUNNING, RunKind, RunState
from app.errors import Conflict
from app.extensions import db
from app.models import PlanChange, Run
from app.routes import remedies
from app.routes.access import current_actor, needs
from app.routes.forms import go, is_partial
from app.schemas.runs import activity
from app.services import approvals, overview, retries, run_steps, runs, servers, settings, waiting
from app.services.actor import Actor
from app.services.approvals import Decision
from app.services.runs import RunFilter
from app.services.uow import unit_of_work

bp = Blueprint("runs", __name__)
DESTROYS = ("delete", "replace")
ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[@-_]")
ERROR_LINE = re.compile(r"^(\d\d:\d\d:\d\d\s+)?(│ )?Error:", re.MULTILINE)


class NotNamed(Conflict):
    """A plan that deletes is applied only by somebody who typed the server's name."""

    code = "run_not_named"


@bp.get("/runs")
@needs(Permission.VIEW)
def index() -> Response:
    args = request.args
    kind = args.get("kind", "")
    wanted = RunFilter(args.get("state") or None, bool(args.get("mine")), args.get("server", "").strip() or None, RunKind(kind) if kind in set(RunKind) else None)
    html = render_template(
        "runs/_table.html" if is_partial() else "runs/index.html",
        page=runs.list_page(db.session(), current_actor(), wanted, cursor=args.get("cursor")),
        filtered=any(args.get(k) for k in ("state", "mine", "server", "kind", "cursor")),
    )  # fmt: skip
    response = make_response(html)
    response.vary.add("HX-Request")
    return response


def _may(actor: Actor, run: Run, alive: Collection[str], decision: Decision | None) -> dict[str, bool]:
    """Which buttons are valid now, for this reader."""
    own = run.created_by_id == actor.user_id or actor.can(Permission.MANAGE_ALL)
    approves = decision is not None and decision.refusal(actor.user_id, actor.role) is None
    return {
        "approve": approves,
        "discard": (own or approves) and run.state == RunState.PLANNED,
        "cancel": own and run.state not in FINAL and run.state != RunState.PLANNED and run.cancel_requested_at is None,
        "stop": own and run.state in RUNNING and run.cancel_requested_at is not None and run.stop_requested_at is None and actor.can(Permission.STOP_NOW),
        "repeat": own and retries.possible(db.session(), run) and actor.can(retries.NEEDS[run.kind]),
        # Through the form, with other values: only while nothing of it is there.
        "edit": own and run.state == RunState.ERRORED and run.kind == RunKind.CREATE and not alive and actor.can(Permission.CREATE),
    }


def _who(decision: Decision | None, may: dict[str, bool]) -> dict[str, Any] | None:
    """Return the sentence on who decides; none for a plan that waits for its reader only."""
    return None if decision is None or (may["approve"] and decision.stop == Stop.REQUESTER) else decision.who


def _destroys(changes: list[PlanChange]) -> int:
    return sum(change.action in DESTROYS for change in changes)


def _natural(change: PlanChange) -> list[tuple[int, str]]:
    """Sort web-2 before web-10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", change.name or change.slug)]


def _error_line(run: Run) -> int | None:
    """Return the number of the log's first line that tells of an error."""
    if run.state != RunState.ERRORED:
        return None
    text, _end = runs.log_text(db.session(), run)
    found = ERROR_LINE.search(text)
    return text.count("\n", 0, found.start()) + 1 if found else None


def _render(template: str, run_id: int) -> Response:
    actor, session = current_actor(), db.session()
    run = runs.get(session, actor, run_id)
    changes = sorted(runs.changes(session, run), key=_natural)
    alive = servers.alive(session, actor, run)
    decision = approvals.decision(session, run) if run.state == RunState.PLANNED else None
    may = _may(actor, run, alive, decision)
    html = render_template(
        template, run=run, alive=alive, changes=changes, events=runs.events(session, run), may=may, who=_who(decision, may), destroys=_destroys(changes),
        remedy=remedies.button(actor, run, may, alive), waiting=waiting.explain(session, actor, run), activity=activity(run),
        steps=run_steps.steps(run), parts=run_steps.parts(run), expires_at=overview.expiry(run, settings.get(session).plan_expiry_s), error_line=_error_line(run),
    )  # fmt: skip
    return make_response(html)


@bp.get("/runs/<int:run_id>")
@needs(Permission.VIEW)
def detail(run_id: int) -> Response:
    return _render("runs/detail.html", run_id)


@bp.get("/runs/<int:run_id>/head")
@needs(Permission.VIEW)
def head(run_id: int) -> Response:
    return _render("runs/_head.html", run_id)


@bp.get("/runs/<int:run_id>/plan")
@needs(Permission.VIEW)
def plan(run_id: int) -> Response:
    return _render("runs/_plan.html", run_id)


@bp.get("/runs/<int:run_id>/timeline")
@needs(Permission.VIEW)
def timeline(run_id: int) -> Response:
    return _render("runs/_timeline.html", run_id)


@bp.get("/runs/<int:run_id>/log")
@needs(Permission.VIEW)
def log(run_id: int) -> Response:
    """The log as a text: to keep, or to read in a browser without scripts."""
    session = db.session()
    run = runs.get(session, current_actor(), run_id)
    text, whole = runs.whole_log(session, run)
    response = make_response(inert(ANSI.sub("", text)) + ("" if whole else "\n…\n"))
    response.mimetype = "text/plain"
    response.headers["Cache-Control"] = "no-store"
    if "download" in request.args:
        response.headers["Content-Disposition"] = f"attachment; filename=run-{run.id}.log"
    return response


def _comment() -> str:
    return request.form.get("comment", "").strip()[:2000]


def _typed() -> str:
    """Return the name that was typed: into the dialog, or into the field that stands there without scripts."""
    return (request.form.get("confirm") or request.form.get("sure_name", "")).strip()


@bp.post("/runs/<int:run_id>/approve")
@needs(Permission.VIEW)
def approve(run_id: int) -> Response:
    actor = current_actor()
    with unit_of_work() as uow:
        run = runs.get(uow.session, actor, run_id)
        if _destroys(runs.changes(uow.session, run)) and _typed() != run.names[0]:
            raise NotNamed(name=run.names[0])
        runs.approve(uow, actor, run_id, _comment())
    return go(url_for(".detail", run_id=run_id))


@bp.post("/runs/<int:run_id>/discard")
@needs(Permission.VIEW)
def discard(run_id: int) -> Response:
    with unit_of_work() as uow:
        runs.discard(uow, current_actor(), run_id, _comment())
    return go(url_for(".detail", run_id=run_id))


@bp.post("/runs/<int:run_id>/retry")
@needs(Permission.VIEW)
def retry(run_id: int) -> Response:
    with unit_of_work() as uow:
        accepted = retries.retry(uow, current_actor(), run_id)
    return go(url_for(".detail", run_id=accepted.run.id))


@bp.post("/runs/<int:run_id>/stop")
@needs(Permission.STOP_NOW)
def stop(run_id: int) -> Response:
    with unit_of_work() as uow:
        runs.stop(uow, current_actor(), run_id)
    return go(url_for(".detail", run_id=run_id))


@bp.post("/runs/<int:run_id>/cancel")
@needs(Permission.VIEW)
def cancel(run_id: int) -> Response:
    with unit_of_work() as uow:
        runs.cancel(uow, current_actor(), run_id)
    return go(url_for(".detail", run_id=run_id))
