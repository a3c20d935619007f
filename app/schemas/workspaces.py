"""What comes in about workspaces."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError

from app.domain.server_spec import text_fault
from app.schemas.accounts import Line, PageQuery
from app.schemas.servers import Strict

REASON_LENGTH = 500


def _reason(value: str) -> str:
    value = value.replace("\r\n", "\n").strip()
    if not value:
        raise PydanticCustomError("missing", "missing")
    # Its length is checked in characters: four bytes each are the most there can be.
    if text_fault(value, 4 * REASON_LENGTH):
        raise PydanticCustomError("text_control_characters", "text_control_characters")
    return value


class Reason(Strict):
    """Why somebody locks a workspace or breaks a run's lock: free text, shown as it is."""

    reason: Annotated[str, Field(max_length=REASON_LENGTH), AfterValidator(_reason)]


class WorkspaceQuery(PageQuery):
    """Query of `GET /api/workspaces`; `q` is a part of the name."""

    q: Line = ""


class CompareQuery(BaseModel):
    """Query of `GET /api/workspaces/<name>/states/compare`: ids of two versions."""

    old: int = Field(ge=1, le=2**63 - 1)
    new: int = Field(ge=1, le=2**63 - 1)
