"""What a request for a snapshot may hold, and snapshots as the API shows them."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

from app.adapters.proxmox.types import SnapshotInfo, SnapshotList
from app.domain import server_spec, snapshot
from app.schemas.servers import Strict


def _name(value: str) -> str:
    value = value.strip()
    if code := snapshot.name_fault(value):
        raise PydanticCustomError(code, code, {"name": value[:60], "limit": snapshot.NAME_CHARS})
    return value


def _text(value: str) -> str:
    value = value.replace("\r\n", "\n").strip()
    if code := server_spec.text_fault(value, snapshot.DESCRIPTION_BYTES):
        raise PydanticCustomError(code, code, {"limit": snapshot.DESCRIPTION_BYTES})
    return value


def _truth(value: Any) -> Any:
    # A form's switch says "1"; of JSON only true and false are taken.
    if value == "1" or isinstance(value, bool):
        return value
    raise PydanticCustomError("bool_type", "bool_type")


Text = Annotated[str, AfterValidator(_text)]


class SnapshotCreate(Strict):
    """`POST /api/servers/<name>/snapshots`; {name} is enough."""

    name: Annotated[str, AfterValidator(_name)]
    description: Text = ""
    memory: Annotated[bool, BeforeValidator(_truth)] = False


def made_at(item: SnapshotInfo) -> datetime | None:
    """When it was made, by the cluster's clock; None when Proxmox does not tell."""
    return datetime.fromtimestamp(item.made_at_s, UTC) if item.made_at_s else None


def snapshot_json(item: SnapshotInfo, found: SnapshotList) -> dict[str, Any]:
    """A snapshot; `current` says that the server goes on from it."""
    return {
        "name": item.name, "description": snapshot.unmarked(item.description), "memory": item.memory,
        "created_at": made_at(item), "parent": item.parent, "current": item.name == found.parent,
    }  # fmt: skip
