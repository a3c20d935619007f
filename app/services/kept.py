"""What is kept in Redis for a moment, under which keys, and which events end it earlier."""

from collections.abc import Iterable

from app.streaming.events import Event

FACETS_TTL_S = 5.0  # what the server list's filters offer, and the numbers beside them
STATISTICS_TTL_S = 30.0
DAYS_TTL_S = 60.0  # of runs, day by day


def facets(user_id: int | None) -> str:
    """Return the key of what one person's servers have in common, or everybody's."""
    return "facets:all" if user_id is None else f"facets:user:{user_id}"


def counts(user_id: int | None) -> str:
    """Return the key of how many of one person's servers have each status, or of everybody's."""
    return "counts:all" if user_id is None else f"counts:user:{user_id}"


def statistics(part: str, user_id: int | None) -> str:
    """Return the key of a part of the statistics: everything's is `stat:<part>`."""
    return f"stat:{part}" if user_id is None else f"stat:{part}:user:{user_id}"


def old(events: Iterable[Event]) -> list[str]:
    """Return what these events make old: of the owners of what they are about, and of those who see everything."""
    keys: set[str] = set()
    for e in events:
        owners = [None, *(int(owner) for owner in e.audience.removeprefix("owner:").split(",") if owner.isdigit())]
        if e.type == "server":
            keys |= {key(owner) for owner in owners for key in (facets, counts)}
        if e.type == "run" and e.data.get("ended"):
            keys |= {statistics(part, owner) for owner in owners for part in ("days", "completed", "recent")}
        if e.type in ("run", "action"):
            keys |= {statistics("running", owner) for owner in owners}
    return sorted(keys)
