"""Work that starts by itself, over the API."""

from flask import Blueprint, Response, url_for

from app.domain.permissions import Permission
from app.extensions import db
from app.models import Schedule
from app.routes.access import current_actor, needs
from app.routes.api import answer, page
from app.routes.api.servers import once
from app.routes.parse import body, query
from app.schemas.accounts import PageQuery
from app.schemas.page import clamp
from app.schemas.schedules import ScheduleChange, ScheduleCreate, execution_json, schedule_json
from app.services import schedules
from app.services.idempotency import Stored
from app.services.schedules import ScheduleFilter
from app.services.uow import UnitOfWork, in_peace

bp = Blueprint("api_schedules", __name__, url_prefix="/api/schedules")


def _json(row: Schedule) -> dict[str, object]:
    return schedule_json(row, schedules.upcoming(row, row.next_run_at) if row.next_run_at else [])


@bp.get("")
@needs(Permission.VIEW)
def index() -> Response:
    wanted = query(PageQuery)
    return page(schedules.list_page(db.session(), current_actor(), ScheduleFilter(), clamp(wanted.limit), wanted.cursor), _json)


@bp.post("")
@needs(Permission.SCHEDULE)
def create() -> Response:
    wanted, actor = body(ScheduleCreate), current_actor()

    def work(uow: UnitOfWork) -> Stored:
        row = schedules.create(uow, actor, wanted)
        made = schedules.get(uow.session, actor, row.id)
        return Stored(_plain(made), url_for("api_schedules.show", schedule_id=row.id))

    return once(work, 201)


def _plain(row: Schedule) -> dict[str, object]:
    """Return it as it can be kept beside an Idempotency-Key."""
    kept: dict[str, object] = answer(_json(row)).get_json()
    return kept


@bp.get("/<int:schedule_id>")
@needs(Permission.VIEW)
def show(schedule_id: int) -> Response:
    return answer(_json(schedules.get(db.session(), current_actor(), schedule_id)))


@bp.patch("/<int:schedule_id>")
@needs(Permission.SCHEDULE)
def change(schedule_id: int) -> Response:
    wanted, actor = body(ScheduleChange), current_actor()
    in_peace(lambda uow: schedules.change(uow, actor, schedule_id, wanted))
    return show(schedule_id)


@bp.delete("/<int:schedule_id>")
@needs(Permission.SCHEDULE)
def remove(schedule_id: int) -> Response:
    actor = current_actor()
    in_peace(lambda uow: schedules.remove(uow, actor, schedule_id))
    return Response(status=204)


@bp.post("/<int:schedule_id>/run")
@needs(Permission.SCHEDULE)
def run(schedule_id: int) -> Response:
    actor = current_actor()

    def work(uow: UnitOfWork) -> Stored:
        found = schedules.run_now(uow, actor, schedule_id)
        return Stored({"success": True, "task_id": str(found.task_id), "execution_id": found.id}, url_for("api_schedules.executions", schedule_id=schedule_id))

    return once(work)


@bp.get("/<int:schedule_id>/executions")
@needs(Permission.VIEW)
def executions(schedule_id: int) -> Response:
    wanted, session = query(PageQuery), db.session()
    schedules.get(session, current_actor(), schedule_id)
    return page(schedules.executions(session, schedule_id, clamp(wanted.limit), wanted.cursor), execution_json)
