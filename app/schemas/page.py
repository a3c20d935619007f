"""Keyset pages: every list answers `items` and `next_cursor`."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from app.errors import FieldError, Invalid

T = TypeVar("T")
DEFAULT_LIMIT = 50
MAX_LIMIT = 200


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page; `next_cursor` is None on the last."""

    items: Sequence[T]
    next_cursor: str | None


def encode_cursor(*values: str | int) -> str:
    """Make an opaque cursor of the last row's sort keys."""
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def decode_cursor(text: str | None, *types: type) -> list[str | int] | None:
    """Read a cursor with values of these types; None without one. Raises Invalid."""
    if not text:
        return None
    try:
        values = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError):
        values = None
    if not isinstance(values, list) or [type(v) for v in values] != list(types):
        raise Invalid([FieldError("cursor", "bad_cursor")])
    return values


def clamp(limit: int | None) -> int:
    """Bound a page size to 1..200; 50 when not given."""
    return DEFAULT_LIMIT if limit is None else max(1, min(limit, MAX_LIMIT))


def like(part: str) -> str:
    """Return the pattern of SQL's LIKE for texts that hold this part."""
    escaped = part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
