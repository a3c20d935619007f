"""Events of the one capped Redis stream: what is in one, and appending it.

An event carries codes and numbers, never markup or prose. Its audience is decided where it is made:
`all` (everybody who may view), `user:ID` (one person), `owner:ID,ID` (the owners and all who see everything).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import redis

from app.config import get_settings

STREAM = "tpm:events"
KEEP = 20_000
TIMEOUT_S = 0.5
BREAK_S = 2.0
_encode = msgspec.json.Encoder(enc_hook=str).encode
# All of them by one command: a reader who waits is woken once, and one answer is read.
_APPEND = """
for i = 2, #ARGV, 6 do
    redis.call('xadd', KEYS[1], 'maxlen', '~', ARGV[1], '*', unpack(ARGV, i, i + 5))
end
return 0
"""


@dataclass(frozen=True)
class Event:
    """`type` is one of notification, server, run, log, action, cluster, workspace, statistics, schedule, safe_change, session."""

    type: str
    audience: str
    data: dict[str, Any] = field(default_factory=dict)

    def fields(self) -> dict[str, str]:
        return {"e": self.type, "a": self.audience, "d": _encode(self.data).decode()}


_client: "redis.Redis | None" = None
_down_until = 0.0


def client() -> "redis.Redis":
    """This process's Redis client with short timeouts (not for blocking reads)."""
    global _client  # noqa: PLW0603 - one a process
    if _client is None:
        _client = redis.Redis.from_url(
            get_settings().redis_url,
            decode_responses=True,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=None,
        )
    return _client


def append(events: Sequence[Event], first: "Callable[[redis.Redis], None] | None" = None) -> bool:
    """Append to the stream, best effort; False when Redis did not take them. `first` adds commands to the same round trip."""
    global _down_until  # noqa: PLW0603
    if not events:
        return True
    if time.monotonic() < _down_until:
        return False
    try:
        pipe = client().pipeline(transaction=False)
        if first is not None:
            first(pipe)
        pipe.eval(_APPEND, 1, STREAM, KEEP, *(part for event in events for field in event.fields().items() for part in field))
        pipe.execute()
    except redis.RedisError:
        _down_until = time.monotonic() + BREAK_S
        return False
    return True


def after_fork() -> None:
    """Forget the parent's connection without touching it."""
    global _client, _down_until
    _client, _down_until = None, 0.0
