"""What a request for work on many servers may hold."""

from typing import Any, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from app.domain.bulk import MAX_NAMES, BulkKind
from app.domain.run_state import ApplyMode
from app.schemas.servers import Strict, Tags
from app.schemas.snapshots import SnapshotCreate


class BulkWork(Strict):
    """The work without the servers: `add` and `remove` are of tags, `snapshot` is the new one, `confirm` of a deletion."""

    action: BulkKind
    add: Tags = Field(default_factory=list)
    remove: Tags = Field(default_factory=list)
    snapshot: SnapshotCreate | None = None
    confirm: str = ""
    apply: ApplyMode = ApplyMode.AUTO

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.action == BulkKind.SNAPSHOT and self.snapshot is None:
            raise PydanticCustomError("snapshot_name_empty", "snapshot_name_empty")
        return self

    def arguments(self) -> dict[str, Any]:
        """What is kept of it beside its kind."""
        if self.snapshot is not None and self.action == BulkKind.SNAPSHOT:
            return self.snapshot.model_dump()
        return {"add": self.add, "remove": self.remove} if self.action == BulkKind.TAG else {}


class BulkAction(BulkWork):
    """`POST /api/servers/bulk_action/async`; {names, action} is enough for power."""

    names: list[str] = Field(min_length=1, max_length=MAX_NAMES)
