"""Texts for codes: what happened, and the hint what to do; in the reader's language.

Services and schemas know codes only. Every owner of codes has a module of texts; this one merges them.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol

from flask_babel import LazyString
from flask_babel import lazy_gettext as _l

from app.domain.inert import inert

_MODULES = ("app.messages_accounts", "app.messages_proxmox", "app.messages_runs", "app.messages_failures", "app.messages_deliveries", "app.messages_schedules", "app.messages_safe_changes")


class _Args(dict[str, Any]):
    """Arguments of a text; one that is missing shows as an ellipsis instead of failing an error page."""

    def __missing__(self, key: str) -> str:
        return "…"


def _merge(attribute: str) -> dict[str, LazyString]:
    merged: dict[str, LazyString] = {}
    for name in _MODULES:
        merged.update(getattr(import_module(name), attribute))
    return merged


MESSAGES: dict[str, LazyString] = _merge("MESSAGES")
HINTS: dict[str, LazyString] = _merge("HINTS")


# What an argument called `action` may be: actions on servers, and what a plan does to one.
WORDS: dict[str, LazyString] = {
    "start": _l("start"),
    "shutdown": _l("shutdown"),
    "stop": _l("stop"),
    "reboot": _l("reboot"),
    "reset": _l("reset"),
    "snapshot_create": _l("snapshot"),
    "snapshot_rollback": _l("going back to a snapshot"),
    "snapshot_delete": _l("removal of a snapshot"),
    "tag": _l("change of tags"),
    "create": _l("create"),
    "update": _l("change"),
    "delete": _l("delete"),
    "replace": _l("replace"),
    "import": _l("import"),
}


def _listed(values: list[Any] | tuple[Any, ...]) -> str:
    """Up to three one by one, more as `first … last (count)`: a batch of fifty is still a sentence."""
    if len(values) > 3:
        return f"{values[0]} … {values[-1]} ({len(values)})"
    return ", ".join(map(str, values))


def _format(text: LazyString, args: Mapping[str, Any]) -> str:
    shown = {k: _listed(v) if isinstance(v, list | tuple) else v for k, v in args.items()}
    if "action" in shown:
        shown["action"] = WORDS.get(str(shown["action"]).replace(" ", "_"), shown["action"])
    try:
        # Also where no template looks at it again: JSON that a page shows, mails, a terminal.
        return inert(str(text) % _Args(shown))
    except (TypeError, ValueError):
        return str(text)


def text_of(code: str, args: Mapping[str, Any] | None = None) -> str:
    """Return the text of a code; the code itself when it has none."""
    # Of some codes a text for each kind of run: "Created: web-1" says more than "Done: web-1".
    text = MESSAGES.get(f"{code}:{(args or {}).get('kind')}", MESSAGES.get(code))
    return code if text is None else _format(text, args or {})


def hint_of(code: str, args: Mapping[str, Any] | None = None) -> str:
    """Return what to do about a code; empty when there is nothing to say."""
    text = HINTS.get(code)
    return "" if text is None else _format(text, args or {})


class Note(Protocol):
    """What a notification's text is made of."""

    code: Any
    args: Any
    legacy_text: Any


def note_text(note: Note) -> str:
    """Return what a notification says: in the reader's language, or as the older application wrote it."""
    return inert(note.legacy_text) if note.legacy_text is not None else text_of(note.code, note.args)
