"""What happened and what must still be told: notifications, outbox, idempotency keys, audit, settings."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.server_status import Severity
from app.models.base import Base, Json, created, enum_column, pk


class Notification(Base):
    """One per recipient and event; the text is made from code and args in the reader's language."""

    __tablename__ = "notification"
    __table_args__ = (
        UniqueConstraint("user_id", "event_key"),
        Index("ix_notification_user", "user_id", "id"),
        Index("ix_notification_unread", "user_id", postgresql_where=text("read_at is null")),
    )

    id: Mapped[pk]
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    event_key: Mapped[str] = mapped_column(String(120))
    code: Mapped[str] = mapped_column(String(48))
    args: Mapped[Json] = mapped_column(default=dict)
    severity: Mapped[Severity] = mapped_column(enum_column(Severity), default=Severity.INFO)
    link: Mapped[str] = mapped_column(String(255), default="")
    own: Mapped[bool] = mapped_column(default=True)  # about the recipient's own doing: a toast too
    run_id: Mapped[int | None] = mapped_column(BigInteger)
    action_id: Mapped[int | None] = mapped_column(BigInteger)
    legacy_text: Mapped[str | None] = mapped_column(Text)  # of the older application, which stored sentences
    read_at: Mapped[datetime | None]
    created_at: Mapped[created]


class Outbox(Base):
    """What leaves the process after commit: bells to the broker, events to the stream. Deleted once sent."""

    __tablename__ = "outbox"

    id: Mapped[pk]
    kind: Mapped[str] = mapped_column(String(8))  # bell, event
    payload: Mapped[Json]
    created_at: Mapped[created]


class IdempotencyKey(Base):
    __tablename__ = "idempotency_key"
    __table_args__ = (UniqueConstraint("user_id", "route", "key"),)

    id: Mapped[pk]
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    route: Mapped[str] = mapped_column(String(120))
    key: Mapped[str] = mapped_column(String(255))
    body_hash: Mapped[str] = mapped_column(String(64))
    answer: Mapped[Json | None]
    location: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[created]


class AuditEvent(Base):
    __tablename__ = "audit_event"
    __table_args__ = (Index("ix_audit_event_object", "object_type", "object_id"),)

    id: Mapped[pk]
    at: Mapped[created]
    user_id: Mapped[int | None] = mapped_column(ForeignKey("user.id", ondelete="SET NULL"), index=True)
    username: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(48))  # server.create, user.change, …
    object_type: Mapped[str] = mapped_column(String(24))
    object_id: Mapped[str] = mapped_column(String(64), default="")
    object_name: Mapped[str] = mapped_column(String(255), default="")
    detail: Mapped[Json] = mapped_column(default=dict)
    address: Mapped[str] = mapped_column(String(64), default="")


class Setting(Base):
    """Values changed in the UI, and the installation's own id."""

    __tablename__ = "setting"

    key: Mapped[str] = mapped_column(String(48), primary_key=True)
    value: Mapped[Json]
    updated_at: Mapped[created]
