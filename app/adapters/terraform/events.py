"""Terraform's -json lines: what they mean, and how they read as log lines."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

_NOISE = ("execution halted", "Resource targeting is in effect", "Applied changes may be incomplete")
# What Terraform says when the interrupt that it was sent met its provider while that was starting or working.
_INTERRUPTED = re.compile(
    r"Unrecognized remote plugin message|Plugin did not respond|plugin exited before|Failed to (?:load plugin schemas|instantiate provider)"
    r"|operation canceled|context canceled|signal: interrupt",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r'proxmox_virtual_environment_vm\.server\["([^"]+)"\]')


@dataclass(frozen=True)
class Diagnostic:
    """An error or warning of Terraform or provider; `slug` is the server's key when it belongs to one."""

    severity: str
    summary: str
    detail: str
    slug: str | None


def of_the_interrupt(diagnostic: Diagnostic) -> bool:
    """True when an error only tells that Terraform was told to stop; asked for on a cancel, where that is no error."""
    return _INTERRUPTED.search(f"{diagnostic.summary}\n{diagnostic.detail}") is not None


_COUNTED = {"create": ("add",), "update": ("change",), "delete": ("remove",), "replace": ("add", "remove")}


@dataclass(frozen=True)
class Change:
    """A planned change: `action` is create, update, replace, delete, import, move or read."""

    address: str
    slug: str
    action: str
    reason: str | None


def slug_of(address: str) -> str | None:
    """Return the server's key in a resource address."""
    match = _ADDRESS.search(address)
    return match[1] if match else None


def parse(data: bytes) -> Iterator[dict[str, Any]]:
    """Return the JSON objects of an output; anything else (a crash's text) becomes {"type": "text"}."""
    for line in data.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            event = {"type": "text", "@message": line.decode("utf-8", "replace")}
        if isinstance(event, dict):
            yield event


def diagnostics(events: Iterable[dict[str, Any]]) -> list[Diagnostic]:
    """Return the errors and warnings people should see."""
    out = []
    for event in events:
        found = event.get("diagnostic") if event.get("type") == "diagnostic" else None
        if not found or any(noise in f"{found.get('summary')} {found.get('detail')}" for noise in _NOISE):
            continue
        out.append(
            Diagnostic(found.get("severity", "error"), found.get("summary", ""), found.get("detail", ""), slug_of(found.get("address", "")))
        )
    return out


def changes(events: Iterable[dict[str, Any]]) -> list[Change]:
    """Return the planned changes; an import that also changes something counts as the change."""
    out = []
    for event in events:
        if event.get("type") != "planned_change":
            continue
        change = event["change"]
        address = change["resource"]["addr"]
        action = "import" if change.get("importing") and change["action"] == "noop" else change["action"]
        out.append(Change(address, slug_of(address) or address, action, change.get("reason")))
    return out


def whole(events: Sequence[dict[str, Any]]) -> bool:
    """True when a plan's output has all the changes that its summary counts; a full disk loses lines without a word."""
    counted: Counter[str] = Counter()
    for event in events:
        change = event["change"] if event.get("type") == "planned_change" else {}
        counted.update(_COUNTED.get(str(change.get("action")), ()))
        counted.update(["import"] if change.get("importing") else [])
    said = [event.get("changes", {}) for event in events if event.get("type") == "change_summary"]
    return bool(said) and all(said[-1].get(kind, 0) == counted[kind] for kind in ("add", "change", "remove", "import"))


def done(event: dict[str, Any]) -> str | None:
    """Return the key of the server that this event says is finished."""
    if event.get("type") == "apply_complete":
        return slug_of(event.get("hook", {}).get("resource", {}).get("addr", ""))
    return None


def elapsed_s(event: dict[str, Any]) -> float:
    """Return how long what this event says is finished took, in seconds."""
    try:
        return float(event.get("hook", {}).get("elapsed_seconds", 0))
    except (TypeError, ValueError):
        return 0.0


def begun(event: dict[str, Any]) -> str | None:
    """Return the key of the server that this event says Terraform begins with."""
    if event.get("type") == "apply_start":
        return slug_of(event.get("hook", {}).get("resource", {}).get("addr", ""))
    return None


def moves(event: dict[str, Any]) -> bool:
    """True for an event that tells of something new, not just that Terraform still waits."""
    return event.get("type") != "apply_progress"


def readable(event: dict[str, Any], applying: bool = False) -> str | None:
    """Return the log text of an event (one or more lines, each ended), or None for noise.

    An apply repeats the changes of its plan: they stand in the log already.
    """
    kind, message = event.get("type"), str(event.get("@message", ""))
    if kind in ("version", "resource_drift", "outputs") or (applying and kind == "planned_change"):
        # Drift events alone prove nothing: the first plan after a create reports one although nothing changed.
        return None
    if kind == "diagnostic":
        found = event.get("diagnostic", {})
        if any(noise in f"{found.get('summary')} {found.get('detail')}" for noise in _NOISE):
            return None
        word = {"error": "Error", "warning": "Warning"}.get(found.get("severity", ""), "Note")
        where = slug_of(found.get("address", ""))
        message = f"{word}: {f'{where}: ' if where else ''}{found.get('summary', '')}"
        if detail := str(found.get("detail", "")).strip():
            message += "\n" + "\n".join(f"  {line}" for line in detail.splitlines())
    if "Interrupt received" in message:
        message = "Stop requested: servers already begun are finished, no other is begun."
    elif message.startswith("Stopping operation"):
        return None
    stamp = str(event.get("@timestamp", ""))[11:19]
    text = _ADDRESS.sub(r"\1", message).strip("\n").rstrip()
    return f"{stamp}  {text}\n" if stamp else f"{text}\n"


def attributes(shown: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the attribute diff per address of `show -json`: path, before, after; sensitive values masked."""
    out = {}
    for item in shown.get("resource_changes", []):
        change = item["change"]
        if change["actions"] in (["no-op"], ["read"]):
            continue
        before, after = _flat(change.get("before")), _flat(change.get("after"))
        unknown = _flat(change.get("after_unknown"))
        hidden = {p for side in ("before_sensitive", "after_sensitive") for p, v in _flat(change.get(side)).items() if v is True}
        rows = []
        for path in sorted(set(before) | set(after)):
            if before.get(path) == after.get(path) or (before.get(path) in (None, "", []) and after.get(path) in (None, "", [])):
                continue
            secret = any(path == h or path.startswith(h + ".") for h in hidden)
            rows.append({"path": path, "before": "***" if secret else before.get(path), "after": "***" if secret else after.get(path),
                         "unknown": bool(unknown.get(path))})  # fmt: skip
        out[item["address"]] = rows
    return out


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        parts: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, list) and value and any(isinstance(v, (dict, list)) for v in value):
        parts = enumerate(value)
    else:
        return {} if value in (None, False, {}, []) and not path else {path: value}
    out: dict[str, Any] = {}
    for key, item in parts:
        out |= _flat(item, f"{path}.{key}" if path else str(key))
    return out
