"""Runs and everything one leaves behind: leases, events, log, plan, saved plan, state versions."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.domain.run_state import ACTIVE, FINAL, ApplyMode, RunKind, RunState
from app.models.base import Base, Json, Versioned, created, enum_column, pk
from app.models.server import Workspace
from app.models.user import User

_active = ", ".join(f"'{s.value}'" for s in sorted(ACTIVE))
_final = ", ".join(f"'{s.value}'" for s in sorted(FINAL))


class Run(Versioned, Base):
    __tablename__ = "run"
    __table_args__ = (
        Index("uq_run_active", "workspace_id", unique=True, postgresql_where=text(f"state in ({_active})")),
        Index("ix_run_open", "state", "id", postgresql_where=text(f"state not in ({_final})")),
        Index("ix_run_workspace", "workspace_id", "id"),
        Index("uq_run_safe_change", "safe_change_id", unique=True),
        Index("ix_run_finished", "finished_at", postgresql_where=text("finished_at is not null")),
    )

    id: Mapped[pk]
    task_id: Mapped[UUID] = mapped_column(unique=True)  # the Celery task id of each of its bells
    workspace_id: Mapped[int] = mapped_column(ForeignKey("workspace.id"))
    created_by_id: Mapped[int] = mapped_column(ForeignKey("user.id"), index=True)
    kind: Mapped[RunKind] = mapped_column(enum_column(RunKind))
    state: Mapped[RunState] = mapped_column(enum_column(RunState), default=RunState.PENDING)
    apply_mode: Mapped[ApplyMode] = mapped_column(enum_column(ApplyMode), default=ApplyMode.AUTO)
    # What was asked for ({"servers": {slug: {...new values...}}}), and the rendered Terraform inputs it led to.
    intent: Mapped[Json]
    inputs: Mapped[Json | None]
    origin: Mapped[Json | None]  # the request it came from: {"request_id", "traceparent"}
    targets: Mapped[list[str]]  # slugs of the servers the request named
    names: Mapped[list[str]]  # their names, for people
    fence: Mapped[int] = mapped_column(default=0, server_default="0")
    resumes: Mapped[int] = mapped_column(default=0, server_default="0")
    cancel_requested_at: Mapped[datetime | None]
    cancel_requested_by_id: Mapped[int | None] = mapped_column(ForeignKey("user.id"))
    stop_requested_at: Mapped[datetime | None]  # the second press: kill Terraform, take in what there is
    bulk_id: Mapped[UUID | None] = mapped_column(ForeignKey("bulk.id", ondelete="SET NULL"), index=True)
    safe_change_id: Mapped[UUID | None] = mapped_column(ForeignKey("safe_change.id", ondelete="SET NULL"))
    retry_of_id: Mapped[int | None] = mapped_column(ForeignKey("run.id", ondelete="SET NULL"), index=True)
    # What Proxmox works on now: {slug: {"step": "clone", "percent": 62}}; empty between servers and at the end.
    activity: Mapped[Json] = mapped_column(default=dict, server_default="{}")
    progressed_at: Mapped[datetime | None]  # when Terraform last said more than that it still waits
    stalled_at: Mapped[datetime | None]  # since when nothing moves; empty while something does
    approved_at: Mapped[datetime | None]
    approved_by_id: Mapped[int | None] = mapped_column(ForeignKey("user.id"))
    comment: Mapped[str | None] = mapped_column(String(2000))
    bell_at: Mapped[datetime | None]  # when its bell was last rung
    waiting_for: Mapped[Json | None]  # {"code": ..., "args": {...}}
    planned_at: Mapped[datetime | None]
    plan_summary: Mapped[Json | None]  # {"add": 1, "change": 0, "remove": 0, "import": 0}
    guard: Mapped[Json | None]  # why it stopped at `planned`: {"code": ..., "args": {...}}
    progress_done: Mapped[int] = mapped_column(default=0, server_default="0")
    progress_total: Mapped[int] = mapped_column(default=0, server_default="0")
    error: Mapped[Json | None]  # {"code", "args", "detail"}
    result: Mapped[Json | None]
    log_bytes: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    log_lines: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    created_at: Mapped[created]
    started_at: Mapped[datetime | None]
    apply_started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None] = mapped_column(index=True)

    workspace: Mapped[Workspace] = relationship(lazy="raise")
    created_by: Mapped[User] = relationship(lazy="raise", foreign_keys=[created_by_id])
    approved_by: Mapped[User | None] = relationship(lazy="raise", foreign_keys=[approved_by_id])


class RunLease(Base):
    """One runner's hold on a run; old ones stay, the next runner must find the former pid."""

    __tablename__ = "run_lease"

    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    fence: Mapped[int] = mapped_column(primary_key=True)
    renewed_at: Mapped[datetime]
    host: Mapped[str] = mapped_column(String(255), default="")
    boot_id: Mapped[str | None] = mapped_column(String(36))
    pid: Mapped[int | None]
    pid_start: Mapped[int | None] = mapped_column(BigInteger)


class RunEvent(Base):
    __tablename__ = "run_event"
    __table_args__ = (UniqueConstraint("run_id", "event_key"), Index("ix_run_event_run", "run_id", "id"))

    id: Mapped[pk]
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    event_key: Mapped[str] = mapped_column(String(120))  # makes a repeated write of the same event harmless
    fence: Mapped[int] = mapped_column(default=0)
    name: Mapped[str] = mapped_column(String(48))
    detail: Mapped[Json] = mapped_column(default=dict)
    at: Mapped[created]


class RunLog(Base):
    """A piece of a run's log: readable text at a byte offset; (fence, phase, start) is where it came from."""

    __tablename__ = "run_log"
    __table_args__ = (
        UniqueConstraint("run_id", "fence", "phase", "start"),
        UniqueConstraint("run_id", "log_offset"),
    )

    id: Mapped[pk]
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    fence: Mapped[int]
    phase: Mapped[str] = mapped_column(String(40))
    start: Mapped[int] = mapped_column(BigInteger)
    raw_length: Mapped[int] = mapped_column(default=0)  # bytes of the output it was made from
    log_offset: Mapped[int] = mapped_column(BigInteger)
    length: Mapped[int]  # bytes of UTF-8
    first_line: Mapped[int] = mapped_column(BigInteger)  # number of its first line, from 1
    text: Mapped[str]
    at: Mapped[created]


class PlanChange(Base):
    __tablename__ = "plan_change"
    __table_args__ = (UniqueConstraint("run_id", "fence", "address"),)

    id: Mapped[pk]
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    fence: Mapped[int]
    address: Mapped[str] = mapped_column(String(255))
    slug: Mapped[str] = mapped_column(String(80))
    name: Mapped[str] = mapped_column(String(80))
    action: Mapped[str] = mapped_column(String(16))  # create, update, replace, delete, import, no-op
    reason: Mapped[str | None] = mapped_column(String(64))
    # [{"path", "before", "after", "sensitive", "unknown"}]
    attributes: Mapped[list[Json]] = mapped_column(default=list)


class SavedPlan(Base):
    __tablename__ = "saved_plan"
    __table_args__ = (UniqueConstraint("run_id", "fence"),)

    id: Mapped[pk]
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    fence: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    body: Mapped[bytes] = mapped_column(LargeBinary)  # encrypted
    state_serial: Mapped[int | None]
    created_at: Mapped[created]


class StateVersion(Base):
    __tablename__ = "state_version"
    __table_args__ = (Index("ix_state_version_workspace", "workspace_id", "id"),)

    id: Mapped[pk]
    workspace_id: Mapped[int] = mapped_column(ForeignKey("workspace.id", ondelete="CASCADE"))
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), index=True)
    fence: Mapped[int]
    serial: Mapped[int] = mapped_column(BigInteger)
    lineage: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(String(64))
    resources: Mapped[int] = mapped_column(default=0)
    body: Mapped[bytes] = mapped_column(LargeBinary)  # compressed, then encrypted
    created_at: Mapped[created]
