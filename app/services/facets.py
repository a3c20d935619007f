"""Where what the server list's filters offer is kept for a few seconds, and which events end that earlier."""

from collections.abc import Iterable

from app.adapters.redis_client import cache
from app.streaming.events import Event

TTL_S = 5.0
EVERYTHING = "facets:all"


def key(user_id: int | None) -> str:
    """Return the key of one person's servers, or of all."""
    return EVERYTHING if user_id is None else f"facets:user:{user_id}"


def follow(events: Iterable[Event]) -> None:
    """Forget what a server's event makes old: what its owners and those who see everything are offered."""
    owners = {owner for e in events if e.type == "server" for owner in e.audience.removeprefix("owner:").split(",")}
    if owners:
        cache.forget(EVERYTHING, *(f"facets:user:{owner}" for owner in owners))
