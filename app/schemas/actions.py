"""What a request for actions may hold."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from app.domain.action_state import POWER, ActionKind
from app.schemas.servers import Strict


def _power(value: Any) -> Any:
    if not isinstance(value, str) or value not in POWER:
        raise PydanticCustomError("enum", "enum", {"expected": ", ".join(kind.value for kind in ActionKind if kind in POWER)})
    return value


class BulkAction(Strict):
    """`POST /api/servers/bulk_action/async`."""

    names: list[str] = Field(min_length=1, max_length=200)
    action: Annotated[ActionKind, BeforeValidator(_power)]
