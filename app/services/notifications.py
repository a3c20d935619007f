"""Notifications: one row per recipient and event, told to the recipient's browsers after commit."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import String, cast, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.domain.delivery import Kind, Mode, kind_of
from app.domain.server_status import Severity
from app.errors import NotFound
from app.models import Notification, NotificationPreference
from app.schemas.page import Page, clamp, decode_cursor, encode_cursor, like
from app.services import deliveries
from app.services.actor import Actor
from app.services.uow import UnitOfWork


def add(
    uow: UnitOfWork,
    user_ids: Iterable[int],
    event_key: str,
    code: str,
    args: dict[str, Any],
    severity: Severity,
    link: str,
    own_user_id: int | None = None,
    run_id: int | None = None,
    action_id: int | None = None,
) -> None:
    """Notify these people of an event, each of them once however often the event is written.

    `own_user_id` is the one whose doing it was: there it is a toast too.
    """
    modes = _modes(uow.session, set(user_ids), kind_of(code))
    recipients = sorted(user_id for user_id, mode in modes.items() if mode != Mode.NONE)
    if not recipients:
        return
    rows = uow.session.execute(
        insert(Notification)
        .values([
            {"user_id": user_id, "event_key": event_key, "code": code, "args": args, "severity": severity, "link": link,
             "own": user_id == own_user_id and modes[user_id] == Mode.TOAST, "run_id": run_id, "action_id": action_id}
            for user_id in recipients
        ])
        .on_conflict_do_nothing(index_elements=["user_id", "event_key"])
        .returning(Notification.id, Notification.user_id, Notification.own)
    ).all()  # fmt: skip
    deliveries.enqueue(uow, [row.id for row in rows])
    unread = _unread(uow.session, [row.user_id for row in rows])
    for row in rows:
        uow.publish("notification", f"user:{row.user_id}", {
            "id": row.id, "code": code, "args": args, "severity": severity.value, "link": link, "own": row.own,
            "unread": unread.get(row.user_id, 0),
        })  # fmt: skip


def _modes(session: Session, user_ids: set[int], kind: Kind) -> dict[int, Mode]:
    """Return what each of them wants of this kind."""
    modes = dict.fromkeys(user_ids, Mode.TOAST)
    if user_ids:
        query = select(NotificationPreference.user_id, NotificationPreference.mode)
        modes |= {row[0]: row[1] for row in session.execute(query.where(NotificationPreference.user_id.in_(user_ids), NotificationPreference.kind == kind.value))}
    return modes


def preferences(session: Session, actor: Actor) -> dict[Kind, Mode]:
    """Return what the actor wants of each kind."""
    rows = session.execute(select(NotificationPreference.kind, NotificationPreference.mode).where(NotificationPreference.user_id == actor.user_id))
    chosen = {row[0]: row[1] for row in rows}
    return {kind: chosen.get(kind.value, Mode.TOAST) for kind in Kind}


def prefer(uow: UnitOfWork, actor: Actor, wanted: Mapping[Kind, Mode]) -> None:
    """Choose for some kinds; the others stay."""
    for kind, mode in wanted.items():
        row = insert(NotificationPreference).values(user_id=actor.user_id, kind=kind.value, mode=mode)
        uow.session.execute(row.on_conflict_do_update(index_elements=["user_id", "kind"], set_={"mode": mode}))


def _unread(session: Session, user_ids: Sequence[int]) -> dict[int, int]:
    if not user_ids:
        return {}
    stmt = (
        select(Notification.user_id, func.count())
        .where(Notification.user_id.in_(user_ids), Notification.read_at.is_(None))
        .group_by(Notification.user_id)
    )
    return {row[0]: row[1] for row in session.execute(stmt)}


@dataclass(frozen=True)
class NotificationFilter:
    """`q` finds in the names that a notification tells of: servers, snapshots, the run's number."""

    unread: bool = False
    failures: bool = False
    q: str | None = None

    def of(self, stmt: Any) -> Any:
        """Narrow a statement over notifications."""
        if self.unread:
            stmt = stmt.where(Notification.read_at.is_(None))
        if self.failures:
            stmt = stmt.where(Notification.severity == Severity.ERROR)
        if not self.q:
            return stmt
        return stmt.where(or_(cast(Notification.args, String).ilike(like(self.q)), Notification.legacy_text.ilike(like(self.q))))


EVERYTHING = NotificationFilter()


def list_page(
    session: Session, actor: Actor, limit: int | None = None, cursor: str | None = None, wanted: NotificationFilter = EVERYTHING
) -> Page[Notification]:
    """Return the actor's own notifications, newest first."""
    stmt = wanted.of(select(Notification).where(Notification.user_id == actor.user_id)).order_by(Notification.id.desc())
    if after := decode_cursor(cursor, int):
        stmt = stmt.where(Notification.id < after[0])
    size = clamp(limit)
    rows = session.scalars(stmt.limit(size + 1)).all()
    return Page(rows[:size], encode_cursor(rows[size - 1].id) if len(rows) > size else None)


def counts(session: Session, actor: Actor) -> dict[str, int]:
    """Return how many there are: in all, unread, and of failures."""
    unread, failed = Notification.read_at.is_(None), Notification.severity == Severity.ERROR
    query = select(func.count(), func.count().filter(unread), func.count().filter(failed)).where(Notification.user_id == actor.user_id)
    return dict(zip(("all", "unread", "failures"), session.execute(query).one(), strict=True))


def unread_count(session: Session, actor: Actor) -> int:
    """Return how many of the actor's notifications are unread."""
    return _unread(session, [actor.user_id]).get(actor.user_id, 0)


def mark_read(uow: UnitOfWork, actor: Actor, notification_id: int) -> Notification:
    """Mark one as read; again is harmless. Raises NotFound for somebody else's."""
    row = uow.session.scalars(
        select(Notification).where(Notification.id == notification_id, Notification.user_id == actor.user_id)
    ).one_or_none()
    if row is None:
        raise NotFound
    if row.read_at is None:
        row.read_at = uow.session.scalar(select(func.clock_timestamp()))
        uow.session.flush()
        _tell_read(uow, actor, [row.id])
    return row


def mark_all_read(uow: UnitOfWork, actor: Actor, wanted: NotificationFilter = EVERYTHING) -> int:
    """Mark all as read that fit; returns how many there were."""
    unread = update(Notification).where(Notification.user_id == actor.user_id, Notification.read_at.is_(None))
    ids = uow.session.scalars(wanted.of(unread).values(read_at=func.clock_timestamp()).returning(Notification.id)).all()
    if ids:
        _tell_read(uow, actor, list(ids) if wanted.failures or wanted.q else None)
    return len(ids)


def _tell_read(uow: UnitOfWork, actor: Actor, ids: list[int] | None) -> None:
    # Its own type: nothing to show, only the bell's number and the marks in other tabs. `read: null` means all.
    uow.publish("notification-read", f"user:{actor.user_id}", {"read": ids, "unread": unread_count(uow.session, actor)})
