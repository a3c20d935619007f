"""Safe changes: a chain of actions and a run, and what it is to lead to."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.domain.safe_change import SafeChangeState, VerifyBy
from app.models.base import Base, Json, Versioned, created, enum_column
from app.models.server import Server
from app.models.user import User


class SafeChange(Versioned, Base):
    """Its parts are found by `safe_change_id`: an action of each kind at most, and one run."""

    __tablename__ = "safe_change"
    __table_args__ = (
        Index("ix_safe_change_open", "next_at", postgresql_where=text("finished_at is null")),
        Index("ix_safe_change_server", "server_id", "created_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)  # Celery's task id of the whole chain
    server_id: Mapped[int] = mapped_column(ForeignKey("server.id", ondelete="CASCADE"))
    created_by_id: Mapped[int] = mapped_column(ForeignKey("user.id"), index=True)
    state: Mapped[SafeChangeState] = mapped_column(enum_column(SafeChangeState))
    values: Mapped[Json]  # the server's new values, as a run's intent has them
    apply: Mapped[str] = mapped_column(String(16))
    snapshot: Mapped[str] = mapped_column(String(40))
    memory: Mapped[bool] = mapped_column(default=False, server_default="false")
    keep_snapshot: Mapped[bool] = mapped_column(default=False, server_default="false")
    verify_by: Mapped[VerifyBy] = mapped_column(enum_column(VerifyBy))
    port: Mapped[int | None]
    timeout_s: Mapped[int]
    tries: Mapped[int] = mapped_column(default=0, server_default="0")
    last_answer: Mapped[Json | None]  # what the last try came to: {"code", "args"}
    verify_at: Mapped[datetime | None]  # since when it is asked whether it answers
    verified_at: Mapped[datetime | None]  # when it answered, or was waited for no longer
    next_at: Mapped[datetime | None]  # when to look again without being told
    error: Mapped[Json | None]  # why it is put back, or failed: {"code", "args"}
    created_at: Mapped[created]
    finished_at: Mapped[datetime | None]

    server: Mapped[Server] = relationship(lazy="raise")
    created_by: Mapped[User] = relationship(lazy="raise")
