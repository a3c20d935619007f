"""A server's snapshots: read from Proxmox, and what may be asked for; services/action_snapshots.py carries it out.

What Proxmox shows is read before the request's transaction, which must not wait for a cluster.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy.orm import Session

from app.adapters.proxmox.client import ProxmoxClient
from app.adapters.proxmox.types import SnapshotInfo, SnapshotList
from app.domain import snapshot
from app.domain.action_state import ActionKind
from app.domain.permissions import Permission
from app.errors import (
    AppError,
    Conflict,
    FieldError,
    Invalid,
    NotFound,
    ServerBusy,
)
from app.models import Action
from app.schemas.faults import field_errors
from app.schemas.snapshots import SnapshotCreate, made_at
from app.services import actions, runs, vm_reading
from app.services.actor import Actor
from app.services.uow import UnitOfWork

NOW = "current"  # Proxmox's own name for what is not a snapshot


class SnapshotIncomplete(Conflict):
    """Proxmox began to make or delete it, and did not finish."""

    code = "snapshot_incomplete"


@dataclass(frozen=True)
class Look:
    """What Proxmox showed, or why it could not be asked: told only when it matters, so that a repeated key is answered."""

    found: SnapshotList | None = None
    error: AppError | None = None

    def snapshots(self) -> SnapshotList:
        """Return the snapshots. Raises what came in between."""
        if self.found is None:
            raise self.error or NotFound(kind="server")
        return self.found


# ---- reading
def read(session: Session, actor: Actor, server_name: str) -> SnapshotList:
    """Return a server's snapshots. Raises NotFound, ServerNotMade, ClusterAway, VmMissing, NotOurs, errors.Proxmox*."""
    return vm_reading.ask(session, actor, server_name, ProxmoxClient.snapshots)


@dataclass(frozen=True)
class Row:
    """A line of the tree as a page shows it; `here` is where the server stands now, which is no snapshot."""

    depth: int
    name: str
    description: str = ""
    memory: bool = False
    made_at: datetime | None = None
    unfinished: bool = False
    here: bool = False


def tree(found: SnapshotList) -> list[Row]:
    """Return snapshots below their parents, and the present state below the one that it goes on from."""
    return [row(item, depth) for depth, item in snapshot.tree([*found.items, SnapshotInfo(NOW, parent=found.parent)])]


def row(item: SnapshotInfo, depth: int = 0) -> Row:
    """Return a snapshot as a page shows it."""
    description = snapshot.unmarked(item.description)
    return Row(depth, item.name, description, item.memory, made_at(item), bool(item.phase), item.name == NOW)


def look(session: Session, actor: Actor, server_name: str) -> Look:
    """Read for a request that follows; never raises an expected failure."""
    try:
        return Look(read(session, actor, server_name))
    except AppError as exc:
        return Look(error=exc)


# ---- asking
def create(uow: UnitOfWork, actor: Actor, server_name: str, data: Mapping[str, Any], seen: Look) -> Action:
    """Ask for a snapshot. Raises Invalid, ServerBusy, ServerNotMade, NotFound, Forbidden, and what `seen` holds."""
    server = actions.hold(uow, actor, server_name, Permission.SNAPSHOT)
    try:
        wanted = SnapshotCreate.model_validate(data)
    except ValidationError as exc:
        raise Invalid(field_errors(exc)) from exc
    there, faults = seen.snapshots(), []
    if there.named(wanted.name):
        faults.append(FieldError("name", "snapshot_exists", {"snapshot": wanted.name}))
    if wanted.memory and not there.running:
        faults.append(FieldError("memory", "snapshot_memory_stopped"))
    if faults:
        raise Invalid(faults)
    return actions.begin(uow, actor, server, ActionKind.SNAPSHOT_CREATE, wanted.model_dump())


def rollback(uow: UnitOfWork, actor: Actor, server_name: str, name: str, seen: Look) -> Action:
    """Ask to put the server back. Raises ServerBusy, SnapshotIncomplete, NotFound …, also while a run waits for the server.

    A waiting run holds values that were checked against the size the server has now.
    """
    server = actions.hold(uow, actor, server_name, Permission.SNAPSHOT)
    if waiting := runs.open_runs(uow.session, server):
        raise ServerBusy(server.name, server=server.name, run=waiting[0].id, state=waiting[0].state.value)
    if named(seen, name).phase:
        raise SnapshotIncomplete(name, snapshot=name)
    return actions.begin(uow, actor, server, ActionKind.SNAPSHOT_ROLLBACK, {"name": name})


def delete(uow: UnitOfWork, actor: Actor, server_name: str, name: str, seen: Look) -> Action:
    """Ask to delete a snapshot; the server stays as it is. Raises ServerBusy, NotFound, Forbidden, and what `seen` holds."""
    server = actions.hold(uow, actor, server_name, Permission.SNAPSHOT)
    named(seen, name)
    return actions.begin(uow, actor, server, ActionKind.SNAPSHOT_DELETE, {"name": name})


def named(seen: Look, name: str) -> SnapshotInfo:
    """Return a snapshot that was seen. Raises NotFound, and what came in between."""
    found = seen.snapshots().named(name)
    if found is None:
        raise NotFound(kind="snapshot", name=name[:60])
    return found
