"""Work that starts by itself, and each time it did or did not."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.domain.schedule import ExecutionState, Misfire, Overlap, ScheduleKind
from app.models.base import Base, Json, Versioned, created, enum_column, pk
from app.models.user import User


class Schedule(Versioned, Base):
    __tablename__ = "schedule"
    __table_args__ = (Index("ix_schedule_due", "next_run_at", postgresql_where=text("next_run_at is not null")),)

    id: Mapped[pk]
    name: Mapped[str] = mapped_column(String(80))
    created_by_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    kind: Mapped[ScheduleKind] = mapped_column(enum_column(ScheduleKind))
    first_at: Mapped[datetime]  # at, in: when it is due; every: where intervals are counted from
    cron: Mapped[str] = mapped_column(String(120), default="", server_default="")
    every_s: Mapped[int] = mapped_column(default=0, server_default="0")
    timezone: Mapped[str] = mapped_column(String(64), default="UTC")
    misfire: Mapped[Misfire] = mapped_column(enum_column(Misfire))
    overlap: Mapped[Overlap] = mapped_column(enum_column(Overlap))
    work: Mapped[Json]  # {"action", "servers", …} as for many servers at once, or {"server": what a new one is to be}
    paused: Mapped[bool] = mapped_column(default=False, server_default="false")
    next_run_at: Mapped[datetime | None]  # empty: paused, or never again
    created_at: Mapped[created]

    created_by: Mapped[User] = relationship(lazy="raise")


class Execution(Base):
    """One time a schedule was due, or was told to start. Its rows are unique by that time: however many beats there are."""

    __tablename__ = "schedule_execution"
    __table_args__ = (
        UniqueConstraint("schedule_id", "due_at"),
        Index("ix_schedule_execution_open", "schedule_id", "id", postgresql_where=text("finished_at is null")),
    )

    id: Mapped[pk]
    schedule_id: Mapped[int] = mapped_column(ForeignKey("schedule.id", ondelete="CASCADE"))
    task_id: Mapped[UUID] = mapped_column(unique=True)
    due_at: Mapped[datetime]
    by_hand: Mapped[bool] = mapped_column(default=False, server_default="false")
    state: Mapped[ExecutionState] = mapped_column(enum_column(ExecutionState))
    bell_at: Mapped[datetime | None]
    bulk_id: Mapped[UUID | None] = mapped_column(ForeignKey("bulk.id", ondelete="SET NULL"))
    run_id: Mapped[int | None] = mapped_column(ForeignKey("run.id", ondelete="SET NULL"))
    error: Mapped[Json | None]  # why it failed or was left out: {"code", "args"}
    result: Mapped[Json | None]  # {"servers", "missing", "snapshot"}
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    created_at: Mapped[created]

    schedule: Mapped[Schedule] = relationship(lazy="raise")
