"""What a safe change may be asked for."""

from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from app.domain.safe_change import MAX_TIMEOUT_S, MIN_TIMEOUT_S, TIMEOUT_S, VerifyBy
from app.schemas.servers import Number, ServerChange, Strict


class SafeChangeCreate(Strict):
    """`POST /api/servers/<name>/safe_change/async`: `change` as `PATCH` takes it, without networks.

    It is kept when within `timeout_s` seconds the guest agent, or a TCP `port` of the server's first address, answers.
    """

    change: ServerChange
    verify: VerifyBy
    port: Annotated[int, Number, Field(ge=1, le=65535)] | None = None
    timeout_s: Annotated[int, Number, Field(ge=MIN_TIMEOUT_S, le=MAX_TIMEOUT_S)] = TIMEOUT_S
    memory: bool = False
    keep_snapshot: bool = False

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.port is not None) != (self.verify == VerifyBy.PORT):
            raise PydanticCustomError("safe_change_port", "safe_change_port")
        return self
