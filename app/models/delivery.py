"""Which notifications somebody wants, and where else they go."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, LargeBinary, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.domain.delivery import DeliveryState, Level, Mode
from app.models.base import Base, Json, created, enum_column, pk
from app.models.record import Notification


class NotificationPreference(Base):
    """What somebody wants of one kind; without a row it is the toast."""

    __tablename__ = "notification_preference"

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(24), primary_key=True)
    mode: Mapped[Mode] = mapped_column(enum_column(Mode))


class Destination(Base):
    """A mailbox or a webhook; its address has passwords in it."""

    __tablename__ = "destination"
    __table_args__ = (UniqueConstraint("user_id", "name"),)

    id: Mapped[pk]
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(40))
    service: Mapped[str] = mapped_column(String(40))  # what kind of service it is, for people
    url: Mapped[bytes] = mapped_column(LargeBinary)  # encrypted
    level: Mapped[Level] = mapped_column(enum_column(Level))
    enabled: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[created]


class Delivery(Base):
    """One notification on its way to one destination; without a notification it is a test."""

    __tablename__ = "delivery"
    __table_args__ = (
        UniqueConstraint("notification_id", "destination_id"),
        Index("ix_delivery_due", "next_at", postgresql_where=text("state = 'pending'")),
    )

    id: Mapped[pk]
    destination_id: Mapped[int] = mapped_column(ForeignKey("destination.id", ondelete="CASCADE"), index=True)
    notification_id: Mapped[int | None] = mapped_column(ForeignKey("notification.id", ondelete="CASCADE"))
    state: Mapped[DeliveryState] = mapped_column(enum_column(DeliveryState), default=DeliveryState.PENDING)
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    next_at: Mapped[created]  # when it may be tried (again); while it is tried: when somebody else may
    error: Mapped[Json | None]
    created_at: Mapped[created]
    finished_at: Mapped[datetime | None]

    destination: Mapped[Destination] = relationship(lazy="raise")
    notification: Mapped[Notification | None] = relationship(lazy="raise")
