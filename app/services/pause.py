"""The brake of a whole installation: while runs are paused nothing begins and nothing goes on by itself.

A restored copy starts with it, since the original may still work on the same servers. A person lets runs go on.
"""

from dataclasses import dataclass

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.domain.action_state import ActionState
from app.domain.permissions import Permission
from app.domain.run_state import ACTIVE, RunState
from app.log import get_logger
from app.models import Action, Notification, Run, Setting
from app.services import audit
from app.services.actor import Actor
from app.services.uow import UnitOfWork

log = get_logger(__name__)
KEY = "runs_paused"
MANY = 100


@dataclass(frozen=True)
class Frame:
    """What the frame of every page shows: the reader's unread notifications (no more than MANY), and whether runs are paused."""

    unread: int = 0
    paused: bool = False


def paused(session: Session) -> bool:
    """True while runs are paused."""
    return session.scalar(select(Setting.key).where(Setting.key == KEY)) is not None


def frame(session: Session, actor: Actor) -> Frame:
    """Return what the frame shows, in one statement: it is asked for by every page."""
    # Whoever moved over may have a hundred thousand: they are not counted for every page.
    some = select(Notification.id).where(Notification.user_id == actor.user_id, Notification.read_at.is_(None)).limit(MANY).subquery()
    unread = select(func.count()).select_from(some).scalar_subquery()
    brake = select(Setting.key).where(Setting.key == KEY).exists()
    row = session.execute(select(unread, brake)).one()
    return Frame(row[0], row[1])


def waiting(session: Session) -> int:
    """Return how many runs and actions go on when runs do."""
    runs = select(func.count()).select_from(Run).where(Run.state.in_(ACTIVE | {RunState.PENDING}), Run.state != RunState.PLANNED)
    actions = select(func.count()).select_from(Action).where(Action.state.in_((ActionState.QUEUED, ActionState.RUNNING)))
    return (session.scalar(runs) or 0) + (session.scalar(actions) or 0)


def resume(uow: UnitOfWork, actor: Actor) -> bool:
    """Let runs go on; the sweeper's next tick rings for them. False when they were not paused."""
    actor.need(Permission.MANAGE_SETTINGS)
    held = waiting(uow.session)
    gone = uow.session.execute(delete(Setting).where(Setting.key == KEY).returning(Setting.key)).scalar()
    if gone is None:
        return False
    audit.record(uow, actor, "runs.resume", "settings", KEY, "", waiting=held)
    log.info("runs_resumed", waiting=held)
    return True
