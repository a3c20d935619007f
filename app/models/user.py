"""People, their API tokens, and projects."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.approval import ApprovalPolicy
from app.domain.permissions import Permission, Role, allows
from app.models.base import Base, created, enum_column, pk


class User(Base):
    __tablename__ = "user"
    __table_args__ = (Index("uq_user_username_lower", text("lower(username)"), unique=True),)

    id: Mapped[pk]
    username: Mapped[str] = mapped_column(String(64))
    password_hash: Mapped[str] = mapped_column(String(255))
    role: Mapped[Role] = mapped_column(enum_column(Role))
    language: Mapped[str | None] = mapped_column(String(8))  # None: the browser's
    ssh_keys: Mapped[str] = mapped_column(String(16_384), default="", server_default="")
    active: Mapped[bool] = mapped_column(default=True, server_default="true")
    # Sessions carry the epoch they were made under; "sign out everywhere" raises it.
    session_epoch: Mapped[int] = mapped_column(default=1, server_default="1")
    password_is_first: Mapped[bool] = mapped_column(default=True, server_default="true")
    last_login_at: Mapped[datetime | None]
    created_at: Mapped[created]

    # Flask-Login's protocol
    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def is_active(self) -> bool:
        return self.active

    @property
    def is_anonymous(self) -> bool:
        return False

    def get_id(self) -> str:
        return f"{self.id}:{self.session_epoch}"

    def can(self, permission: Permission) -> bool:
        """True when the user's role holds the permission."""
        return allows(self.role, permission)


class ApiToken(Base):
    __tablename__ = "api_token"

    id: Mapped[pk]
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(64))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)  # SHA-256, hex: the token has 256 random bits
    prefix: Mapped[str] = mapped_column(String(12))
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    created_at: Mapped[created]


class Project(Base):
    __tablename__ = "project"

    id: Mapped[pk]
    name: Mapped[str] = mapped_column(String(64), unique=True)
    # When a plan waits for a person although the guard has nothing against it, and who may let it through.
    approval: Mapped[ApprovalPolicy] = mapped_column(enum_column(ApprovalPolicy), default=ApprovalPolicy.NEVER, server_default="never")
    approver_role: Mapped[Role | None] = mapped_column(enum_column(Role))  # None: whoever has the permission `approve`
    four_eyes: Mapped[bool] = mapped_column(default=False, server_default="false")  # never by the requester
    created_at: Mapped[created]


class Membership(Base):
    __tablename__ = "membership"

    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), primary_key=True, index=True)
    created_at: Mapped[created]


class SavedView(Base):
    """A way of looking at the server list that somebody comes back to: the list's address without its path."""

    __tablename__ = "saved_view"
    __table_args__ = (UniqueConstraint("user_id", "name"),)

    id: Mapped[pk]
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(40))
    query: Mapped[str] = mapped_column(String(1000))
    created_at: Mapped[created]
