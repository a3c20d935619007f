"""The JSON API: helpers that every blueprint below /api shares."""

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Response, json

from app.schemas.page import Page
from app.schemas.plain import plain

T = TypeVar("T")


def answer(data: Any, status: int = 200, *, location: str | None = None) -> Response:
    """Return JSON; times are UTC with a Z."""
    text = json.dumps(data, default=plain, ensure_ascii=False, separators=(",", ":"), sort_keys=False)
    response = Response(text, status, mimetype="application/json")
    if location is not None:
        response.headers["Location"] = location
        response.autocorrect_location_header = False
    return response


def page(found: Page[T], shown: Callable[[T], dict[str, Any]], **more: Any) -> Response:
    """Return a list as `{items, next_cursor}`."""
    return answer({"items": [shown(item) for item in found.items], "next_cursor": found.next_cursor, **more})
