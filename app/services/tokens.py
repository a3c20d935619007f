"""API tokens: `tpm_` and 256 random bits, stored as SHA-256, shown once."""

import hashlib
import secrets
import time
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.domain.permissions import Permission, Role
from app.errors import FieldError, Invalid, NotFound
from app.extensions import db
from app.models import ApiToken, User
from app.models.base import detached
from app.pool import alone
from app.services import audit, users
from app.services.actor import Actor
from app.services.prepared import Prepared
from app.services.uow import UnitOfWork, unit_of_work

PREFIX = "tpm_"
MAX_TOKENS = 50
USED_EVERY = timedelta(minutes=1)
_last_noted: dict[int, float] = {}
_USER = tuple(column.name for column in User.__table__.columns)
_ROLE = _USER.index("role")
_BY_TOKEN = Prepared(
    f"select t.id, {', '.join(f'u.{name}' for name in _USER)} from api_token t join \"user\" u on u.id = t.user_id"  # noqa: S608 - our own names
    " where t.token_hash = $1->>0 and t.revoked_at is null and u.active"
)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _make(uow: UnitOfWork, actor: Actor | None, user: User, name: str) -> tuple[ApiToken, str]:
    name = name.strip()
    if not 1 <= len(name) <= 64:
        raise Invalid([FieldError("name", "bad_token_name")])
    if len(list_own(uow.session, user.id)) >= MAX_TOKENS:
        raise Invalid([FieldError("name", "token_limit", {"limit": MAX_TOKENS})])
    text = PREFIX + secrets.token_urlsafe(32)
    token = ApiToken(user_id=user.id, name=name, token_hash=_hash(text), prefix=text[:12])
    uow.session.add(token)
    uow.session.flush()
    audit.record(uow, actor, "token.create", "token", token.id, name, user=user.username)
    return token, text


def create_token(uow: UnitOfWork, actor: Actor, name: str) -> tuple[ApiToken, str]:
    """Make a token of one's own; its text is returned here and never again. Raises Invalid."""
    return _make(uow, actor, users.get(uow.session, actor.user_id), name)


def issue_token(username: str, name: str) -> str:
    """Make a token from the command line. Raises NotFound, Invalid."""
    with unit_of_work() as uow:
        user = users.find(uow.session, username)
        if user is None:
            raise NotFound(f"user {username}")
        return _make(uow, None, user, name)[1]


def list_own(session: Session, user_id: int) -> Sequence[ApiToken]:
    """Return a user's tokens that still work, newest first."""
    stmt = select(ApiToken).where(ApiToken.user_id == user_id, ApiToken.revoked_at.is_(None))
    return session.scalars(stmt.order_by(ApiToken.id.desc())).all()


def revoke_token(uow: UnitOfWork, actor: Actor, token_id: int) -> None:
    """Make a token useless from the next request on. Raises NotFound for somebody else's, unless one manages people."""
    token = uow.session.get(ApiToken, token_id)
    if token is None or (token.user_id != actor.user_id and not actor.can(Permission.MANAGE_USERS)):
        raise NotFound
    if token.revoked_at is None:
        token.revoked_at = uow.session.scalar(select(func.clock_timestamp()))
        audit.record(uow, actor, "token.revoke", "token", token.id, token.name)
        # Streams opened with the token are ended too: their rights are read again.
        users.tell_sessions(uow, users.get(uow.session, token.user_id))


def by_token(text: str) -> tuple[User, int] | None:
    """Return the active user of a working token and the token's id, by one query outside of any transaction.

    The user belongs to no session: every request with a token begins here.
    """
    if not text.startswith(PREFIX):
        return None
    with alone(db.engine) as conn:
        found = _BY_TOKEN.rows(conn, [_hash(text)])
    if not found:
        return None
    token_id, *values = found[0]
    return detached(User, dict(zip(_USER, values, strict=True)) | {"role": Role(values[_ROLE])}), token_id


def still_works(session: Session, token_id: int) -> bool:
    """True while the token is not revoked."""
    stmt = select(ApiToken.id).where(ApiToken.id == token_id, ApiToken.revoked_at.is_(None))
    return session.scalar(stmt) is not None


def use_is_due(token_id: int) -> bool:
    """True at most once a minute in this process: then the use is worth a write."""
    now = time.monotonic()
    if now - _last_noted.get(token_id, -60.0) < USED_EVERY.total_seconds():
        return False
    _last_noted[token_id] = now
    return True


def note_use(uow: UnitOfWork, token_id: int) -> None:
    """Write that the token was used now, unless another process just did."""
    moment = func.clock_timestamp()
    uow.session.execute(
        update(ApiToken)
        .where(
            ApiToken.id == token_id, (ApiToken.last_used_at.is_(None)) | (ApiToken.last_used_at < moment - USED_EVERY)
        )
        .values(last_used_at=moment)
    )
