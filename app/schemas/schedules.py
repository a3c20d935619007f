"""What a schedule may hold, and schedules as the API shows them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from app.domain import schedule as domain
from app.domain.bulk import MAX_NAMES, BulkKind
from app.domain.schedule import Misfire, Overlap, ScheduleKind
from app.messages import hint_of, text_of
from app.models import Execution, Schedule
from app.schemas.servers import Number, Strict, Tags
from app.schemas.snapshots import Text

NAME_CHARS = 80
SNAPSHOT_PREFIX_CHARS = 20


def _name(value: str) -> str:
    value = " ".join(value.split())
    if not value:
        raise PydanticCustomError("missing", "missing")
    if len(value) > NAME_CHARS or not value.isprintable():
        raise PydanticCustomError("schedule_name", "schedule_name", {"limit": NAME_CHARS})
    return value


def _zone(value: str) -> str:
    if value not in domain.zones():
        raise PydanticCustomError("schedule_timezone", "schedule_timezone", {"timezone": value[:64]})
    return value


def _cron(value: str) -> str:
    value = " ".join(value.split())
    if len(value) > 120 or domain.cron_fault(value):
        raise PydanticCustomError("schedule_cron", "schedule_cron", {"cron": value[:60]})
    return value


def _prefix(value: str) -> str:
    if not value or len(value) > SNAPSHOT_PREFIX_CHARS or not value[0].isalpha() or not all(c.isascii() and (c.isalnum() or c in "-_") for c in value):
        raise PydanticCustomError("schedule_prefix", "schedule_prefix", {"limit": SNAPSHOT_PREFIX_CHARS})
    return value


class SnapshotKept(Strict):
    """Snapshots that a schedule makes are called by `prefix` and the time; of each server the newest `keep` stay."""

    prefix: Annotated[str, AfterValidator(_prefix)] = "auto"
    description: Text = ""
    memory: bool = False
    keep: Annotated[int, Number, Field(ge=1, le=50)] | None = None


class Work(Strict):
    """What is done: an action on `servers` as for many at once, or `server`: what a new one (or a batch) is to be."""

    action: BulkKind | None = None
    servers: Annotated[list[str], Field(min_length=1, max_length=MAX_NAMES)] | None = None
    add: Tags = Field(default_factory=list)
    remove: Tags = Field(default_factory=list)
    snapshot: SnapshotKept | None = None
    confirm: str = ""
    server: dict[str, Any] | None = None

    @model_validator(mode="before")
    @classmethod
    def _create(cls, value: Any) -> Any:
        # "create" is said as an action too.
        if isinstance(value, Mapping) and value.get("action") == "create":
            return {k: v for k, v in value.items() if k != "action"}
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.server is None) == (self.action is None) or (self.action is not None) != bool(self.servers):
            raise PydanticCustomError("schedule_work", "schedule_work")
        if self.action == BulkKind.TAG and not (self.add or self.remove):
            raise PydanticCustomError("bulk_no_tags", "bulk_no_tags")
        return self

    def stored(self) -> dict[str, Any]:
        """What of it is kept."""
        if self.server is not None:
            return {"server": self.server}
        kept: dict[str, Any] = {"action": str(self.action), "servers": list(dict.fromkeys(self.servers or ()))}
        if self.action == BulkKind.TAG:
            kept |= {"add": self.add, "remove": self.remove}
        if self.action == BulkKind.SNAPSHOT:
            kept["snapshot"] = (self.snapshot or SnapshotKept()).model_dump()
        return kept


def _moment(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


class Timing(Strict):
    """When: `at` a time (without an offset it is read in `timezone`), `in_s` seconds, by `cron` in `timezone`, or every `every_s` seconds."""

    kind: ScheduleKind
    at: Annotated[datetime, BeforeValidator(_moment)] | None = None
    in_s: Annotated[int, Number, Field(ge=0, le=domain.MAX_IN_S)] | None = None
    cron: Annotated[str, AfterValidator(_cron)] | None = None
    every_s: Annotated[int, Number, Field(ge=domain.MIN_EVERY_S, le=domain.MAX_EVERY_S)] | None = None
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"

    @model_validator(mode="after")
    def _one(self) -> Self:
        wanted = {ScheduleKind.AT: "at", ScheduleKind.IN: "in_s", ScheduleKind.CRON: "cron", ScheduleKind.EVERY: "every_s"}
        for kind, name in wanted.items():
            if (getattr(self, name) is not None) != (self.kind == kind):
                raise PydanticCustomError("schedule_kind", "schedule_kind", {"kind": self.kind.value, "field": wanted[self.kind]})
        return self

    def first(self, now: datetime) -> datetime:
        """When it is due first, or where its intervals are counted from."""
        if self.at is not None:
            return (self.at if self.at.tzinfo else self.at.replace(tzinfo=ZoneInfo(self.timezone))).astimezone(UTC)
        return now if self.in_s is None else now + timedelta(seconds=self.in_s)


class ScheduleCreate(Timing):
    """`POST /api/schedules`."""

    name: Annotated[str, AfterValidator(_name)]
    misfire: Misfire = Misfire.RUN_ONCE
    overlap: Overlap = Overlap.SKIP
    work: Work


class ScheduleChange(Strict):
    """`PATCH /api/schedules/<id>`: what is left out stays; a new time is given whole, with its kind."""

    name: Annotated[str, AfterValidator(_name)] | None = None
    paused: bool | None = None
    misfire: Misfire | None = None
    overlap: Overlap | None = None
    work: Work | None = None
    kind: ScheduleKind | None = None
    at: Any = None
    in_s: Any = None
    cron: Any = None
    every_s: Any = None
    timezone: Any = None

    def timing(self, timezone: str) -> dict[str, Any] | None:
        """The new time as `Timing` takes it; None when it stays."""
        given = {k: getattr(self, k) for k in ("kind", "at", "in_s", "cron", "every_s") if getattr(self, k) is not None}
        return {**given, "timezone": self.timezone or timezone} if given or self.timezone is not None else None


def schedule_json(row: Schedule, upcoming: list[datetime]) -> dict[str, Any]:
    """A schedule; its creator must be loaded."""
    once, cron = row.kind in domain.ONCE, row.kind == ScheduleKind.CRON
    return {
        "id": row.id, "name": row.name, "kind": row.kind, "at": row.first_at if once else None, "cron": row.cron if cron else None,
        "every_s": row.every_s or None, "timezone": row.timezone, "misfire": row.misfire, "overlap": row.overlap, "work": row.work,
        "paused": row.paused, "next_run_at": row.next_run_at, "next_times": upcoming, "created_by": row.created_by.username, "created_at": row.created_at,
    }  # fmt: skip


def execution_json(row: Execution) -> dict[str, Any]:
    """One time of a schedule."""
    error = row.error and {"code": row.error["code"], "message": text_of(row.error["code"], row.error.get("args")), "hint": hint_of(row.error["code"], row.error.get("args"))}
    return {
        "id": row.id, "task_id": row.task_id, "schedule_id": row.schedule_id, "due_at": row.due_at, "by_hand": row.by_hand, "status": row.state,
        "group_id": row.bulk_id, "run_id": row.run_id, "error": error, "result": row.result, "started_at": row.started_at, "finished_at": row.finished_at,
    }  # fmt: skip
