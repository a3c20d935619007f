"""The bells of work that starts by itself: beat's, and that of each time it is due."""

from app.adapters.broker import celery
from app.domain.tasks import TaskName
from app.services import schedule_execution, schedule_ticks


@celery.task(name=TaskName.SCHEDULES.value, ignore_result=True)
def tick() -> None:
    schedule_ticks.tick()


@celery.task(name=TaskName.EXECUTION.value, ignore_result=True)
def execute(task_id: str) -> None:
    schedule_execution.execute(task_id)
