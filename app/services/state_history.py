"""The state versions of a workspace: listed, compared, downloaded, and how long they are kept."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import DateTime, cast, delete, func, select, true
from sqlalchemy.orm import Session

from app.adapters import crypto
from app.adapters.aside import aside
from app.domain.permissions import Permission
from app.errors import NotFound
from app.models import Setting, StateVersion, Workspace
from app.schemas.page import Page, clamp, decode_cursor, encode_cursor
from app.services import audit, clock, settings, states
from app.services.actor import Actor
from app.services.uow import UnitOfWork

# What may be shown with its values; of everything else only that it differs: a state has passwords and keys in it.
PLAIN = re.compile(r"name|description|tags|node_name|vm_id|cpu\.\d+\.cores|memory\.\d+\.dedicated|disk\.\d+\.size")
KEEP_VERSIONS = 50
KEEP_DAYS = 30
PRUNE_KEY = "state_history.pruned"
PRUNE_EVERY_S = 60
PRUNE_WORKSPACES = 200  # looked at in one go
PRUNE_EACH = 100  # versions of one workspace
PRUNE_ALL = 500


@dataclass(frozen=True)
class Version:
    """A state version without its content; `stored_bytes` is its size as stored, compressed and encrypted."""

    id: int
    serial: int
    lineage: str
    run_id: int
    resources: int
    stored_bytes: int
    created_at: datetime


@dataclass(frozen=True)
class Difference:
    """An attribute that differs; `shown` tells whether its values may be seen."""

    path: str
    shown: bool
    before: Any = None
    after: Any = None


@dataclass(frozen=True)
class ServerChange:
    """A server whose instance was `added`, `removed` or `changed`; `key` is its for_each key."""

    key: str
    name: str
    action: str
    attributes: tuple[Difference, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """What differs between two versions of one workspace, by server."""

    old: Version
    new: Version
    servers: tuple[ServerChange, ...]


# octet_length reads a stored value's header only.
_COLUMNS = (
    StateVersion.id, StateVersion.serial, StateVersion.lineage, StateVersion.run_id, StateVersion.resources,
    func.octet_length(StateVersion.body), StateVersion.created_at,
)  # fmt: skip


# ---------------------------------------------------------------- reading
def list_page(session: Session, workspace: Workspace, limit: int | None = None, cursor: str | None = None) -> Page[Version]:
    """Return the versions, newest first."""
    query = select(*_COLUMNS).where(StateVersion.workspace_id == workspace.id).order_by(StateVersion.id.desc())
    if after := decode_cursor(cursor, int):
        query = query.where(StateVersion.id < after[0])
    size = clamp(limit)
    rows = [Version(*row) for row in session.execute(query.limit(size + 1))]
    return Page(rows[:size], encode_cursor(rows[size - 1].id) if len(rows) > size else None)


def _open(session: Session, workspace: Workspace, version_id: int) -> tuple[Version, bytes]:
    row = session.execute(
        select(*_COLUMNS, StateVersion.body).where(StateVersion.workspace_id == workspace.id, StateVersion.id == version_id)
    ).first()
    if row is None:
        raise NotFound(kind="state", name=str(version_id))
    *facts, sealed = row
    return Version(*facts), aside(lambda: crypto.unseal(sealed))


def body_of(session: Session, workspace: Workspace, version_id: int) -> bytes:
    """Return a version's content for our own reading: it has secrets in it. Raises NotFound, Undecryptable."""
    return _open(session, workspace, version_id)[1]


def compare(session: Session, workspace: Workspace, old_id: int, new_id: int) -> Comparison:
    """Compare two versions of the workspace by server. Raises NotFound, Undecryptable."""
    (old, before), (new, after) = _open(session, workspace, old_id), _open(session, workspace, new_id)
    return Comparison(old, new, tuple(aside(lambda: list(_changes(before, after)))))


def download(uow: UnitOfWork, actor: Actor, workspace: Workspace, version_id: int) -> tuple[Version, bytes]:
    """Return a version with its content, which has secrets in it. Raises Forbidden, NotFound, Undecryptable."""
    actor.need(Permission.DOWNLOAD_STATE)
    version, body = _open(uow.session, workspace, version_id)
    audit.record(uow, actor, "state.download", "workspace", workspace.id, workspace.name, version=version.id, serial=version.serial)
    return version, body


# ---------------------------------------------------------------- comparing
@dataclass(frozen=True)
class _Server:
    name: str
    attributes: dict[str, Any]  # by path
    secret: frozenset[str]  # paths that Terraform marks as sensitive


def _servers(body: bytes) -> dict[str, _Server]:
    out = {}
    for item in states.server_items(body):
        key, attributes = str(item.get("index_key", "")), item.get("attributes") or {}
        secret = frozenset(".".join(_step(s) for s in path) for path in item.get("sensitive_attributes") or [])
        out[key] = _Server(str(attributes.get("name") or key), dict(_leaves(attributes)), secret)
    return out


def _step(step: dict[str, Any]) -> str:
    value = step.get("value")
    return str(value.get("value") if isinstance(value, dict) else value)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value by its path; what is empty counts as absent, a list of plain values as one."""
    if isinstance(value, dict):
        parts = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        parts = [(str(number), item) for number, item in enumerate(value)]
    else:
        if value not in (None, "", []):
            yield path, value
        return
    for key, item in parts:
        yield from _leaves(item, f"{path}.{key}" if path else key)


def _changes(before: bytes, after: bytes) -> Iterator[ServerChange]:
    old, new = _servers(before), _servers(after)
    for key in sorted(old.keys() | new.keys()):
        if key not in old:
            yield ServerChange(key, new[key].name, "added")
        elif key not in new:
            yield ServerChange(key, old[key].name, "removed")
        elif found := tuple(_differences(old[key], new[key])):
            yield ServerChange(key, new[key].name, "changed", found)


def _differences(old: _Server, new: _Server) -> Iterator[Difference]:
    for path in sorted(old.attributes.keys() | new.attributes.keys()):
        before, after = old.attributes.get(path), new.attributes.get(path)
        if before == after:
            continue
        secret = any(f"{path}.".startswith(f"{hidden}.") for hidden in old.secret | new.secret)
        yield Difference(path, True, before, after) if PLAIN.fullmatch(path) and not secret else Difference(path, False)


# ---------------------------------------------------------------- keeping
def is_due() -> Any:
    """A condition: nobody has pruned for a minute."""
    lately = cast(Setting.value["at"].astext, DateTime(timezone=True)) > clock.later(-PRUNE_EVERY_S)
    return ~select(Setting).where(Setting.key == PRUNE_KEY, lately).exists()


def prune(uow: UnitOfWork) -> int:
    """Delete versions that are neither among a workspace's newest 50 nor of the last 30 days; returns how many.

    At most once a minute, and then for the next 200 workspaces in line.
    """
    now = clock.now(uow.session)
    if not uow.session.scalar(select(is_due())):
        return 0
    last = settings.read_value(uow.session, PRUNE_KEY)
    following = select(Workspace.id).where(Workspace.id > last.get("workspace", 0)).order_by(Workspace.id)
    ids = list(uow.session.scalars(following.limit(PRUNE_WORKSPACES)))
    going_on = ids[-1] if len(ids) == PRUNE_WORKSPACES else 0
    settings.write_value(uow.session, PRUNE_KEY, {"at": now.isoformat(), "workspace": going_on})
    return len(uow.session.scalars(_expired(ids)).all())


def _expired(workspace_ids: list[int]) -> Any:
    """Return the statement that deletes the expired versions of these workspaces, the oldest first.

    Ids grow with time, so that the oldest of each workspace tell whether there is anything to do.
    """
    workspace = select(Workspace.id).where(Workspace.id.in_(workspace_ids)).subquery("w")
    of_it = StateVersion.workspace_id == workspace.c.id
    newest = select(StateVersion.id).where(of_it).order_by(StateVersion.id.desc())
    edge = newest.offset(KEEP_VERSIONS - 1).limit(1).subquery("edge").lateral()
    older = select(StateVersion.id, StateVersion.created_at).where(of_it, StateVersion.id < edge.c.id)
    oldest = older.order_by(StateVersion.id).limit(PRUNE_EACH).subquery("oldest").lateral()
    expired = (
        select(oldest.c.id)
        .select_from(workspace.join(edge, true()).join(oldest, true()))
        .where(oldest.c.created_at < func.clock_timestamp() - timedelta(days=KEEP_DAYS))
        .limit(PRUNE_ALL)
    )
    return delete(StateVersion).where(StateVersion.id.in_(expired)).returning(StateVersion.id).execution_options(synchronize_session=False)
