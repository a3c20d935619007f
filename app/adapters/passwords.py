"""Password hashes (argon2id); the work leaves gevent's hub free.

Hashes that the older application left (werkzeug's scrypt and pbkdf2) are recognised, and renewed at the next sign-in.
"""

import secrets
from functools import cache

import argon2
from argon2.exceptions import InvalidHashError, VerificationError
from werkzeug.security import check_password_hash

from app.adapters.aside import aside

OLDER = ("scrypt:", "pbkdf2:")

# OWASP's first choice for argon2id: 19 MiB, two passes, one lane.
_hasher = argon2.PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


def hash_password(password: str) -> str:
    """Return the hash to store."""
    return aside(lambda: _hasher.hash(password))


def _verify(stored: str, password: str) -> bool:
    if stored.startswith(OLDER):
        try:
            return check_password_hash(stored, password)
        except (ValueError, MemoryError):
            return False
    try:
        return _hasher.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


def verify(stored: str, password: str) -> bool:
    """True when the password is the stored one."""
    return aside(lambda: _verify(stored, password))


@cache
def _nobodys_hash() -> str:
    return _hasher.hash(secrets.token_urlsafe(16))


def verify_nobody(password: str) -> None:
    """Do the work of a verification for a user that does not exist, so that both take as long."""
    aside(lambda: _verify(_nobodys_hash(), password))


def outdated(stored: str) -> bool:
    """True when the hash was made in another way, or with other parameters, than today's."""
    return stored.startswith(OLDER) or _hasher.check_needs_rehash(stored)


def random_password() -> str:
    """Return a password of 96 random bits that can be typed."""
    return secrets.token_urlsafe(12)
