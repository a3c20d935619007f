"""Mailboxes and webhooks of one's own: where notifications go beside the inbox."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.adapters import crypto, postman
from app.adapters.postman import DeliveryFailed
from app.domain.permissions import Permission
from app.errors import FieldError, Forbidden, Invalid, NotFound
from app.models import Destination
from app.schemas.destinations import DestinationChange, DestinationInput
from app.schemas.faults import field_errors
from app.services import audit, deliveries, settings
from app.services.actor import Actor
from app.services.uow import UnitOfWork

MOST = 10


def allowed(session: Session, actor: Actor) -> bool:
    """True when the actor may have destinations: an administrator decides whether everybody may."""
    return bool(settings.get(session).destinations_for_all) or actor.can(Permission.MANAGE_SETTINGS)


def of(session: Session, actor: Actor) -> Sequence[Destination]:
    """Return one's own destinations by name."""
    return session.scalars(select(Destination).where(Destination.user_id == actor.user_id).order_by(Destination.name)).all()


def create(uow: UnitOfWork, actor: Actor, raw: Mapping[str, Any]) -> Destination:
    """Add a destination. Raises Invalid, Forbidden."""
    _need(uow, actor)
    try:
        wanted = DestinationInput.model_validate(raw)
    except ValidationError as exc:
        raise Invalid(field_errors(exc)) from exc
    if (uow.session.scalar(select(func.count()).where(Destination.user_id == actor.user_id)) or 0) >= MOST:
        raise Invalid([FieldError("name", "too_long", {"max_length": MOST})])
    url = wanted.url.get_secret_value().strip()
    _check(uow, url)
    row = Destination(
        user_id=actor.user_id, name=wanted.name, url=crypto.encrypt(url.encode()), level=wanted.level, service=postman.SERVICES[postman.scheme_of(url)], enabled=True,
    )  # fmt: skip
    uow.session.add(row)
    _flush(uow, wanted.name)
    audit.record(uow, actor, "destination.create", "destination", row.id, row.name, service=row.service)
    return row


def change(uow: UnitOfWork, actor: Actor, destination_id: int, raw: Mapping[str, Any]) -> Destination:
    """Change a destination; an address is replaced or stays, and is never shown. Raises Invalid, NotFound, Forbidden."""
    _need(uow, actor)
    row = get(uow.session, actor, destination_id)
    try:
        wanted = DestinationChange.model_validate(raw)
    except ValidationError as exc:
        raise Invalid(field_errors(exc)) from exc
    if wanted.url is not None:
        url = wanted.url.get_secret_value().strip()
        _check(uow, url)
        row.url, row.service = crypto.encrypt(url.encode()), postman.SERVICES[postman.scheme_of(url)]
    for name in ("name", "level", "enabled"):
        if (value := getattr(wanted, name)) is not None:
            setattr(row, name, value)
    _flush(uow, row.name)
    audit.record(uow, actor, "destination.change", "destination", row.id, row.name, fields=sorted(wanted.model_fields_set))
    return row


def delete(uow: UnitOfWork, actor: Actor, destination_id: int) -> None:
    """Forget a destination and what was sent there. Raises NotFound."""
    row = get(uow.session, actor, destination_id)
    audit.record(uow, actor, "destination.delete", "destination", row.id, row.name)
    uow.session.delete(row)


def test(uow: UnitOfWork, actor: Actor, destination_id: int) -> int:
    """Send a message that tells of nothing; returns the delivery's id. Raises NotFound, Forbidden."""
    _need(uow, actor)
    row = get(uow.session, actor, destination_id)
    audit.record(uow, actor, "destination.test", "destination", row.id, row.name)
    return deliveries.test(uow, row.id)


def get(session: Session, actor: Actor, destination_id: int) -> Destination:
    """Return one of one's own. Raises NotFound."""
    row = session.scalar(select(Destination).where(Destination.id == destination_id, Destination.user_id == actor.user_id))
    if row is None:
        raise NotFound(kind="destination")
    return row


def _need(uow: UnitOfWork, actor: Actor) -> None:
    if not allowed(uow.session, actor):
        raise Forbidden(permission=Permission.MANAGE_SETTINGS.value)


def _check(uow: UnitOfWork, url: str) -> None:
    try:
        postman.check_address(url, bool(settings.get(uow.session).local_destinations))
    except DeliveryFailed as exc:
        raise Invalid([FieldError("url", exc.trouble, exc.args_)]) from exc


def _flush(uow: UnitOfWork, name: str) -> None:
    try:
        uow.session.flush()
    except IntegrityError as exc:
        raise Invalid([FieldError("name", "name_taken", {"name": name})]) from exc
