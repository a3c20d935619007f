"""Messages of workers that died: with the broker as it is, and without waiting a quarter of an hour."""

import json
import os
import signal
from collections.abc import Iterator

import pytest
import redis

from tests.stack import Stack, alive, eventually


@pytest.fixture
def broker(stack: Stack) -> Iterator["redis.Redis"]:
    url = json.loads((stack.data_dir / "instance.json").read_text())["redis_url"]
    with redis.Redis.from_url(url, decode_responses=True) as client:
        yield client


def unacknowledged(broker: "redis.Redis", task: str) -> set[str]:
    """Tags of messages of a task that a worker has and has not acknowledged."""
    return {tag for tag, message in broker.hgetall("unacked").items() if json.loads(message)[0]["headers"]["task"] == task}


def test_what_a_killed_worker_had_is_given_to_another_within_a_minute(stack: Stack, broker: "redis.Redis") -> None:
    pids = stack.info["pids"]
    os.kill(pids["simulator"], signal.SIGSTOP)  # so that the inventory waits for an answer
    try:
        tags = eventually(lambda: unacknowledged(broker, "inventory.poll"), 40, "a worker reads the inventory")
        os.kill(pids["worker_actions"], signal.SIGKILL)
        eventually(lambda: not alive(pids["worker_actions"]), 10)
        assert unacknowledged(broker, "inventory.poll") >= tags, "nobody acknowledged it"
    finally:
        os.kill(pids["simulator"], signal.SIGCONT)
    eventually(lambda: not tags & set(broker.hkeys("unacked")), 60, "the message was given back")
    eventually(lambda: not broker.hkeys("unacked"), 60, "and was worked off")
