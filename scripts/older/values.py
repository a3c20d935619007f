"""Values of the older database as they should be: each function returns the value, and says what was wrong with it."""

import ipaddress
import re
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from typing import Any

Complain = Callable[[str], None]
INTEGERS = 2**31 - 1
# What werkzeug makes; anything else could be a password as it was typed. Longer numbers would cost minutes a try.
HASH = re.compile(r"(?:scrypt:\d{1,6}:\d{1,2}:\d{1,2}|pbkdf2:sha(?:1|256|512)(?::\d{1,7})?)\$[^$\s]{1,64}\$[0-9a-f]{40,160}")


def text(value: object) -> str:
    """Return a value as a text that PostgreSQL can store."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return str(value).replace("\0", "").encode("utf-8", "replace").decode()


def whole(value: object, what: str, complain: Complain) -> int | None:
    """Return a number; None for nothing and for what is no number."""
    if value is None or value == "":
        return None
    try:
        number = int(str(value)) if not isinstance(value, float) else int(value)
    except (ValueError, OverflowError):
        number = -1
    if not 0 <= number <= INTEGERS:
        complain(f"{what} {text(value)[:60]!r} is no number that fits and is left out")
        return None
    return number


def flag(value: object, *, missing: bool) -> bool:
    """Return yes or no, as SQLite's programs write it."""
    if value is None:
        return missing
    return text(value).strip().lower() not in ("0", "false", "no", "off", "")


def at(value: object, zone: tzinfo, what: str, complain: Complain) -> str | None:
    """Return a time in UTC (ISO 8601); one without a zone is taken as one of `zone`. None for nothing and for what is no time."""
    if value is None or value == "":
        return None
    try:
        if isinstance(value, int | float):
            moment = datetime.fromtimestamp(value, UTC)
        else:
            moment = datetime.fromisoformat(text(value).strip())
            moment = moment if moment.tzinfo else moment.replace(tzinfo=zone)
        return moment.astimezone(UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        complain(f"{what} {text(value)[:60]!r} is no time and is left out")
        return None


def addresses(value: object, complain: Complain) -> list[str]:
    """Return the addresses of a text that joins them with commas; the older column cut them off after 45 characters."""
    found = []
    for part in text(value).replace(";", ",").split(","):
        piece = part.strip()
        if not piece or piece.lower() in ("none", "null", "dhcp"):
            continue
        try:
            found.append(str(ipaddress.ip_interface(piece).ip))
        except ValueError:
            complain(f"{piece[:60]!r} is no address and is left out")
    return list(dict.fromkeys(found))


def password_hash(value: object, complain: Complain) -> str:
    """Return the hash; empty, so that nobody can sign in with it, when its form is not known."""
    known = text(value)
    if HASH.fullmatch(known) and len(known) <= 255:
        return known
    complain("its password is kept in no known form and is left out: give the user a new one")
    return ""


def normal(table: str, row: dict[str, Any], zone: tzinfo, complain: Complain) -> dict[str, Any]:
    """Return a row of the older database with the values a backup has."""
    made: dict[str, Any] = {}
    for column, value in row.items():
        match column:
            case "created_at" | "updated_at" | "last_login":
                made[column] = at(value, zone, column, complain)
            case "id" | "user_id" | "vmid" | "cpu" | "memory":
                made[column] = whole(value, column, complain)
            case "is_active" | "enabled":
                made[column] = flag(value, missing=True)
            case "is_read" | "is_default_hdd" | "is_default_ssd" | "is_system_default":
                made[column] = flag(value, missing=False)
            case "ip_address":
                made["ip_addresses"] = addresses(value, complain)
            case "password_hash":
                made[column] = password_hash(value, complain)
            case _:
                made[column] = text(value)
    return made
