"""Faults of input: pydantic's findings as FieldErrors, and text that cannot be stored."""

from typing import Any

from pydantic import ValidationError

from app.errors import FieldError

_PLAIN = (str, int, float, bool)


def field_errors(exc: ValidationError) -> list[FieldError]:
    """Translate a ValidationError: field as `disks.0.size_gib`, code as pydantic's type, arguments from its context."""
    found = []
    for error in exc.errors(include_url=False, include_input=False):
        args = {k: v if isinstance(v, _PLAIN) else str(v) for k, v in error.get("ctx", {}).items()}
        found.append(FieldError(".".join(str(part) for part in error["loc"]), error["type"], args))
    return found


def unstorable(value: Any, path: str = "") -> list[FieldError]:
    """Find text that PostgreSQL cannot hold: NUL characters and lone surrogates."""
    match value:
        case str():
            bad = "\x00" in value or (not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value))
            return [FieldError(path, "control_character")] if bad else []
        case dict():
            children = [(str(k), v) for k, v in value.items()]
        case list():
            children = [(str(i), v) for i, v in enumerate(value)]
        case _:
            return []
    return [fault for key, child in children for fault in unstorable(child, f"{path}.{key}" if path else key)]
