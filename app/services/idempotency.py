"""Idempotency keys: the same key and body from the same user on the same route give the same answer once more.

A concurrent twin waits on the unique index until the first one's transaction ends, then finds its answer.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from app.errors import Conflict, FieldError, IdempotencyMismatch, Invalid
from app.models import IdempotencyKey
from app.services.actor import Actor
from app.services.uow import UnitOfWork

KEEP = timedelta(hours=24)
MAX_KEY = 255


@dataclass(frozen=True)
class Stored:
    """The answer that was given the first time."""

    answer: dict[str, Any]
    location: str | None


def digest(body: bytes) -> str:
    """Return the hash by which two bodies are compared."""
    return hashlib.sha256(body).hexdigest()


def begin(uow: UnitOfWork, actor: Actor, route: str, key: str | None, body_hash: str) -> Stored | None:
    """Take the key in this transaction; the stored answer when it was used before. Raises IdempotencyMismatch."""
    if not key:
        return None
    if len(key) > MAX_KEY:
        raise Invalid([FieldError("Idempotency-Key", "idempotency_key_too_long")])
    mine = uow.session.execute(
        insert(IdempotencyKey)
        .values(user_id=actor.user_id, route=route, key=key, body_hash=body_hash)
        .on_conflict_do_nothing(index_elements=["user_id", "route", "key"])
        .returning(IdempotencyKey.id)
    ).scalar()
    if mine is not None:
        return None
    row = uow.session.scalars(
        select(IdempotencyKey).where(
            IdempotencyKey.user_id == actor.user_id, IdempotencyKey.route == route, IdempotencyKey.key == key
        )
    ).one_or_none()
    if row is None or row.answer is None:
        raise Conflict("the key's first request was removed while this one waited")
    if row.body_hash != body_hash:
        raise IdempotencyMismatch
    return Stored(row.answer, row.location)


def finish(
    uow: UnitOfWork, actor: Actor, route: str, key: str | None, answer: dict[str, Any], location: str | None = None
) -> None:
    """Store the answer beside the key that `begin` took."""
    if key:
        uow.session.execute(
            update(IdempotencyKey)
            .where(IdempotencyKey.user_id == actor.user_id, IdempotencyKey.route == route, IdempotencyKey.key == key)
            .values(answer=answer, location=location)
        )


def once(
    uow: UnitOfWork, actor: Actor, route: str, key: str | None, body_hash: str, work: Callable[[], Stored]
) -> Stored:
    """Return the answer of the key's first use, or do the work and store its answer."""
    if (stored := begin(uow, actor, route, key, body_hash)) is not None:
        return stored
    # Without a key nothing is left to be written afterwards.
    uow.batch_ends = not key
    made = work()
    finish(uow, actor, route, key, made.answer, made.location)
    return made


def old() -> Any:
    """A condition: nobody comes back with this key."""
    return IdempotencyKey.created_at < func.clock_timestamp() - KEEP


def forget_old(uow: UnitOfWork) -> None:
    """Delete keys older than a day; the sweeper calls this."""
    uow.session.execute(delete(IdempotencyKey).where(old()))
