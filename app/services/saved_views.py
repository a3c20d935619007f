"""Views of the server list that somebody keeps: a name and the list's address."""

from collections.abc import Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.errors import FieldError, Invalid, NotFound
from app.models import SavedView
from app.services.actor import Actor
from app.services.uow import UnitOfWork

MOST, MAX_NAME, MAX_QUERY = 20, 40, 1000


def of(session: Session, actor: Actor) -> Sequence[SavedView]:
    """Return one's own views by name."""
    return list(session.scalars(select(SavedView).where(SavedView.user_id == actor.user_id).order_by(SavedView.name)))


def save(uow: UnitOfWork, actor: Actor, name: str, query: str) -> None:
    """Keep a view under a name, in place of a former one of that name. Raises Invalid."""
    name = " ".join(name.split())
    if not name:
        raise Invalid([FieldError("name", "missing")])
    if len(name) > MAX_NAME or len(query) > MAX_QUERY:
        raise Invalid([FieldError("name", "string_too_long", {"max_length": MAX_NAME})])
    others = select(func.count()).where(SavedView.user_id == actor.user_id, SavedView.name != name)
    if (uow.session.scalar(others) or 0) >= MOST:
        raise Invalid([FieldError("name", "too_long", {"max_length": MOST})])
    row = insert(SavedView).values(user_id=actor.user_id, name=name, query=query)
    uow.session.execute(row.on_conflict_do_update(index_elements=["user_id", "name"], set_={"query": query}))


def forget(uow: UnitOfWork, actor: Actor, view_id: int) -> None:
    """Forget one of one's own views. Raises NotFound."""
    mine = delete(SavedView).where(SavedView.id == view_id, SavedView.user_id == actor.user_id).returning(SavedView.id)
    if uow.session.scalar(mine) is None:
        raise NotFound(kind="view")
