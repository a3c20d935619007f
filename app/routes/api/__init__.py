"""The JSON API: helpers that every blueprint below /api shares."""

from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from typing import Any, TypeVar
from uuid import UUID

from flask import Response, json

from app.schemas.page import Page

T = TypeVar("T")


def _plain(value: object) -> object:
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case Enum():
            return value.value
        case UUID():
            return str(value)
    raise TypeError(type(value).__name__)


def answer(data: Any, status: int = 200, *, location: str | None = None) -> Response:
    """Return JSON; times are UTC with a Z."""
    text = json.dumps(data, default=_plain, ensure_ascii=False, separators=(",", ":"), sort_keys=False)
    response = Response(text, status, mimetype="application/json")
    if location is not None:
        response.headers["Location"] = location
        response.autocorrect_location_header = False
    return response


def page(found: Page[T], shown: Callable[[T], dict[str, Any]], **more: Any) -> Response:
    """Return a list as `{items, next_cursor}`."""
    return answer({"items": [shown(item) for item in found.items], "next_cursor": found.next_cursor, **more})
