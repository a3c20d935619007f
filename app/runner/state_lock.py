"""The lock that Terraform takes on its state, for one that was given a lock address. In memory: fence and lease are the lock between runs."""

import json


class LockMalformed(ValueError):
    """The body names no lock."""


class Locked(Exception):
    """Another lock is held; `holder` is what its owner said about it, as it came."""

    def __init__(self, holder: bytes) -> None:
        super().__init__("locked")
        self.holder = holder


class StateLock:
    """At most one lock, known by its id. Not safe for threads: the state server serves one request at a time."""

    def __init__(self) -> None:
        self._id: str | None = None
        self._holder = b""

    def lock(self, body: bytes) -> None:
        """Take the lock; again by the same id is harmless, its first answer was lost. Raises Locked, LockMalformed."""
        wanted = _id_of(body)
        self.pass_by(wanted)
        self._id, self._holder = wanted, body

    def unlock(self, body: bytes) -> None:
        """Give the lock back; harmless when nobody holds it any more. Raises Locked, LockMalformed."""
        self.pass_by(_id_of(body))
        self.clear()

    def pass_by(self, lock_id: str) -> None:
        """Return when nobody but this id holds the lock. Raises Locked."""
        if self._id not in (None, lock_id):
            raise Locked(self._holder)

    def clear(self) -> None:
        """Forget a lock whose Terraform is gone."""
        self._id, self._holder = None, b""


def _id_of(body: bytes) -> str:
    try:
        found = json.loads(body)["ID"]
    except (ValueError, LookupError, TypeError, RecursionError) as exc:
        raise LockMalformed from exc
    if not isinstance(found, str) or not found:
        raise LockMalformed
    return found
