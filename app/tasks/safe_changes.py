"""A safe change's bell."""

from app.adapters.broker import celery
from app.domain.tasks import TaskName
from app.services import safe_change_execution


@celery.task(name=TaskName.SAFE_CHANGE.value, ignore_result=True)
def execute(safe_change_id: str) -> None:
    safe_change_execution.execute(safe_change_id)
