"""What a request for actions may hold."""

from typing import Literal

from pydantic import Field

from app.domain.action_state import ActionKind
from app.schemas.servers import Strict

Power = Literal[ActionKind.START, ActionKind.SHUTDOWN, ActionKind.STOP, ActionKind.REBOOT, ActionKind.RESET]


class BulkAction(Strict):
    """`POST /api/servers/bulk_action/async`."""

    names: list[str] = Field(min_length=1, max_length=200)
    action: Power
