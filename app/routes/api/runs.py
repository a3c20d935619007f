"""Runs over the API: list, one with its changes, its log, and what people decide about it."""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, url_for

from app.domain.permissions import Permission
from app.domain.run_state import RunState
from app.extensions import db
from app.messages import text_of
from app.routes.access import current_actor, needs
from app.routes.api import answer, page
from app.routes.api.servers import accept, once
from app.routes.parse import body, query
from app.schemas.page import clamp
from app.schemas.runs import Comment, LogQuery, RunQuery, change_json, run_json, told
from app.services import approvals, retries, runs, waiting
from app.services.actor import Actor
from app.services.approvals import Decision
from app.services.idempotency import Stored
from app.services.runs import RunFilter
from app.services.uow import UnitOfWork
from app.services.waiting import Waiting

bp = Blueprint("api_runs", __name__, url_prefix="/api/runs")


def _decided(run_id: int, work: Callable[[UnitOfWork, Actor, str], object]) -> Response:
    """Do what somebody decided about a run, once per Idempotency-Key; answers the state that it is in then."""
    comment, actor = body(Comment, optional=True).comment, current_actor()

    def act(uow: UnitOfWork) -> Stored:
        work(uow, actor, comment)
        uow.session.flush()
        run = runs.get(uow.session, actor, run_id)
        uow.session.refresh(run)
        return Stored(
            {"success": True, "task_id": str(run.task_id), "run_id": run.id, "state": run.state.value}, url_for("api_tasks.show", task_id=run.task_id)
        )

    return once(act)


@bp.get("")
@needs(Permission.VIEW)
def index() -> Response:
    q = query(RunQuery)
    wanted = RunFilter(q.state, q.mine, q.server, q.kind)
    return page(runs.list_page(db.session(), current_actor(), wanted, clamp(q.limit), q.cursor), run_json)


@bp.get("/<int:run_id>")
@needs(Permission.VIEW)
def show(run_id: int) -> Response:
    session = db.session()
    run = runs.get(session, current_actor(), run_id)
    events = [{"name": e.name, "at": e.at, "detail": e.detail} for e in runs.events(session, run)]
    decision = approvals.decision(session, run) if run.state == RunState.PLANNED else None
    shown = {**run_json(run), "decision": decision_json(decision, current_actor()), "waiting": waiting_json(waiting.explain(session, current_actor(), run))}
    return answer({**shown, "changes": [change_json(c) for c in runs.changes(session, run)], "events": events})


@bp.get("/<int:run_id>/log")
@needs(Permission.VIEW)
def log(run_id: int) -> Response:
    session = db.session()
    text, end = runs.log_text(session, runs.get(session, current_actor(), run_id), query(LogQuery).offset)
    return Response(text, mimetype="text/plain", headers={"X-Next-Offset": str(end), "Cache-Control": "no-store"})


@bp.post("/<int:run_id>/apply")
@needs(Permission.CREATE)
def apply(run_id: int) -> Response:
    return _decided(run_id, lambda uow, actor, comment: runs.approve(uow, actor, run_id, comment))


@bp.post("/<int:run_id>/discard")
@needs(Permission.CREATE)
def discard(run_id: int) -> Response:
    return _decided(run_id, lambda uow, actor, comment: runs.discard(uow, actor, run_id, comment))


@bp.post("/<int:run_id>/cancel")
@needs(Permission.CREATE)
def cancel(run_id: int) -> Response:
    return _decided(run_id, lambda uow, actor, _comment: runs.cancel(uow, actor, run_id))


@bp.post("/<int:run_id>/retry")
@needs(Permission.VIEW)
def retry(run_id: int) -> Response:
    body(Comment, optional=True)
    actor = current_actor()
    return accept(lambda uow: retries.retry(uow, actor, run_id))


@bp.post("/<int:run_id>/stop")
@needs(Permission.STOP_NOW)
def stop(run_id: int) -> Response:
    return _decided(run_id, lambda uow, actor, _comment: runs.stop(uow, actor, run_id))


def decision_json(decision: Decision | None, actor: Actor) -> dict[str, Any] | None:
    """Who decides about a waiting plan, and whether the caller may."""
    if decision is None:
        return None
    may = decision.refusal(actor.user_id, actor.role) is None
    return {"stopped_by": decision.stop, "who": told(decision.who), "may_approve": may, "four_eyes": decision.rule.four_eyes}


def waiting_json(waiting: Waiting | None) -> dict[str, Any] | None:
    """Why a run waits, for whom, and when it may begin."""
    if waiting is None:
        return None
    return {
        "code": waiting.code, "message": text_of(waiting.code, dict(waiting.args)), "position": waiting.position, "run": waiting.blocker,
        "owner": waiting.owner, "expected_at": waiting.expected_at,
    }  # fmt: skip
