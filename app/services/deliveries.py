"""Notifications on their way to mailboxes and webhooks: queued with the notification, sent after the commit, tried again.

A delivery is claimed before it is sent and settled afterwards. Whoever dies in between leaves a claim that lapses; the
message is then sent again: twice is better than never.
"""

import random
from collections.abc import Sequence
from typing import Any

from flask_babel import force_locale
from sqlalchemy import Select, delete, func, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, contains_eager, joinedload

from app.adapters import crypto, postman
from app.adapters.postman import DeliveryFailed, Message
from app.config import get_settings
from app.domain.delivery import MAX_ATTEMPTS, DeliveryState, Level, wait_s
from app.domain.server_status import Severity
from app.domain.tasks import TaskName
from app.log import get_logger
from app.messages import hint_of, note_text, text_of
from app.models import Delivery, Destination, Notification, User
from app.services import clock, settings
from app.services.actor import Actor
from app.services.uow import UnitOfWork, unit_of_work

log = get_logger(__name__)
CLAIM_S = 2 * postman.TIMEOUT_S  # longer than any try takes
KEPT_S = 30 * 86_400
# These will not be otherwise in an hour.
HOPELESS = frozenset({"delivery_service_unknown", "delivery_address_local"})


# ---- asking
def enqueue(uow: UnitOfWork, notification_ids: Sequence[int]) -> None:
    """Queue these notifications for every destination that wants them."""
    if not notification_ids:
        return
    wanted = (
        select(Notification.id, Destination.id, literal(DeliveryState.PENDING.value))
        .join(Destination, Destination.user_id == Notification.user_id)
        .where(Notification.id.in_(notification_ids), Destination.enabled)
        .where((Destination.level == Level.ALL) | (Notification.severity == Severity.ERROR))
    )
    rows = insert(Delivery).from_select(["notification_id", "destination_id", "state"], wanted)
    for delivery_id in uow.session.scalars(rows.on_conflict_do_nothing().returning(Delivery.id)):
        uow.ring(TaskName.DELIVERY, [delivery_id])


def test(uow: UnitOfWork, destination_id: int) -> int:
    """Queue a message that tells of nothing; returns the delivery's id."""
    row = Delivery(destination_id=destination_id, state=DeliveryState.PENDING)
    uow.session.add(row)
    uow.session.flush()
    uow.ring(TaskName.DELIVERY, [row.id])
    return row.id


# ---- sending
def execute(delivery_id: int) -> None:
    """Send one, if it is due and nobody else does."""
    with unit_of_work() as uow:
        claimed = _claim(uow, delivery_id)
    if claimed is None:
        return
    url, message, local, attempts = claimed
    try:
        postman.send(url, message, local)
    except DeliveryFailed as exc:
        log.info("delivery_failed", delivery_id=delivery_id, attempts=attempts, trouble=exc.trouble)
        _settle(delivery_id, attempts, {"code": exc.trouble, "args": exc.args_}, hopeless=exc.trouble in HOPELESS)
    else:
        _settle(delivery_id, attempts)


def _claim(uow: UnitOfWork, delivery_id: int) -> tuple[str, Message, bool, int] | None:
    query = select(Delivery).where(Delivery.id == delivery_id, Delivery.state == DeliveryState.PENDING, Delivery.next_at <= func.clock_timestamp())
    row = uow.session.scalar(query.with_for_update(skip_locked=True))
    if row is None:
        return None
    destination = uow.session.get_one(Destination, row.destination_id)
    notification = uow.session.get(Notification, row.notification_id) if row.notification_id else None
    language = uow.session.scalar(select(User.language).where(User.id == destination.user_id))
    row.attempts += 1
    row.next_at = clock.later(CLAIM_S)
    local = bool(settings.get(uow.session).local_destinations)
    return crypto.decrypt(destination.url).decode(), _message(notification, language or "en"), local, row.attempts


def _message(notification: Notification | None, language: str) -> Message:
    with force_locale(language):
        if notification is None:
            return Message(text_of("delivery_test_title"), text_of("delivery_test_body"))
        lines = [note_text(notification)]
        if error := notification.args.get("error"):
            lines += [text_of(error["code"], error.get("args")), hint_of(error["code"], error.get("args"))]
        public = get_settings().public_url.rstrip("/")
        if public and notification.link:
            lines.append(public + notification.link)
        return Message(lines[0][:200], "\n".join(line for line in lines if line), notification.severity == Severity.ERROR)


def _settle(delivery_id: int, attempts: int, error: dict[str, Any] | None = None, *, hopeless: bool = False) -> None:
    with unit_of_work() as uow:
        row = uow.session.scalar(select(Delivery).where(Delivery.id == delivery_id).with_for_update())
        if row is None or row.attempts != attempts:
            return  # deleted, or the claim lapsed and somebody else has it
        row.error = error
        if error and not hopeless and attempts < MAX_ATTEMPTS and row.notification_id:
            row.next_at = clock.later(wait_s(attempts, random.random()))  # noqa: S311 - spreads load, keeps no secret
            return
        row.state = DeliveryState.FAILED if error else DeliveryState.SENT
        row.finished_at = func.clock_timestamp()


# ---- the sweeper's part
def due() -> Select[Any]:
    """Those that are due and were not rung for, or whose sender died."""
    return select(Delivery.id).where(Delivery.state == DeliveryState.PENDING, Delivery.next_at < clock.later(-1))


def over() -> Any:
    """A condition: it ended long ago."""
    return Delivery.finished_at < clock.later(-KEPT_S)


def sweep(uow: UnitOfWork) -> None:
    """Ring for what is due, and forget what is long over."""
    for delivery_id in uow.session.scalars(due().order_by(Delivery.next_at).limit(100)):
        uow.ring(TaskName.DELIVERY, [delivery_id])
    uow.session.execute(delete(Delivery).where(over()))


# ---- reading
def recent(session: Session, actor: Actor, limit: int = 20) -> list[Delivery]:
    """Return one's own newest deliveries with destination and notification."""
    query = select(Delivery).join(Destination).where(Destination.user_id == actor.user_id)
    query = query.options(contains_eager(Delivery.destination), joinedload(Delivery.notification))
    return list(session.scalars(query.order_by(Delivery.id.desc()).limit(limit)))
