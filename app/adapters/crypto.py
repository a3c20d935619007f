"""Secrets at rest: MultiFernet under ENCRYPTION_KEYS; large bodies are compressed first."""

import base64
import hashlib
import zlib
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from app.config import get_settings
from app.errors import AppError


class Undecryptable(AppError):
    """None of the configured keys opens the stored value."""

    code = "undecryptable"


def _fernet_key(text: str) -> bytes:
    raw = text.encode()
    try:
        if len(base64.urlsafe_b64decode(raw)) == 32:
            return raw
    except ValueError:
        pass
    return base64.urlsafe_b64encode(hashlib.sha256(raw).digest())


@lru_cache(maxsize=1)
def _box() -> MultiFernet:
    return MultiFernet([Fernet(_fernet_key(k.get_secret_value())) for k in get_settings().encryption_keys])


def encrypt(data: bytes) -> bytes:
    """Encrypt a small secret."""
    return _box().encrypt(data)


def decrypt(token: bytes) -> bytes:
    """Decrypt what `encrypt` made. Raises Undecryptable."""
    try:
        return _box().decrypt(bytes(token))
    except InvalidToken as exc:
        raise Undecryptable from exc


def is_newest(token: bytes) -> bool:
    """True when the newest key alone opens it."""
    try:
        Fernet(_fernet_key(get_settings().encryption_key_texts[0])).decrypt(bytes(token))
    except InvalidToken:
        return False
    return True


def rotate(token: bytes) -> bytes:
    """Encrypt anew with the newest key. Raises Undecryptable."""
    try:
        return _box().rotate(bytes(token))
    except InvalidToken as exc:
        raise Undecryptable from exc


def seal(body: bytes) -> bytes:
    """Compress and encrypt a large body (a state, a plan)."""
    return encrypt(zlib.compress(body, 3))


def unseal(token: bytes) -> bytes:
    """Open what `seal` made. Raises Undecryptable."""
    return zlib.decompress(decrypt(token))
