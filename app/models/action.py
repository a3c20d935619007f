"""Actions on servers, and work on many servers at once."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.domain.action_state import ActionKind, ActionState
from app.domain.bulk import BulkKind
from app.models.base import Base, Json, Versioned, created, enum_column, pk
from app.models.server import Server
from app.models.user import User


class Bulk(Base):
    """The same work asked for on many servers: actions, or a run of each workspace."""

    __tablename__ = "bulk"

    id: Mapped[UUID] = mapped_column(primary_key=True)  # Celery's group id
    created_by_id: Mapped[int] = mapped_column(ForeignKey("user.id"), index=True)
    kind: Mapped[BulkKind] = mapped_column(enum_column(BulkKind))
    # What the kind needs beside the servers: {"add", "remove"} of tags, {"name", "description", "memory"} of snapshots.
    arguments: Mapped[Json] = mapped_column(default=dict, server_default="{}")
    # Servers that no run was begun for: [{"server", "id", "owner", "code", "args"}].
    refused: Mapped[list[Json]] = mapped_column(default=list, server_default="[]")
    created_at: Mapped[created]

    created_by: Mapped[User] = relationship(lazy="raise")


class Action(Versioned, Base):
    __tablename__ = "action"
    __table_args__ = (
        Index("ix_action_open", "state", "id", postgresql_where=text("state in ('queued', 'running')")),
        Index("ix_action_server", "server_id", "id"),
        Index("uq_action_safe_change", "safe_change_id", "kind", unique=True),
    )

    id: Mapped[pk]
    task_id: Mapped[UUID] = mapped_column(unique=True)
    bulk_id: Mapped[UUID | None] = mapped_column(ForeignKey("bulk.id"), index=True)
    safe_change_id: Mapped[UUID | None] = mapped_column(ForeignKey("safe_change.id", ondelete="SET NULL"))
    server_id: Mapped[int] = mapped_column(ForeignKey("server.id"))
    created_by_id: Mapped[int] = mapped_column(ForeignKey("user.id"), index=True)
    kind: Mapped[ActionKind] = mapped_column(enum_column(ActionKind))
    # What the kind needs beside the server: a snapshot's {"name", "description", "memory"}.
    arguments: Mapped[Json] = mapped_column(default=dict, server_default="{}")
    state: Mapped[ActionState] = mapped_column(enum_column(ActionState), default=ActionState.QUEUED)
    fence: Mapped[int] = mapped_column(default=0)
    lease_at: Mapped[datetime | None]  # renewed by the task that works on it
    sent_at: Mapped[datetime | None]  # set before the call to Proxmox: from here on it is "in doubt" without a upid
    upid: Mapped[str | None] = mapped_column(String(160))
    bell_at: Mapped[datetime | None]
    origin: Mapped[Json | None]  # the request it came from: {"request_id", "traceparent"}
    error: Mapped[Json | None]
    created_at: Mapped[created]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    server: Mapped[Server] = relationship(lazy="raise")
    created_by: Mapped[User] = relationship(lazy="raise")
