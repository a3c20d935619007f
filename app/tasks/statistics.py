"""The statistics' bell: beat rings it every 10 s."""

from app.adapters.broker import celery
from app.domain.tasks import TaskName
from app.services import statistics


@celery.task(name=TaskName.STATISTICS.value, ignore_result=True)
def refresh() -> None:
    statistics.refresh()
