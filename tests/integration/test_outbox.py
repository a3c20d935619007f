"""What several transactions left to be said, sent together: all of it, in order, and nothing forgotten that nobody took."""

import base64
import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis
from sqlalchemy import func, select

from app.adapters import broker
from app.domain.tasks import TaskName
from app.models import Outbox
from app.services import outbox
from app.services.uow import unit_of_work


@pytest.fixture(autouse=True)
def _no_pause() -> Iterator[None]:
    """What a test makes of the broker is not remembered by the next one."""
    yield
    broker.after_fork()


@pytest.fixture
def full(store: "redis.Redis") -> Iterator["redis.Redis"]:
    """A Valkey that takes nothing any more until `maxmemory` is 0 again."""
    store.config_set("maxmemory-policy", "noeviction")
    store.config_set("maxmemory", "1")
    yield store
    store.config_set("maxmemory", "0")


def left(count: int) -> list[outbox.Entry]:
    """That many bells and as many events, written and not yet sent."""
    rows: list[outbox.Message] = []
    for number in range(count):
        task_id = str(uuid4())
        rows.append(("bell", {"task": TaskName.RUN.value, "args": [f"run-{number}"], "task_id": task_id, "origin": {"request_id": f"asked-{number}"}}))
        rows.append(("event", {"type": "run", "audience": "all", "data": {"id": number}}))
    with unit_of_work() as uow:
        return outbox.store(uow.session, rows)


def kept() -> int:
    with unit_of_work() as uow:
        return uow.session.scalar(select(func.count()).select_from(Outbox)) or 0


def heard(store: "redis.Redis") -> list[dict[str, Any]]:
    """The messages of the queue, the first one first."""
    return [json.loads(message) for message in reversed(store.lrange("terraform", 0, -1))]


def test_bells_of_several_requests_are_rung_in_their_order_and_each_for_its_own(store: "redis.Redis") -> None:
    entries = left(20)
    outbox.deliver(entries)
    messages = heard(store)
    assert [json.loads(base64.b64decode(m["body"]))[0] for m in messages] == [[f"run-{n}"] for n in range(20)]
    assert [m["headers"]["id"] for m in messages] == [payload["task_id"] for _, kind, payload in entries if kind == "bell"]
    assert [m["headers"][broker.ORIGIN] for m in messages] == [{"request_id": f"asked-{n}"} for n in range(20)]
    assert kept() == 0


def test_bells_of_several_requests_do_not_take_a_round_trip_each(store: "redis.Redis") -> None:
    outbox.deliver(left(1))
    before = int(store.info("stats")["total_reads_processed"])
    broker.ring([broker.Bell(TaskName.RUN, [number]) for number in range(100)])
    # How often Valkey had something to read: long ones in several pieces, and from whoever else is connected.
    assert int(store.info("stats")["total_reads_processed"]) - before < 50


def test_what_a_full_broker_does_not_take_is_kept_and_sent_when_there_is_room(full: "redis.Redis") -> None:
    outbox.deliver(left(3))
    assert (kept(), heard(full)) == (6, [])
    full.config_set("maxmemory", "0")
    broker.after_fork()
    outbox.events.after_fork()
    assert outbox.sweep(older_than_s=0) == 6
    assert (kept(), len(heard(full))) == (0, 3)


def test_after_a_failure_nobody_waits_for_the_broker_for_a_moment(full: "redis.Redis") -> None:
    with pytest.raises(broker.BrokerDown) as first:
        broker.ring([broker.Bell(TaskName.RUN, ["a"]), broker.Bell(TaskName.SWEEP, [])])
    assert first.value.rung == 0
    full.config_set("maxmemory", "0")
    with pytest.raises(broker.BrokerDown, match="waiting for the broker"):
        broker.ring([broker.Bell(TaskName.RUN, ["a"])])
    assert heard(full) == []


def test_messages_after_the_first_make_no_new_client_of_the_broker(store: "redis.Redis", monkeypatch: pytest.MonkeyPatch) -> None:
    outbox.deliver(left(1))
    made: list[object] = []
    begin = redis.Redis.__init__
    monkeypatch.setattr(redis.Redis, "__init__", lambda self, *args, **options: made.append(self) or begin(self, *args, **options))
    for count in (1, 1, 3):
        outbox.deliver(left(count))
    assert len(heard(store)) == 6
    assert made == []
