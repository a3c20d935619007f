"""The sweeper's bell."""

from app.adapters.broker import celery
from app.domain.tasks import TaskName
from app.services import sweeper


@celery.task(name=TaskName.SWEEP.value, ignore_result=True)
def tick() -> None:
    """Run the sweeper once."""
    sweeper.tick()
