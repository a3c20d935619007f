"""The result of a task as Celery's clients read it: stored once, at the end, beside the row that is the truth."""

from redis.exceptions import RedisError
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.adapters.broker import celery
from app.domain.run_state import FINAL, GOOD
from app.extensions import db
from app.log import get_logger
from app.models import Run

log = get_logger(__name__)


def store(run_id: int) -> None:
    """Store the run's result under its task id if it has ended; best effort, the API reads rows."""
    with Session(db.engine) as session:
        run = session.scalar(select(Run).where(Run.id == run_id))
        if run is None or run.state not in FINAL:
            return
        code = str((run.error or {}).get("code", run.state.value))
        answer = {"run_id": run.id, "state": run.state.value, "servers": run.names, "error": run.error}
        status = "SUCCESS" if run.state in GOOD else "FAILURE"
        task_id = str(run.task_id)
    try:
        if status == "SUCCESS":
            celery.backend.store_result(task_id, answer, status)
        else:
            celery.backend.mark_as_failure(task_id, RuntimeError(code))
    except (RedisError, OSError) as exc:
        log.warning("result_not_stored", run_id=run_id, reason=str(exc))
