"""The Celery application object, and the one way to ring bells."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import kombu
import redis
from amqp.exceptions import AMQPError, NotFound
from celery import Celery
from kombu import Connection
from kombu.exceptions import BatchPublishError
from kombu.exceptions import OperationalError as KombuOperationalError
from kombu.pools import producers
from redis.exceptions import RedisError

from app.adapters import redis_sender
from app.config import get_settings
from app.domain.tasks import ROUTES, Queue, TaskName
from app.errors import AppError

SEND_TIMEOUT_S = 0.5
CONFIRM_TIMEOUT_S = 2.0  # until RabbitMQ says that a message is on the disks of most of its nodes
YIELD_S = 0.001
HELD_LONGER_S = 600
EXCHANGE = "tpm"
ORIGIN = "tpm_origin"  # a message header; "origin" is one of Celery's own
# After a failure nobody waits for the broker again for so long; the sweeper rings meanwhile.
BREAK_S = 2.0


class BrokerDown(AppError):
    """Bells could not be rung now, all but the first `rung`; their outbox rows stay and the sweeper rings them."""

    code, retryable = "broker_down", True

    def __init__(self, detail: str, rung: int = 0) -> None:
        super().__init__(detail)
        self.rung = rung


@dataclass(frozen=True)
class Bell:
    """A message: `args` are ids, `task_id` is the task's own, `origin` is of the request it comes from."""

    task: TaskName
    args: Sequence[object]
    task_id: UUID | None = None
    origin: Mapping[str, str] | None = None


def _rabbitmq() -> bool:
    return get_settings().celery_broker_url.startswith("amqp")


def _queues() -> list[kombu.Queue]:
    """The queues by name; RabbitMQ's are quorum queues, which outlive any node that dies."""
    if not _rabbitmq():
        return [kombu.Queue(queue.value) for queue in Queue]
    settings = get_settings()
    # RabbitMQ takes a message away from whoever holds it for longer than this (3.12 and newer look at the argument; older
    # ones at their own half hour): it must be longer than any task may take.
    held_ms = 1000 * (settings.task_time_limit_s + HELD_LONGER_S)
    exchange = kombu.Exchange(EXCHANGE, type="topic", durable=True)
    arguments = {"x-queue-type": "quorum", "x-consumer-timeout": held_ms}
    return [kombu.Queue(queue.value, exchange, routing_key=queue.value, durable=True, queue_arguments=arguments) for queue in Queue]


def _transport_options() -> dict[str, Any]:
    if _rabbitmq():
        # A message counts as sent when the broker says that it has it.
        return {"confirm_publish": True}
    # A message of a worker that died comes back after 30 s and at most 5 more (by default an hour and 100 s). It may do so
    # while its task still runs: then the second one loses its claim.
    return {"visibility_timeout": 30, "unacked_restore_interval": 5, "unacked_restore_throttle": 1}


def _defaults() -> dict[str, Any]:
    settings = get_settings()
    return {
        "broker_url": settings.celery_broker_url,
        "result_backend": settings.celery_result_backend,
        "task_default_queue": Queue.DEFAULT.value,
        "task_routes": {name.value: {"queue": queue.value} for name, queue in ROUTES.items()},
        "task_queues": _queues(),
        # RabbitMQ gives each consumer of a quorum queue its own number of messages, not all of a channel together.
        "worker_detect_quorum_queues": True,
        "task_soft_time_limit": settings.task_soft_time_limit_s,
        "task_time_limit": settings.task_time_limit_s,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": not _rabbitmq(),
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_send_task_events": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "result_expires": 86_400,
        "result_extended": True,
        "timezone": "UTC",
        "enable_utc": True,
        "broker_transport_options": _transport_options(),
        "beat_schedule": {
            "sweeper": {"task": TaskName.SWEEP.value, "schedule": 3.0, "options": {"expires": 6}},
            "schedules": {"task": TaskName.SCHEDULES.value, "schedule": 2.0, "options": {"expires": 4}},
            "inventory": {"task": TaskName.INVENTORY.value, "schedule": 10.0, "options": {"expires": 20}},
            "statistics": {"task": TaskName.STATISTICS.value, "schedule": 10.0, "options": {"expires": 20}},
        },
    }  # fmt: skip


celery = Celery("app")
# Read on first use, so that importing this module needs no configuration.
celery.add_defaults(_defaults)
_down_until = 0.0


def _publisher() -> Connection:
    options: dict[str, object] = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
    if _rabbitmq():
        options |= {"confirm_publish": True, "read_timeout": CONFIRM_TIMEOUT_S, "write_timeout": SEND_TIMEOUT_S}
    else:
        options |= {"socket_connect_timeout": SEND_TIMEOUT_S, "socket_timeout": SEND_TIMEOUT_S}
    url = get_settings().celery_broker_url
    transport = redis_sender.Transport if url.startswith("redis") else None
    return Connection(url, transport=transport, connect_timeout=SEND_TIMEOUT_S, transport_options=options)


_connection: Connection | None = None


def ring(bells: Sequence[Bell]) -> None:
    """Send messages, on Redis all in one round trip, each for at most 0.5 s and without retry. Raises BrokerDown."""
    global _connection, _down_until  # noqa: PLW0603 - one connection a process
    if time.monotonic() < _down_until:
        raise BrokerDown("waiting for the broker to come back")
    rung = 0
    try:
        _connection = _connection or _publisher()
        with producers[_connection].acquire(block=True, timeout=SEND_TIMEOUT_S) as producer, producer.batch() if len(bells) > 1 else contextlib.nullcontext():
            for bell in bells:
                if rung:
                    # Who waits for an answer of this process comes between. Not a sleep of 0, in
                    # which gevent looks for up to 5 ms at nothing that came from outside.
                    time.sleep(YIELD_S)
                _send(producer, bell)
                rung += 1
    except (BatchPublishError, KombuOperationalError, RedisError, AMQPError, OSError) as exc:
        _down_until = time.monotonic() + BREAK_S
        _drop_connection()
        # On Redis, which gets them at the end, none went out or nobody knows: one that rings twice does no harm.
        raise BrokerDown(f"ringing {', '.join(sorted({bell.task.value for bell in bells}))}", rung if _rabbitmq() else 0) from exc


def _send(producer: kombu.Producer, bell: Bell) -> None:
    """Send one message as Celery's send_task does in its end: all else of that is for what a bell has not, and takes twice as long."""
    args, task_id = list(bell.args), str(bell.task_id or uuid4())
    message = celery.amqp.create_task_message(task_id, bell.task.value, args, {}, ignore_result=True, argsrepr=repr(args), kwargsrepr="{}")
    headers = {ORIGIN: dict(bell.origin)} if bell.origin else None
    celery.amqp.send_task_message(
        producer, bell.task.value, message, queue=ROUTES[bell.task].value, retry=False, headers=headers, **_of_broker()
    )


def _of_broker() -> dict[str, Any]:
    """RabbitMQ is waited for, and loses what comes for a queue that nobody has declared; Redis has no such thing."""
    return {"confirm_timeout": CONFIRM_TIMEOUT_S} if _rabbitmq() else {"declare": []}


def _drop_connection() -> None:
    """A connection on which a confirmation is outstanding must not tell of the next message that the last one arrived."""
    global _connection  # noqa: PLW0603
    if _connection is not None and _rabbitmq():
        producers[_connection].force_close_all()
        with contextlib.suppress(KombuOperationalError, AMQPError, OSError):
            _connection.close()
        _connection = None


def ping() -> None:
    """Connect to the broker once. Raises BrokerDown."""
    try:
        with _publisher() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=SEND_TIMEOUT_S)
            connection.default_channel.close()
    except (KombuOperationalError, RedisError, AMQPError, OSError) as exc:
        raise BrokerDown("the message broker does not answer") from exc


def queue_length(queue: Queue) -> int | None:
    """Return how many messages wait in a queue; None when that cannot be told now."""
    if _rabbitmq():
        return _depth(queue)
    try:
        with redis.Redis.from_url(
            get_settings().celery_broker_url, socket_timeout=SEND_TIMEOUT_S, socket_connect_timeout=SEND_TIMEOUT_S
        ) as client:
            return int(client.llen(queue.value))
    except RedisError:
        return None


def _depth(queue: Queue) -> int | None:
    """Ask RabbitMQ how many messages are ready in a queue; none of one that nobody has declared yet."""
    try:
        with _publisher() as connection, connection.channel() as channel:
            try:
                return int(channel.queue_declare(queue.value, passive=True).message_count)
            except NotFound:
                return 0
    except (KombuOperationalError, AMQPError, OSError):
        return None


def away() -> bool:
    """True when the broker does not answer now."""
    return queue_length(Queue.TERRAFORM) is None


def after_fork() -> None:
    """Forget connections of the parent process without touching them."""
    global _connection, _down_until
    _connection, _down_until = None, 0.0
    producers.clear()
