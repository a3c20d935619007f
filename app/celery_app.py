"""Entry of Celery: `celery -A app.celery_app worker` serves all queues; every task runs inside the app context."""

import contextlib
import functools
import gc
import os
from typing import Any
from uuid import uuid4

import structlog
from celery import Task, signals
from celery.worker.consumer import Consumer
from sqlalchemy.exc import OperationalError

from app import create_core, deadline, tracing
from app.adapters import figures
from app.adapters.broker import ORIGIN, celery
from app.config import get_settings
from app.extensions import db
from app.log import configure
from app.runner import process
from app.services import run_execution
from app.services.uow import unit_of_work
from app.tasks import register

flask_app = create_core(get_settings())
tracing.part("worker")
# Made before the pool forks: once written it stays readable in every child, and ends their waits for runners.
LEAVING = os.eventfd(0, os.EFD_CLOEXEC)
flask_app.extensions["leaving_fd"] = LEAVING


class ContextTask(Task):
    """A task whose body runs inside the Flask application's context."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        structlog.contextvars.clear_contextvars()
        origin = tracing.take_up(self.request.get(ORIGIN), task_id=str(self.request.id), task=self.name)
        limits = self.soft_time_limit or 0, self.time_limit or 0
        with flask_app.app_context(), deadline.limited(self.name, *limits), tracing.span(self.name, origin.get("traceparent", "")) if origin.get("traceparent") else contextlib.nullcontext():
            return self.run(*args, **kwargs)


celery.Task = ContextTask
celery.set_default()
# Nothing of ours is ever sent for later, that is the database's: RabbitMQ need not get 28 queues for it.
Consumer.Blueprint.default_steps = [step for step in Consumer.Blueprint.default_steps if not step.endswith(":DelayedDelivery")]


@signals.setup_logging.connect
def _logging(**_: object) -> None:
    configure()


@signals.worker_shutting_down.connect
def _leaving(**_: object) -> None:
    process.wake(LEAVING)


@signals.worker_ready.connect
def _threads_have_limits(sender: Any, **_: object) -> None:
    if type(sender.pool).__module__ == "celery.concurrency.thread":
        deadline.watch()


@signals.heartbeat_sent.connect
def _sign_of_life(sender: Any, **_: object) -> None:
    figures.worker_is_there(str(sender.eventer.hostname))


@functools.cache
def _warm_up() -> None:
    """Make once what the first task of each child would make for itself: mappers, statements, what they import."""
    with flask_app.app_context():
        with contextlib.suppress(OperationalError), unit_of_work() as uow:
            run_execution.claim(uow, uuid4())
        db.engine.dispose()


@signals.worker_before_create_process.connect
def _share_memory(**_: object) -> None:
    _warm_up()
    # Each child asks to die with its parent through cffi, whose parser of C is larger than all the rest a child makes.
    with contextlib.suppress(ImportError):
        from cffi import FFI  # noqa: PLC0415 - billiard has it where it can be had

        FFI().cdef("int prctl(int, ...);")
    # What was loaded is never collected in the children: a collection writes to every object, and unshares it.
    gc.collect()
    gc.freeze()


@signals.worker_process_init.connect
def _fresh_connections(**_: object) -> None:
    from app.services import forked  # noqa: PLC0415 - only pool children need it

    with flask_app.app_context():
        forked.forget_connections()


register()
