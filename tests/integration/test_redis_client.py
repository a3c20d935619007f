"""What is kept for a moment: computed once for all who ask together, and computed each time where there is no Redis."""

import threading
from typing import Any

import pytest
import redis

from app.adapters.redis_client import RedisClient, Source


@pytest.fixture
def cache(store: "redis.Redis") -> RedisClient:
    return RedisClient(lambda: store)


def test_what_was_computed_is_there_until_its_time_is_over(cache: RedisClient, store: "redis.Redis") -> None:
    first = cache.get_or_compute("answer", 30, lambda: {"n": 42})
    again = cache.get_or_compute("answer", 30, lambda: pytest.fail("computed again"))
    assert (first.value, first.source) == ({"n": 42}, Source.POSTGRESQL)
    assert (again.value, again.source) == ({"n": 42}, Source.REDIS)
    assert 29_000 < int(store.pttl("answer")) <= 30_000  # type: ignore[arg-type]  # not asynchronous
    assert not store.exists("answer:lock")


def test_of_many_who_ask_together_one_computes(cache: RedisClient) -> None:
    begun, go = threading.Event(), threading.Event()
    computed: list[int] = []
    answers: list[Any] = []

    def compute() -> int:
        begun.set()
        go.wait(10)
        computed.append(1)
        return 7

    def ask() -> None:
        answers.append(cache.get_or_compute("slow", 30, compute).value)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    threads[0].start()
    assert begun.wait(10)
    for thread in threads[1:]:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(20)
    assert (answers, computed) == ([7] * 8, [1])


def test_who_cannot_wait_computes_too_and_nobody_is_stuck_behind_a_dead_one(cache: RedisClient, store: "redis.Redis", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.adapters.redis_client.PATIENCE_S", 0.05)
    store.set("dead:lock", "of somebody who died", px=60_000)
    assert cache.get_or_compute("dead", 30, lambda: "mine").value == "mine"
    assert store.get("dead:lock") == "of somebody who died"


def test_a_failed_computation_is_not_kept_and_leaves_no_lock(cache: RedisClient, store: "redis.Redis") -> None:
    with pytest.raises(ZeroDivisionError):
        cache.get_or_compute("broken", 30, lambda: 1 / 0)
    assert not store.exists("broken", "broken:lock")


def test_what_was_forgotten_while_it_was_computed_is_not_kept(cache: RedisClient, store: "redis.Redis") -> None:
    def compute() -> int:
        cache.forget(store, ["old"])  # something changed that was read already
        return 1

    assert cache.get_or_compute("old", 30, compute).value == 1
    assert not store.exists("old")
    assert cache.get_or_compute("old", 30, lambda: 2).value == 2
    assert cache.get("old") == 2
    assert int(store.pttl("old:forgotten")) > 0  # type: ignore[arg-type]  # not asynchronous


def test_without_redis_each_computes_and_only_the_first_waits_for_it() -> None:
    asked: list[int] = []

    def gone() -> "redis.Redis":
        asked.append(1)
        return redis.Redis(port=1, socket_connect_timeout=0.2, retry=None)

    cache = RedisClient(gone)
    found = [cache.get_or_compute("any", 30, lambda: "told") for _ in range(3)]
    assert [(f.value, f.source) for f in found] == [("told", Source.POSTGRESQL)] * 3
    assert len(asked) == 1 and cache.set("any", 1, 30) is False


def test_what_is_no_json_is_computed_anew(cache: RedisClient, store: "redis.Redis") -> None:
    store.set("odd", "{")
    assert cache.get_or_compute("odd", 30, lambda: [1]).value == [1]
    assert cache.get("odd") == [1]
