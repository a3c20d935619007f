"""What a request about destinations and preferences of notifications may hold."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr
from pydantic_core import PydanticCustomError

from app.domain.delivery import Kind, Level, Mode
from app.models import Delivery, Destination
from app.schemas.runs import told
from app.schemas.servers import Strict


def _name(value: str) -> str:
    value = " ".join(value.split())
    if not value:
        raise PydanticCustomError("missing", "missing")
    return value


def _address(value: SecretStr) -> SecretStr:
    if "://" not in value.get_secret_value():
        raise PydanticCustomError("delivery_service_unknown", "delivery_service_unknown", {"scheme": ""})
    return value


Name = Annotated[str, Field(max_length=40), AfterValidator(_name)]
Url = Annotated[SecretStr, Field(min_length=4, max_length=1000), AfterValidator(_address)]


class DestinationInput(Strict):
    """`POST /api/me/destinations`; `url` is an address as apprise writes it: `mailto://…`, `jsons://host/path`."""

    name: Name
    url: Url
    level: Level = Level.ALL


class DestinationChange(Strict):
    """`PATCH /api/me/destinations/<id>`; what is left out stays."""

    name: Name | None = None
    url: Url | None = None
    level: Level | None = None
    enabled: bool | None = None


class Preferences(Strict):
    """`PUT /api/me/notification-preferences`; kinds that are left out stay."""

    preferences: dict[Kind, Mode]


def destination_json(row: Destination) -> dict[str, Any]:
    """A destination; its address stays here."""
    return {"id": row.id, "name": row.name, "service": row.service, "level": row.level, "enabled": row.enabled, "created_at": row.created_at}


def delivery_json(row: Delivery) -> dict[str, Any]:
    """A delivery; its destination must be loaded."""
    return {
        "id": row.id, "destination": row.destination.name, "notification": row.notification_id, "state": row.state, "attempts": row.attempts,
        "error": told(row.error), "created_at": row.created_at, "finished_at": row.finished_at,
    }  # fmt: skip
