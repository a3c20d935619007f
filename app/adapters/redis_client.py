"""What is worth keeping for a moment: values under a key for some seconds, computed once for all who ask together."""

import contextlib
import json
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import redis
from redis.exceptions import LockError

from app.streaming import events

# Longer than a computation takes; whoever computes and dies is waited for no longer than the others have patience.
LOCK_S = 10.0
PATIENCE_S = 1.0
BREAK_S = 2.0
FORGOTTEN_S = 60  # longer than any computation takes
# Unless it was forgotten since: what was read before a change would be kept after it.
_KEEP = """
if (redis.call('get', KEYS[2]) or '0') == ARGV[3] then
    redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2])
end
return 0
"""
# All of them at once; the keys are those of `_forgotten`.
_FORGET = """
for _, key in ipairs(KEYS) do
    redis.call('incr', key .. ':forgotten')
    redis.call('expire', key .. ':forgotten', ARGV[1])
    redis.call('del', key)
end
return 0
"""


class Source(StrEnum):
    REDIS = "redis"
    POSTGRESQL = "postgresql"


@dataclass(frozen=True)
class Found:
    """A JSON value and where it came from."""

    value: Any
    source: Source


class RedisClient:
    """Never the truth: everything in it can be computed again, and without Redis it is, each time."""

    def __init__(self, client: "Callable[[], redis.Redis]" = events.client) -> None:
        self._client = client
        self._down_until = 0.0

    def get(self, key: str) -> Any | None:
        """Return the JSON value of a key; None when there is none, when it cannot be read, or without Redis."""
        try:
            text = self._ask(lambda client: client.get(key))
            return None if text is None else json.loads(text)
        except (redis.RedisError, ValueError):
            return None

    def set(self, key: str, value: Any, ttl: float) -> bool:
        """Keep a JSON value for so many seconds; False when Redis did not take it."""
        return self._did(lambda client: client.set(key, _text(value), px=_ms(ttl)))

    @staticmethod
    def forget(client: "redis.Redis", keys: Collection[str]) -> None:
        """Forget these keys before their time, by one command of a client or a pipeline.

        What is being computed for them now is not kept either.
        """
        if keys:
            client.eval(_FORGET, len(keys), *keys, FORGOTTEN_S)

    def get_or_compute(self, key: str, ttl: float, compute: Callable[[], Any]) -> Found:
        """Return the value of a key, else compute it: one of those who ask at the same time, the others wait for it a moment."""
        if (value := self.get(key)) is not None:
            return Found(value, Source.REDIS)
        try:
            lock = self._ask(lambda client: client.lock(f"{key}:lock", timeout=LOCK_S, sleep=0.02, blocking_timeout=PATIENCE_S))
            held = self._ask(lambda _: lock.acquire())
        except redis.RedisError:
            return Found(compute(), Source.POSTGRESQL)
        try:
            # Whoever held it before has most likely left the value.
            if (value := self.get(key)) is not None:
                return Found(value, Source.REDIS)
            before = self.get(_forgotten(key)) or 0
            value = compute()
            self._did(lambda client: client.eval(_KEEP, 2, key, _forgotten(key), _text(value), _ms(ttl), before))
            return Found(value, Source.POSTGRESQL)
        finally:
            if held:
                # When it ran out meanwhile it is somebody else's.
                with contextlib.suppress(redis.RedisError, LockError):
                    self._ask(lambda _: lock.release())

    # ---- sums, and who is there
    def add(self, key: str, amounts: Mapping[str, float]) -> bool:
        """Add to fields of a hash; False when Redis did not take it."""

        def work(client: "redis.Redis") -> None:
            pipe = client.pipeline(transaction=False)
            for field, amount in amounts.items():
                pipe.hincrbyfloat(key, field, amount)
            pipe.execute()

        return self._did(work)

    def sums(self, key: str) -> dict[str, float]:
        """Return a hash's fields; none without Redis."""
        try:
            return {field: float(amount) for field, amount in self._ask(lambda client: client.hgetall(key)).items()}
        except redis.RedisError:
            return {}

    def sign(self, key: str, name: str, alive_s: float) -> bool:
        """Note that somebody is there now; who has not been for `alive_s` seconds is forgotten."""

        def work(client: "redis.Redis") -> None:
            pipe = client.pipeline(transaction=False)
            pipe.zadd(key, {name: time.time()})
            pipe.zremrangebyscore(key, 0, time.time() - alive_s)
            pipe.execute()

        return self._did(work)

    def signed(self, key: str, alive_s: float) -> list[str] | None:
        """Return who was there within so many seconds; None without Redis."""
        try:
            found: list[str] = self._ask(lambda client: client.zrangebyscore(key, time.time() - alive_s, "+inf"))
        except redis.RedisError:
            return None
        return found

    def _did(self, work: "Callable[[redis.Redis], Any]") -> bool:
        try:
            self._ask(work)
        except redis.RedisError:
            return False
        return True

    def _ask(self, question: "Callable[[redis.Redis], Any]") -> Any:
        """Ask Redis, unless it did not answer a moment ago: nobody waits for it twice."""
        if time.monotonic() < self._down_until:
            raise redis.ConnectionError("not asked again yet")
        try:
            return question(self._client())
        except (redis.ConnectionError, redis.TimeoutError):
            self._down_until = time.monotonic() + BREAK_S
            raise


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _ms(ttl: float) -> int:
    return max(1, round(ttl * 1000))


def _forgotten(key: str) -> str:
    """The key of how often a key was forgotten."""
    return f"{key}:forgotten"


cache = RedisClient()
