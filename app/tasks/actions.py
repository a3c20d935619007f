"""An action's bell."""

from app.adapters.broker import celery
from app.domain.tasks import TaskName
from app.services import action_execution


@celery.task(name=TaskName.ACTION.value, ignore_result=True)
def execute(task_id: str) -> None:
    action_execution.execute(task_id)
