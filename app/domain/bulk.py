"""Work on many servers at once: its kinds, and what it would do to one server. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from app.domain.action_state import ActionKind
from app.domain.run_state import RunKind
from app.domain.server_status import ServerStatus

MAX_NAMES = 500


class BulkKind(StrEnum):
    START = "start"
    SHUTDOWN = "shutdown"
    REBOOT = "reboot"
    STOP = "stop"
    RESET = "reset"
    SNAPSHOT = "snapshot_create"
    TAG = "tag"
    DELETE = "delete"


# What becomes a run of each workspace; everything else is an action of each server.
RUNS = {BulkKind.TAG: RunKind.CHANGE, BulkKind.DELETE: RunKind.DELETE}
ON = frozenset({ServerStatus.RUNNING, ServerStatus.PAUSED})
_FROM_ON = frozenset({BulkKind.SHUTDOWN, BulkKind.STOP, BulkKind.REBOOT, BulkKind.RESET})


def action_of(kind: BulkKind) -> ActionKind:
    """Return the action that each server gets. Raises ValueError for what is a run."""
    return ActionKind(kind.value)


def sure(count: int) -> str:
    """Return what is typed to delete so many servers; the same in every language."""
    return f"delete {count}"


@dataclass(frozen=True)
class Subject:
    """What is known of a server; `made`: its VM is there, and nothing is removing it."""

    status: ServerStatus
    made: bool
    busy: bool


@dataclass(frozen=True)
class Left:
    """Why a server is left out, as code and arguments of a message."""

    code: str
    args: Mapping[str, Any] = field(default_factory=dict)


def left_out(kind: BulkKind, subject: Subject) -> Left | None:
    """Return why the work has nothing to do here, or cannot be done; None when it would be.

    Runs wait for their turn, actions do not: a busy server is left out of these only.
    """
    if kind == BulkKind.DELETE:
        return Left("bulk_deleting") if subject.status == ServerStatus.DELETING else None
    if not subject.made:
        return Left("bulk_not_made")
    if kind == BulkKind.TAG:
        return None
    if subject.busy:
        return Left("bulk_busy")
    if kind == BulkKind.START and subject.status == ServerStatus.RUNNING:
        return Left("bulk_runs_already")
    return Left("bulk_not_running") if kind in _FROM_ON and subject.status == ServerStatus.STOPPED else None


def tagged(tags: Sequence[str], add: Sequence[str], remove: Sequence[str]) -> list[str]:
    """Return the tags a server has afterwards: what is there keeps its place, what is new comes last."""
    kept = [tag for tag in tags if tag not in remove]
    return kept + [tag for tag in add if tag not in kept]
