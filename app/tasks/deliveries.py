"""A delivery's bell."""

from app.adapters.broker import celery
from app.domain.tasks import TaskName
from app.services import deliveries


@celery.task(name=TaskName.DELIVERY.value, ignore_result=True)
def execute(delivery_id: str) -> None:
    deliveries.execute(int(delivery_id))
