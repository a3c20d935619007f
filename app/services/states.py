"""State versions of a workspace: every one kept, encrypted, written only under the run's fence."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.adapters import crypto
from app.errors import AppError
from app.models import StateVersion, Workspace
from app.services.uow import UnitOfWork

MAX_BYTES = 32 * 1024 * 1024


class StateRefused(AppError):
    """The state does not follow the newest version (other lineage, lower serial, same serial with other bytes)."""

    code, status = "state_refused", 409


class StateMalformed(AppError):
    code, status = "state_malformed", 400


@dataclass(frozen=True)
class Instance:
    """One resource instance of a state: `key` is the for_each key."""

    key: str
    vmid: int | None
    node: str | None
    tainted: bool
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Current:
    """`body` is the newest state; `ever` whether the workspace ever had one (then an empty answer would be a lie)."""

    body: bytes | None
    ever: bool


def latest(session: Session, workspace_id: int) -> Current:
    """Return the newest state of a workspace. Raises Undecryptable."""
    ever = session.scalar(select(Workspace.state_ever).where(Workspace.id == workspace_id).with_for_update(read=True))
    sealed = session.scalar(
        select(StateVersion.body).where(StateVersion.workspace_id == workspace_id).order_by(StateVersion.id.desc()).limit(1)
    )
    return Current(crypto.unseal(sealed) if sealed else None, bool(ever))


def save(uow: UnitOfWork, workspace_id: int, run_id: int, fence: int, body: bytes) -> bool:
    """Store a version; the caller holds the run's row under its fence. False when these very bytes are stored already.

    Raises StateRefused, StateMalformed.
    """
    serial, lineage, version, resources = _read(body)
    sha = hashlib.sha256(body).hexdigest()
    old = uow.session.execute(
        select(StateVersion.serial, StateVersion.lineage, StateVersion.sha256)
        .where(StateVersion.workspace_id == workspace_id)
        .order_by(StateVersion.id.desc())
        .limit(1)
    ).first()
    if old:
        if old.sha256 == sha:
            return False
        if old.lineage != lineage or serial <= old.serial:
            raise StateRefused(f"{lineage}/{serial} does not follow {old.lineage}/{old.serial}")
    workspace = uow.session.get_one(Workspace, workspace_id)
    workspace.state_ever = True
    # Of a former version that was rolled back to it may be older.
    if numbers(version) > numbers(workspace.terraform_version or ""):
        workspace.terraform_version = version
    uow.session.add(
        StateVersion(
            workspace_id=workspace_id, run_id=run_id, fence=fence, serial=serial, lineage=lineage, sha256=sha,
            resources=resources, body=crypto.seal(body),
        )
    )  # fmt: skip
    return True


def _read(body: bytes) -> tuple[int, str, str, int]:
    """Return serial, lineage, version of Terraform and number of servers. Raises StateMalformed."""
    if len(body) > MAX_BYTES:
        raise StateMalformed("larger than 32 MiB")
    try:
        parsed = json.loads(body)
        serial, lineage, version = parsed["serial"], parsed["lineage"], parsed.get("terraform_version") or ""
        resources = len(instances(body))
    # Whatever it is: Terraform must get an answer, and a runner must not end over a file it finds.
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as exc:
        raise StateMalformed("not a Terraform state") from exc
    fits = type(serial) is int and 0 <= serial < 1 << 63
    texts = all(isinstance(text, str) and len(text) <= most and text.isprintable() for text, most in ((lineage, 64), (version, 32)))
    if not (fits and texts and lineage):
        raise StateMalformed("serial, lineage or version are none that Terraform writes")
    return serial, lineage, version, resources


def numbers(version: str) -> tuple[int, ...]:
    """Return a version of Terraform as numbers that can be compared."""
    return tuple(int(p) for p in version.split("-", maxsplit=1)[0].split(".") if p.isdigit())


def serial_of(body: bytes | None) -> int | None:
    """Return a state's serial; None without a state."""
    return int(json.loads(body)["serial"]) if body else None


def server_items(body: bytes | None) -> Iterator[dict[str, Any]]:
    """Yield the server instances of a state as Terraform wrote them."""
    yield from items_of(json.loads(body or b"{}"))


def items_of(parsed: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the server instances of a state that was read already; a caller may change them."""
    for resource in parsed.get("resources", []):
        if resource.get("type") == "proxmox_virtual_environment_vm" and resource.get("mode") == "managed":
            yield from resource.get("instances", [])


def instances(body: bytes | None) -> dict[str, Instance]:
    """Return the server instances of a state by for_each key."""
    out: dict[str, Instance] = {}
    for item in server_items(body):
        key, attributes = str(item.get("index_key", "")), item.get("attributes") or {}
        found = [a for group in attributes.get("ipv4_addresses") or [] for a in group if not a.startswith("127.")]
        out[key] = Instance(
            key, attributes.get("vm_id"), attributes.get("node_name"), item.get("status") == "tainted", tuple(found)
        )
    return out
