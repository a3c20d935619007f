"""Snapshots of a VM: what their names may be, whose they are, and the order of a tree. Pure."""

import re
from collections.abc import Iterable
from typing import Protocol, TypeVar
from uuid import UUID

NAME_CHARS = 40
DESCRIPTION_BYTES = 1000
# Proxmox's pve-configid, and the names that it keeps for itself.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]+")
RESERVED = frozenset({"current", "pending"})
_MARK = re.compile(r"\n*managed-by:tpm/action/([0-9a-f-]{36})\s*\Z")


class Branch(Protocol):
    """Anything that hangs below a parent by name."""

    @property
    def name(self) -> str: ...
    @property
    def parent(self) -> str | None: ...


Leaf = TypeVar("Leaf", bound=Branch)


def name_fault(name: str) -> str | None:
    """Return what is wrong with a snapshot's name (a code), or None."""
    if not name:
        return "snapshot_name_empty"
    if not 2 <= len(name) <= NAME_CHARS:
        return "snapshot_name_length"
    if not _NAME.fullmatch(name):
        return "snapshot_name_bad"
    return "snapshot_name_reserved" if name.lower() in RESERVED else None


def marked(description: str, task_id: UUID) -> str:
    """Return the description with the mark of the action that makes the snapshot as its last line."""
    mark = f"managed-by:tpm/action/{task_id}"
    return f"{description}\n{mark}" if description else mark


def unmarked(description: str) -> str:
    """Return what a person wrote: a description without our mark."""
    return _MARK.sub("", description).strip()


def made_by(description: str) -> UUID | None:
    """Return the action whose mark a description ends with; None when there is none."""
    found = _MARK.search(description)
    try:
        return UUID(found[1]) if found else None
    except ValueError:
        return None


def tree(items: Iterable[Leaf]) -> list[tuple[int, Leaf]]:
    """Return (depth, item), children below their parents, siblings in the order given.

    What names a parent that is not there, or itself, counts as a root: nothing is left out.
    """
    rows = list(items)
    names = {item.name for item in rows}
    below: dict[str | None, list[Leaf]] = {}
    for item in rows:
        parent = item.parent if item.parent in names and item.parent != item.name else None
        below.setdefault(parent, []).append(item)
    out: list[tuple[int, Leaf]] = []
    todo = [(0, item) for item in reversed(below.get(None, []))]
    while todo:
        depth, item = todo.pop()
        out.append((depth, item))
        todo += [(depth + 1, child) for child in reversed(below.pop(item.name, []))]
    shown = {item.name for _, item in out}
    return out + [(0, item) for item in rows if item.name not in shown]
