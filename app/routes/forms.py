"""Between HTML forms and the schemas: answers, redirects, and faults put to the fields they belong to."""

from collections.abc import Callable, Iterable
from typing import Any

from flask import Response, flash, jsonify, make_response, redirect, render_template, request

from app.errors import FieldError, Invalid
from app.messages import text_of
from app.routes.errors import wants_json

FORM = "form"  # where faults go that belong to no field


def messages(faults: Iterable[FieldError], field_of: Callable[[str], str] = str, fields: Iterable[str] | None = None) -> dict[str, str]:
    """Return one message per form field; `field_of` maps a schema's path, `fields` are those the form has."""
    known = set(fields) if fields is not None else None
    out: dict[str, str] = {}
    for fault in faults:
        name = field_of(fault.field)
        text = text_of(fault.code, fault.args)
        if known is not None and name not in known:
            out[FORM] = f"{out[FORM]} {text}" if FORM in out else text
        else:
            out.setdefault(name, text)
    return out


def page(template: str, /, **context: Any) -> Response:
    """Render a page; 422 when it carries faults."""
    return make_response(render_template(template, **context), 422 if context.get("errors") else 200)


def done(message: str, location: str, *, kind: str = "success", **extra: Any) -> Response:
    """Answer a change: a sentence for a script of the page, a redirect with the sentence for everything else."""
    if wants_json():
        return jsonify(message=message, **extra)
    flash(message, kind)
    return go(location)


def go(location: str) -> Response:
    """Redirect after a POST."""
    return make_response(redirect(location, 303))


def is_partial() -> bool:
    """True when htmx asks for a part of the page (and not for the whole of it out of the history)."""
    return request.headers.get("HX-Request") == "true" and request.headers.get("HX-History-Restore-Request") != "true"


def number(text: str | None, scale: float = 1) -> int | str | None:
    """Return a number typed into a field, scaled; what cannot be read goes on as it is, for the schema to refuse."""
    if text is None or not text.strip():
        return None
    try:
        value = float(text.replace(",", "."))
        return round(value * scale) if scale != 1 else int(text) if value == int(value) else text
    except (ValueError, OverflowError):
        return text


def first_text(exc: Invalid) -> str:
    """Return the first fault's sentence."""
    return text_of(exc.errors[0].code, exc.errors[0].args) if exc.errors else text_of(exc.code)
