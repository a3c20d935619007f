"""People: made, changed, recognised by password; whoever may manage them."""

import re
from collections.abc import Sequence

from sqlalchemy import Select, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.adapters import passwords
from app.domain.permissions import Permission, Role
from app.errors import Conflict, FieldError, Invalid, NotFound
from app.models import ApiToken, User
from app.schemas.page import Page, clamp, decode_cursor, encode_cursor
from app.services import audit
from app.services.actor import Actor
from app.services.context import application
from app.services.uow import UnitOfWork, unit_of_work

USERNAME = re.compile(r"[a-z0-9._-]{2,64}")
MIN_PASSWORD, MAX_PASSWORD = 10, 256
LANGUAGES = ("en", "ko")


class LastAdministrator(Conflict):
    """Nobody would be left who can manage people."""

    code = "last_administrator"


class NotYourself(Conflict):
    """An administrator cannot take away their own rights by mistake."""

    code = "not_yourself"


def username_faults(username: str) -> list[FieldError]:
    """Return what is wrong with the form of a username."""
    return [] if USERNAME.fullmatch(username) else [FieldError("username", "bad_username")]


def password_faults(password: str, username: str = "", field: str = "password") -> list[FieldError]:
    """Return what is wrong with a new password."""
    if len(password) < MIN_PASSWORD:
        return [FieldError(field, "password_too_short", {"min_length": MIN_PASSWORD})]
    if len(password) > MAX_PASSWORD:
        return [FieldError(field, "password_too_long", {"max_length": MAX_PASSWORD})]
    return [FieldError(field, "password_is_username")] if password.lower() == username.lower() else []


def _make(
    uow: UnitOfWork, actor: Actor | None, username: str, role: Role, password: str | None
) -> tuple[User, str | None]:
    faults = username_faults(username)
    if password is not None:
        faults += password_faults(password, username)
    taken = uow.session.scalar(select(User.id).where(func.lower(User.username) == username.lower()))
    if taken is not None:
        faults.append(FieldError("username", "username_taken", {"username": username}))
    if faults:
        raise Invalid(faults)
    random = passwords.random_password() if password is None else None
    user = User(username=username, password_hash=passwords.hash_password(password or random or ""), role=role)
    uow.session.add(user)
    try:
        uow.session.flush()
    except IntegrityError as exc:  # taken by a concurrent request
        raise Invalid([FieldError("username", "username_taken", {"username": username})]) from exc
    audit.record(uow, actor, "user.create", "user", user.id, username, role=role.value)
    return user, random


def create(
    uow: UnitOfWork, actor: Actor, username: str, role: Role, password: str | None = None
) -> tuple[User, str | None]:
    """Make a user; without a password a random one is made and returned, shown once. Raises Invalid."""
    actor.need(Permission.MANAGE_USERS)
    return _make(uow, actor, username, role, password)


def add_user(username: str, role: str) -> str:
    """Make a user from the command line and return the password. Raises Invalid."""
    if role not in set(Role):
        raise Invalid([FieldError("role", "bad_role")])
    with application(), unit_of_work() as uow:
        _, password = _make(uow, None, username, Role(role), None)
    return password or ""


def issue_token(username: str, name: str) -> str:
    """Make an API token from the command line and return its text. Raises NotFound, Invalid."""
    from app.services import tokens  # noqa: PLC0415 - tokens build on users

    with application():
        return tokens.issue_token(username, name)


def ensure_administrator(uow: UnitOfWork, username: str) -> str | None:
    """Make the first administrator unless there is any user; returns the password when one was made."""
    if uow.session.scalar(select(User.id).limit(1)) is not None:
        return None
    return _make(uow, None, username, Role.ADMINISTRATOR, None)[1]


def find(session: Session, username: str) -> User | None:
    """Return the user of this name, however it is written."""
    return session.scalars(select(User).where(func.lower(User.username) == username.strip().lower())).one_or_none()


def by_session_id(session: Session, session_id: str) -> User | None:
    """Return the active user behind `id:epoch`; None when signed out everywhere since."""
    user_id, _, epoch = session_id.partition(":")
    if not (user_id.isdigit() and epoch.isdigit()):
        return None
    user = session.get(User, int(user_id))
    return user if user is not None and user.active and user.session_epoch == int(epoch) else None


def authenticate(session: Session, username: str, password: str) -> User | None:
    """Return the active user with this password; the same work is done when there is none."""
    user = find(session, username)
    if user is None or len(password) > MAX_PASSWORD:
        passwords.verify_nobody(password[:MAX_PASSWORD])
        return None
    return user if passwords.verify(user.password_hash, password) and user.active else None


def stream_rights(user_id: int) -> Select[tuple[int, Role, list[int]]]:
    """Return the query for what an open stream depends on; no row when the user is gone or inactive."""
    working = select(ApiToken.id).where(ApiToken.user_id == user_id, ApiToken.revoked_at.is_(None))
    return select(User.session_epoch, User.role, func.array(working.scalar_subquery()).label("tokens")).where(
        User.id == user_id, User.active
    )


def get(session: Session, user_id: int) -> User:
    """Return the user. Raises NotFound."""
    user = session.get(User, user_id)
    if user is None:
        raise NotFound
    return user


def list_page(session: Session, actor: Actor, limit: int | None = None, cursor: str | None = None) -> Page[User]:
    """Return users by name."""
    actor.need(Permission.MANAGE_USERS)
    stmt = select(User).order_by(User.username, User.id)
    if after := decode_cursor(cursor, str, int):
        stmt = stmt.where((User.username > after[0]) | ((User.username == after[0]) & (User.id > after[1])))
    size = clamp(limit)
    rows = session.scalars(stmt.limit(size + 1)).all()
    return Page(rows[:size], encode_cursor(rows[size - 1].username, rows[size - 1].id) if len(rows) > size else None)


def with_permission(session: Session, permission: Permission) -> Sequence[int]:
    """Return the ids of active users who hold the permission: whom to ask for an approval, for one."""
    roles = [role for role in Role if Actor(0, "", role).can(permission)]
    return session.scalars(select(User.id).where(User.active, User.role.in_(roles))).all()


def _locked(uow: UnitOfWork, actor: Actor, user_id: int) -> User:
    actor.need(Permission.MANAGE_USERS)
    # All administrators are locked in one order, so that two cannot demote each other at once.
    uow.session.scalars(
        select(User).where((User.id == user_id) | (User.role == Role.ADMINISTRATOR)).order_by(User.id).with_for_update()
    ).all()
    return get(uow.session, user_id)


def _keep_an_administrator(uow: UnitOfWork, actor: Actor, user: User) -> None:
    if user.id == actor.user_id:
        raise NotYourself
    others = select(User.id).where(User.role == Role.ADMINISTRATOR, User.active, User.id != user.id)
    if user.role is Role.ADMINISTRATOR and uow.session.scalar(others.limit(1)) is None:
        raise LastAdministrator


def tell_sessions(uow: UnitOfWork, user: User, keep: str = "") -> None:
    """Have every open stream of the user read the rights again; the session marked `keep` takes the new epoch."""
    uow.publish("session", f"user:{user.id}", {"epoch": user.session_epoch, "keep": keep})


def change_role(uow: UnitOfWork, actor: Actor, user_id: int, role: Role) -> User:
    """Give the user another role, in force at the next request and in open streams."""
    user = _locked(uow, actor, user_id)
    if user.role is role:
        return user
    _keep_an_administrator(uow, actor, user)
    old, user.role = user.role, role
    audit.record(uow, actor, "user.change_role", "user", user.id, user.username, old=old.value, new=role.value)
    tell_sessions(uow, user)
    return user


def deactivate(uow: UnitOfWork, actor: Actor, user_id: int) -> User:
    """End the user's sessions, streams and tokens; servers and history stay."""
    user = _locked(uow, actor, user_id)
    if not user.active:
        return user
    _keep_an_administrator(uow, actor, user)
    user.active = False
    user.session_epoch += 1
    audit.record(uow, actor, "user.deactivate", "user", user.id, user.username)
    tell_sessions(uow, user)
    return user


def activate(uow: UnitOfWork, actor: Actor, user_id: int) -> User:
    """Let the user in again."""
    user = _locked(uow, actor, user_id)
    if not user.active:
        user.active = True
        audit.record(uow, actor, "user.activate", "user", user.id, user.username)
    return user


def reset_password(uow: UnitOfWork, actor: Actor, user_id: int) -> tuple[User, str]:
    """Give the user a new random password, returned once; their sessions end."""
    user = _locked(uow, actor, user_id)
    password = passwords.random_password()
    user.password_hash, user.password_is_first = passwords.hash_password(password), True
    user.session_epoch += 1
    audit.record(uow, actor, "user.reset_password", "user", user.id, user.username)
    tell_sessions(uow, user)
    return user, password
