"""Signing in and out: throttling, the audit of it, and ending sessions everywhere."""

from functools import cache

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import FixedWindowRateLimiter
from redis.exceptions import RedisError
from sqlalchemy import func, select

from app.adapters import passwords
from app.config import get_settings
from app.domain.permissions import Role
from app.errors import TooManyRequests
from app.models import User
from app.services import audit, users
from app.services.actor import Actor
from app.services.uow import UnitOfWork

PER_NAME = RateLimitItemPerMinute(10, 5)  # attempts of one address at one username
PER_ADDRESS = RateLimitItemPerMinute(60, 5)
_memory = FixedWindowRateLimiter(MemoryStorage())


class TooManyAttempts(TooManyRequests):
    """Sign-in is closed for this address and username for a while."""

    code = "too_many_attempts"


@cache
def _shared() -> FixedWindowRateLimiter:
    url = get_settings().redis_url
    return FixedWindowRateLimiter(
        RedisStorage(url, key_prefix="tpm:limit", wrap_exceptions=True, socket_timeout=0.5, socket_connect_timeout=0.5)
    )


def _hit(limit: RateLimitItem, *key: str) -> bool:
    try:
        return _shared().hit(limit, *key)
    except (RedisError, StorageError, OSError):
        return _memory.hit(limit, *key)


def _key(address: str, username: str) -> tuple[str, str, str]:
    return "sign-in", address, username.strip().lower()[:64]


def throttle(address: str, username: str) -> None:
    """Count an attempt. Raises TooManyAttempts, whether such a user exists or not."""
    if not (_hit(PER_NAME, *_key(address, username)) and _hit(PER_ADDRESS, "sign-in", address)):
        raise TooManyAttempts(retry_after_s=PER_NAME.get_expiry())


def _forgive(address: str, username: str) -> None:
    try:
        _shared().clear(PER_NAME, *_key(address, username))
    except (RedisError, StorageError, OSError):
        _memory.clear(PER_NAME, *_key(address, username))


def signed_in(uow: UnitOfWork, user_id: int, password: str, address: str) -> User:
    """Write that the user signed in; renews a hash made with older parameters."""
    user = users.get(uow.session, user_id)
    if passwords.outdated(user.password_hash):
        user.password_hash = passwords.hash_password(password)
    user.last_login_at = uow.session.scalar(select(func.clock_timestamp()))
    audit.record(uow, Actor.of(user, address), "session.sign_in", "user", user.id, user.username)
    _forgive(address, user.username)
    return user


def refused(uow: UnitOfWork, username: str, address: str) -> None:
    """Write that somebody tried; the name is kept only in a form that a username can have."""
    name = username.strip().lower()
    shown = name if users.USERNAME.fullmatch(name) else ""
    audit.record(uow, Actor(0, "", Role.VIEWER, address), "session.refused", "user", "", shown)


def signed_out(uow: UnitOfWork, actor: Actor, session_mark: str) -> None:
    """Write that the user signed out, and end the streams of that very session in every process."""
    audit.record(uow, actor, "session.sign_out", "user", actor.user_id, actor.username)
    uow.publish("session", f"user:{actor.user_id}", {"ended": session_mark})


def sign_out_everywhere(uow: UnitOfWork, actor: Actor, keep: str = "") -> User:
    """End all of one's own sessions and streams but the one marked `keep`; API tokens go on."""
    user = users.get(uow.session, actor.user_id)
    user.session_epoch += 1
    audit.record(uow, actor, "session.sign_out_everywhere", "user", user.id, user.username)
    users.tell_sessions(uow, user, keep)
    return user
