"""What JSON has no type for, as JSON has it: times in UTC with a Z, enums by value, UUIDs as text."""

from datetime import UTC, datetime
from enum import Enum
from uuid import UUID


def plain(value: object) -> object:
    """Return the value for `json.dumps(default=plain)` and msgspec's `enc_hook`. Raises TypeError for any other type."""
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case Enum():
            return value.value
        case UUID():
            return str(value)
        case str():  # of a class of its own
            return str.__str__(value)
    raise TypeError(type(value).__name__)
