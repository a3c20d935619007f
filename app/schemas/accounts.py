"""What comes in and goes out about people, tokens, notifications, settings and the audit list."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from app.domain.permissions import Role
from app.messages import note_text
from app.models import ApiToken, AuditEvent, Notification, User

Strict = ConfigDict(extra="forbid")
Line = Annotated[str, Field(max_length=256)]


class PageQuery(BaseModel):
    limit: int | None = Field(None, ge=1, le=200)
    cursor: Annotated[str, Field(max_length=500)] | None = None


class NotificationQuery(PageQuery):
    unread: bool = False
    failures: bool = False
    q: str | None = Field(None, max_length=100)


class AuditQuery(PageQuery):
    username: Line = ""
    action: Line = ""
    object_type: Line = ""
    object_id: Line = ""
    q: Line = ""


class UserCreate(BaseModel):
    model_config = Strict
    username: Line
    role: Role
    password: Line | None = None


class UserChange(BaseModel):
    model_config = Strict
    role: Role | None = None
    active: bool | None = None


class PasswordChange(BaseModel):
    model_config = Strict
    old_password: str = Field(max_length=1024)
    new_password: str = Field(max_length=1024)


class OwnChange(BaseModel):
    model_config = Strict
    language: str | None = None
    ssh_keys: Annotated[str, Field(max_length=20_000)] | None = None


class TokenCreate(BaseModel):
    model_config = Strict
    name: Line


class SettingsChange(BaseModel):
    model_config = Strict
    plan_expiry_s: int | None = None
    stall_after_s: int | None = None
    slots_per_template: int | None = None
    slots_per_node: int | None = None
    slots_per_storage: int | None = None
    parallelism: int | None = None
    clone_timeout_s: int | None = None
    destinations_for_all: int | None = None
    local_destinations: int | None = None


def user_json(user: User) -> dict[str, Any]:
    """A user as the API shows one."""
    return {
        "id": user.id, "username": user.username, "role": user.role.value, "active": user.active,
        "language": user.language, "last_login_at": user.last_login_at, "created_at": user.created_at,
    }  # fmt: skip


def token_json(token: ApiToken) -> dict[str, Any]:
    """A token as the API shows one: never its text."""
    return {
        "id": token.id, "name": token.name, "prefix": token.prefix, "last_used_at": token.last_used_at,
        "created_at": token.created_at,
    }  # fmt: skip


def notification_json(row: Notification) -> dict[str, Any]:
    """A notification with its text in the reader's language."""
    return {
        "id": row.id, "code": row.code, "args": row.args, "text": note_text(row),
        "severity": row.severity.value, "link": row.link, "own": row.own, "run_id": row.run_id,
        "action_id": row.action_id, "read_at": row.read_at, "created_at": row.created_at,
    }  # fmt: skip


def audit_json(event: AuditEvent) -> dict[str, Any]:
    """One line of the audit list."""
    return {
        "id": event.id, "at": event.at, "username": event.username, "action": event.action,
        "object_type": event.object_type, "object_id": event.object_id, "object_name": event.object_name,
        "detail": event.detail, "address": event.address,
    }  # fmt: skip
