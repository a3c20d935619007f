"""The inventory's bell: beat rings it every 10 s, a new cluster at once."""

from app.adapters.broker import celery
from app.domain.tasks import TaskName
from app.services import inventory


@celery.task(name=TaskName.INVENTORY.value, ignore_result=True)
def poll() -> None:
    inventory.poll_all()
